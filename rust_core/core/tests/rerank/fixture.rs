//! A small gallery on disk, an engine over it, and requests for it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use prost::Message;
use ra_guard_core::detection::Detection;
use ra_guard_core::engine::{Clock, Engine};
use ra_guard_core::kernel::Kernel;
use ra_guard_core::log::{CandidateLog, LogSettings, read_segment};
use ra_guard_core::plan;
use ra_guard_core::replay::Replay;
use ra_guard_core::rerank::{Answered, Call, Outcome, Scratch};
use ra_guard_core::shard::{Dtype, Generation, Row, ShardSpec, ShardWriter, publish_manifest};
use ra_guard_core::wire::{Embedding, Reason, RequestError};

use crate::support::messages::{
    Plan as WirePlan, Query, QueryEmbedding, RerankRequest, RerankResponse, Weights as WireWeights,
};

pub const DIM: usize = 24;
pub const SPACE: &str = r#"{"cosine_range":[0.1,0.6],"dim":24,"name":"test"}"#;
pub const LABELS: [&str; 4] = ["cat", "dog", "cup", "dining table"];
pub const ROWS: usize = 60;

/// A clock that a test moves by hand.
#[derive(Default)]
pub struct HandClock(pub Cell<u64>);

impl Clock for HandClock {
    fn monotonic_ns(&self) -> u64 {
        self.0.get()
    }

    fn unix_ns(&self) -> u64 {
        1_700_000_000_000_000_000
    }
}

/// A repeatable unit vector.
pub fn unit_vector(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    let values: Vec<f64> = (0..DIM).map(|_| next()).collect();
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    values.iter().map(|value| (value / norm) as f32).collect()
}

/// Row `i`: most have everything; every tenth lacks detections, every tenth and fifth the embedding, `cold` both.
pub fn gallery(dtype: Dtype) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("shards")).expect("a folder");
    let spec = ShardSpec {
        dim: DIM,
        dtype,
        space_json: SPACE.into(),
        labels: LABELS.map(String::from).to_vec(),
        label_embeddings: (0..LABELS.len() as u64).flat_map(|label| unit_vector(900 + label)).collect(),
        domains: vec!["pets".into(), "kitchen".into()],
        licences: vec!["cc0".into(), "editorial".into()],
    };
    let mut writer = ShardWriter::create(&folder.path().join("shards/a.shard"), spec).expect("a shard");
    for i in 0..ROWS {
        let (id, vector) = (format!("image-{i:03}"), unit_vector(i as u64));
        let side = 0.2 + 0.01 * (i % 40) as f32;
        let boxes = [
            Detection { label: (i % 4) as u16, confidence: 0.9, corners: [0.1, 0.1, 0.1 + side, 0.1 + side] },
            Detection { label: (i % 3) as u16, confidence: 0.6, corners: [0.4, 0.3, 0.9, 0.8] },
        ];
        let row = Row {
            id: id.as_bytes(),
            domain: (i % 2) as u8,
            licence: u8::from(i % 7 == 3),
            phash: i as u64,
            embedding: (i % 10 != 5).then_some(&vector),
            detections: (i % 10 != 0).then_some(&boxes[..]),
        };
        writer.push(row).expect("a row");
    }
    let cold = Row { id: b"cold", domain: 0, licence: 0, phash: 0, embedding: None, detections: None };
    writer.push(cold).expect("a row");
    writer.finish().expect("a sealed shard");
    publish_manifest(folder.path(), &["a.shard"], 1).expect("a generation");
    folder
}

/// An engine over that gallery with a plan that enrols everyone it can.
pub struct Bench {
    pub engine: Engine,
    pub clock: HandClock,
    pub generation: Arc<Generation>,
    /// Every sealed plan that was published.
    pub plans: RefCell<Vec<Vec<u8>>>,
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new(dtype: Dtype, kernel: Kernel, log: Option<CandidateLog>) -> Bench {
        let bench = Bench::without_gallery(dtype, kernel, log);
        bench.engine.publish_generation(Arc::clone(&bench.generation)).expect("a usable generation");
        bench
    }

    pub fn without_gallery(dtype: Dtype, kernel: Kernel, log: Option<CandidateLog>) -> Bench {
        let folder = gallery(dtype);
        let generation = Arc::new(Generation::open(folder.path(), None).expect("a generation"));
        let bench = Bench {
            engine: Engine::new(kernel, 16, log),
            clock: HandClock(Cell::new(1_000_000)),
            generation,
            plans: RefCell::default(),
            folder,
        };
        bench.publish(|_| {});
        bench
    }

    pub fn publish(&self, change: impl FnOnce(&mut WirePlan)) {
        let mut plan = WirePlan {
            revision: self.engine.plan.revision() + 1,
            experiment_key: "test".into(),
            ramp_bp: 5000,
            lease_s: 60,
            default_weights: Some(WireWeights { cosine: 1.0, consistency: 0.7, contradiction: 0.9, prior: 0.2 }),
            ..WirePlan::default()
        };
        change(&mut plan);
        let sealed = plan::seal(&plan.encode_to_vec()).expect("a valid plan");
        self.engine.plan.publish(&sealed, self.clock.0.get()).expect("a newer plan");
        self.plans.borrow_mut().push(sealed);
    }

    /// Publishes the same rows under the next generation's number.
    pub fn next_generation(&self) {
        publish_manifest(self.folder.path(), &["a.shard"], 1).expect("a generation");
        let generation = Generation::open(self.folder.path(), None).expect("a generation");
        self.engine.publish_generation(Arc::new(generation)).expect("a usable generation");
    }

    /// A replay of what was logged, by any kernel.
    pub fn replay(&self, kernel: Kernel) -> Replay {
        let mut replay = Replay::new(self.folder.path().to_path_buf(), kernel);
        self.plans.borrow().iter().for_each(|sealed| replay.add_plan(sealed).expect("a plan"));
        replay
    }

    /// A folder's candidate log, for one engine.
    pub fn log(folder: &tempfile::TempDir) -> CandidateLog {
        let settings = LogSettings {
            folder: folder.path().to_path_buf(),
            writer: "test".into(),
            queue_bytes: 1 << 22,
            segment_bytes: 1 << 24,
        };
        CandidateLog::start(settings).expect("a log")
    }

    /// The records that reached the disk so far.
    pub fn records(&self, folder: &tempfile::TempDir) -> Vec<Vec<u8>> {
        self.engine.log().expect("a log").flush().expect("on disk");
        let segments = std::fs::read_dir(folder.path()).expect("a folder");
        let segments = segments.map(|segment| segment.expect("an entry").path());
        let segments = segments.filter(|path| path.extension().is_some_and(|extension| extension != "counts"));
        segments.flat_map(|segment| read_segment(&segment).expect("an intact segment")).collect()
    }

    pub fn warm(&self, text: &str) {
        let values: Vec<u8> = unit_vector(4242).into_iter().flat_map(f32::to_le_bytes).collect();
        let embedding = Embedding { values: &values, space: self.generation.space_fingerprint() };
        self.engine.put_query(text, embedding).expect("a good embedding");
    }

    pub fn outcome(&self, request: &RerankRequest, scratch: &mut Scratch) -> Result<Outcome, RequestError> {
        let bytes = request.encode_to_vec();
        let call = Call { request: &bytes, pool: None, deadline_ns: None, wait_ns: 0 };
        self.engine.rerank(&call, &self.clock, scratch)
    }

    /// The facts and the decoded response of a call that finishes.
    pub fn answer(&self, request: &RerankRequest) -> (Answered, RerankResponse) {
        let mut scratch = Scratch::default();
        match self.outcome(request, &mut scratch).expect("a valid request") {
            Outcome::Answered(answered) => {
                (answered, RerankResponse::decode(scratch.response()).expect("a valid response"))
            }
            Outcome::ColdText(text) => panic!("{text:?} is cold"),
        }
    }

    pub fn reason(&self, request: &RerankRequest) -> Reason {
        self.answer(request).0.reason
    }

    /// A request of a treated user for all rows, by embedding.
    pub fn request(&self) -> RerankRequest {
        let values = unit_vector(7777).into_iter().flat_map(f32::to_le_bytes).collect();
        let space = self.generation.space_fingerprint().to_owned();
        RerankRequest {
            request_id: "r-1".into(),
            user_id: self.user(0..5000),
            query: Some(Query::Embedding(QueryEmbedding { values, space })),
            candidate_ids: (0..ROWS).rev().map(|i| format!("image-{i:03}")).collect(),
            ..RerankRequest::default()
        }
    }

    /// A user whose bucket lies in the range.
    pub fn user(&self, buckets: std::ops::Range<u16>) -> String {
        let seed = ra_guard_core::assign::Seed::new("test", "");
        (0..).map(|i| format!("user-{i}")).find(|user| buckets.contains(&seed.bucket(user))).expect("a user")
    }
}
