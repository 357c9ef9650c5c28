//! Random experiments and calls under them, as a server makes them.

use std::cell::Cell;

use proptest::prelude::*;
use prost::Message;
use ra_guard_core::engine::Clock;
use ra_guard_core::kernel::Kernel;
use ra_guard_core::plan::Mode;
use ra_guard_core::rerank::{Call, Outcome, Scratch};
use ra_guard_core::shard::Dtype;
use ra_guard_core::wire::Reason;

use crate::fixture::{Bench, LABELS, ROWS, unit_vector};
use crate::support::messages::{DomainWeights, Query, QueryEmbedding, RerankRequest, Weights};

/// A clock that moves on with every look, so that a deadline may pass at any step.
struct Ticking<'a>(&'a Cell<u64>);

impl Clock for Ticking<'_> {
    fn monotonic_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn unix_ns(&self) -> u64 {
        1_700_000_000_000_000_000
    }
}

/// An experiment and calls under it.
#[derive(Debug, Clone)]
pub struct Scene {
    dtype: Dtype,
    logging: Kernel,
    pub replaying: Kernel,
    pub mode: Mode,
    is_killed: bool,
    weights: [f32; 4],
    names_its_space: Option<bool>,
    has_gallery: bool,
    calls: Vec<Asked>,
}

/// One call.
#[derive(Debug, Clone)]
struct Asked {
    query: Asking,
    user: u32,
    ids: Vec<String>,
    is_pooled: bool,
    baseline_scores: Option<Vec<f32>>,
    top_k: prop::sample::Index,
    cuts: bool,
    required: Vec<&'static str>,
    forbidden: Vec<&'static str>,
    licences: Vec<&'static str>,
    domain: &'static str,
    explain: bool,
    ending: Ends,
}

#[derive(Debug, Clone)]
enum Asking {
    Warm,
    Cold,
    Embedding(u64),
    AnotherSpace,
}

#[derive(Debug, Clone)]
enum Ends {
    Well,
    /// The deadline passes this many looks at the clock from now.
    Late(u64),
    Told(Reason),
    WithoutContact,
}

fn kernel() -> impl Strategy<Value = Kernel> {
    prop::sample::select(Kernel::available().to_vec())
}

fn asked() -> impl Strategy<Value = Asked> {
    let ids: Vec<String> = (0..ROWS).map(|i| format!("image-{i:03}")).chain(["cold".into(), "other".into()]).collect();
    let query = prop_oneof![
        4 => Just(Asking::Warm),
        1 => Just(Asking::Cold),
        4 => (0u64..50).prop_map(Asking::Embedding),
        1 => Just(Asking::AnotherSpace),
    ];
    let ids = prop_oneof![
        9 => prop::sample::subsequence(ids, 1..40).prop_shuffle(),
        1 => Just(vec!["cold".to_owned(), "other".to_owned()]),
    ];
    let ending = prop_oneof![
        6 => Just(Ends::Well),
        3 => (0u64..8).prop_map(Ends::Late),
        1 => prop::sample::select(Reason::FROM_OUTSIDE.to_vec()).prop_map(Ends::Told),
        1 => Just(Ends::WithoutContact),
    ];
    let some = |of: &'static [&'static str]| prop::sample::subsequence(of.to_vec(), 0..=of.len());
    let names = (
        prop_oneof![Just(vec![]), some(&LABELS)],
        prop_oneof![Just(vec![]), some(&LABELS)],
        prop_oneof![Just(vec![]), some(&["cc0", "editorial", "never heard of"])],
        prop::sample::select(vec!["", "pets", "kitchen"]),
    );
    let shape = (any::<bool>(), any::<bool>(), any::<bool>(), any::<prop::sample::Index>());
    (query, 0u32..200, ids, names, shape, prop::option::of(prop::collection::vec(-9f32..9.0, 40)), ending).prop_map(
        |(query, user, ids, names, shape, scores, ending)| Asked {
            query,
            user,
            baseline_scores: scores.map(|scores| scores[..ids.len()].to_vec()),
            ids,
            is_pooled: shape.0,
            cuts: shape.1,
            explain: shape.2,
            top_k: shape.3,
            required: names.0,
            forbidden: names.1,
            licences: names.2,
            domain: names.3,
            ending,
        },
    )
}

pub fn scene() -> impl Strategy<Value = Scene> {
    let weight = || prop_oneof![5 => 0f32..2.0, 1 => Just(0.0), 1 => Just(f32::MAX)];
    (
        (prop::sample::select(Dtype::ALL.to_vec()), kernel(), kernel()),
        prop::sample::select(Mode::ALL.to_vec()),
        prop::bool::weighted(0.1),
        [weight(), weight(), weight(), weight()],
        prop::sample::select(vec![None, Some(true), Some(true), Some(false)]),
        prop::bool::weighted(0.9),
        prop::collection::vec(asked(), 1..12),
    )
        .prop_map(
            |((dtype, logging, replaying), mode, is_killed, weights, names_its_space, has_gallery, calls)| Scene {
                dtype,
                logging,
                replaying,
                mode,
                is_killed,
                weights,
                names_its_space,
                has_gallery,
                calls,
            },
        )
}

impl Scene {
    /// Makes the calls; the bench that they were made on, and what was logged of them.
    pub fn play(&self) -> (Bench, Vec<Vec<u8>>) {
        let folder = tempfile::tempdir().expect("a folder");
        let open = if self.has_gallery { Bench::new } else { Bench::without_gallery };
        let bench = open(self.dtype, self.logging, Some(Bench::log(&folder)));
        bench.warm("two dogs without a cup");
        let [cosine, consistency, contradiction, prior] = self.weights;
        let publish = || {
            bench.publish(|plan| {
                plan.mode = self.mode as i32;
                plan.killed = self.is_killed;
                plan.ramp_bp = 4000;
                plan.salt = "epoch-2".into();
                plan.default_weights = Some(Weights { cosine, consistency, contradiction, prior });
                plan.domain_weights = vec![DomainWeights {
                    domain: "pets".into(),
                    weights: Some(Weights { cosine: 0.5, consistency: 1.5, contradiction: 0.0, prior: 1.0 }),
                }];
                plan.spaces = match self.names_its_space {
                    None => vec![],
                    Some(true) => vec![bench.generation.space_fingerprint().into()],
                    Some(false) => vec!["0".repeat(32)],
                };
            });
        };
        publish();
        let mut scratch = Scratch::default();
        for (number, asked) in self.calls.iter().enumerate() {
            if matches!(asked.ending, Ends::WithoutContact) {
                bench.engine.plan.revoke(bench.clock.0.get());
            }
            asked.call(&bench, number, &mut scratch);
            bench.clock.0.set(bench.clock.0.get() + 1);
            assert!(bench.engine.plan.renew(bench.engine.plan.revision(), bench.clock.0.get()));
        }
        let records = bench.records(&folder);
        (bench, records)
    }
}

impl Asked {
    fn request(&self, bench: &Bench, number: usize) -> RerankRequest {
        let embedding = |values: Vec<f32>, space: &str| {
            let values = values.into_iter().flat_map(f32::to_le_bytes).collect();
            Query::Embedding(QueryEmbedding { values, space: space.into() })
        };
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        RerankRequest {
            request_id: format!("r-{number}"),
            user_id: format!("user-{}", self.user),
            query: Some(match self.query {
                Asking::Warm => Query::Text("two dogs without a cup".into()),
                Asking::Cold => Query::Text("an unseen text".into()),
                Asking::Embedding(seed) => embedding(unit_vector(seed), bench.generation.space_fingerprint()),
                Asking::AnotherSpace => embedding(unit_vector(1), &"f".repeat(32)),
            }),
            domain: self.domain.into(),
            candidate_ids: if self.is_pooled { vec![] } else { self.ids.clone() },
            baseline_scores: match &self.baseline_scores {
                Some(scores) if !self.is_pooled => scores.clone(),
                _ => vec![],
            },
            top_k: if self.cuts { self.top_k.index(self.ids.len()) as u32 } else { 0 },
            required_labels: strings(&self.required),
            forbidden_labels: strings(&self.forbidden),
            allowed_licences: strings(&self.licences),
            explain: self.explain,
            pool_size: if self.is_pooled { self.ids.len() as u32 } else { 0 },
        }
    }

    /// Makes the call as the server does: a text that stays cold falls back.
    fn call(&self, bench: &Bench, number: usize, scratch: &mut Scratch) {
        let bytes = self.request(bench, number).encode_to_vec();
        let ids: Vec<&[u8]> = self.ids.iter().map(String::as_bytes).collect();
        let deadline_ns = match self.ending {
            Ends::Late(looks) => Some(bench.clock.0.get() + looks),
            _ => None,
        };
        let call = Call { request: &bytes, pool: self.is_pooled.then_some(&ids), deadline_ns, wait_ns: 0 };
        let clock = Ticking(&bench.clock.0);
        let outcome = match self.ending {
            Ends::Told(reason) => bench.engine.fall_back(&call, reason, &clock, scratch),
            _ => bench.engine.rerank(&call, &clock, scratch),
        };
        if let Outcome::ColdText(_) = outcome.expect("a valid request") {
            let reason = if deadline_ns.is_some() { Reason::Deadline } else { Reason::NoFeatures };
            bench.engine.fall_back(&call, reason, &clock, scratch).expect("a valid request");
        }
    }
}
