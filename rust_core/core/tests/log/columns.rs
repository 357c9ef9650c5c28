//! Records as columns: every value that was logged is in its place, to the bit.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use ra_guard_core::assign::{Arm, ServedArm};
use ra_guard_core::interleave::Team;
use ra_guard_core::log::{ColumnBuffers, FeedbackLog, RecordFields, ScoreColumns, columns_of, read_columns};
use ra_guard_core::plan::Mode;
use ra_guard_core::score::Weights;
use ra_guard_core::wire::{Pool, Reason, Status};
use tempfile::TempDir;

use crate::support::messages::{Query, QueryEmbedding, RerankRequest};
use crate::support::records::{TIME, fields, record};
use crate::support::{SPACE, unit_vector};
use crate::{files, settings, start};

/// What one call is logged with.
#[derive(Debug, Clone)]
struct Logged {
    request: RerankRequest,
    pool: Option<Vec<String>>,
    unix_ns: u64,
    elapsed_us: u32,
    assigned: Option<Arm>,
    served: Option<ServedArm>,
    numbers: (u64, u64),
    key: String,
    states: Option<Vec<u8>>,
    terms: Option<[Vec<f32>; 5]>,
    weights: [f32; 4],
    ranking: Vec<u32>,
    mode: Option<Mode>,
    teams: Vec<Team>,
    treatment_ranking: Vec<u32>,
}

fn ids() -> impl Strategy<Value = Vec<String>> {
    vec("[a-zé]{1,12}", 0..9).prop_map(|names| names.iter().enumerate().map(|(n, name)| format!("{n}{name}")).collect())
}

/// A pool that was drawn is not empty.
fn pool() -> impl Strategy<Value = Option<Vec<String>>> {
    option::of(ids()).prop_map(|pool| pool.filter(|ids| !ids.is_empty()))
}

fn query() -> impl Strategy<Value = Query> {
    let embedding = QueryEmbedding { values: unit_vector(4), space: SPACE.into() };
    prop_oneof!["\\PC{1,40}".prop_map(Query::Text), Just(Query::Embedding(embedding))]
}

prop_compose! {
    fn request()(
        (request_id, user_id, domain) in ("[a-z0-9-]{1,20}", "\\PC{1,20}", "[a-z]{0,8}"),
        query in query(),
        candidate_ids in ids(),
        scores in option::of(vec(-9f32..9.0, 9)),
        top_k in 0u32..1000,
    ) -> RerankRequest {
        let mut baseline_scores = scores.unwrap_or_default();
        baseline_scores.truncate(candidate_ids.len());
        let pool_size = 1;
        let query = Some(query);
        RerankRequest {
            request_id, user_id, domain, query, candidate_ids, baseline_scores, top_k, pool_size, ..RerankRequest::default()
        }
    }
}

fn arm() -> impl Strategy<Value = Option<Arm>> {
    option::of(prop::sample::select(&Arm::ALL[..]))
}

fn floats(count: usize) -> impl Strategy<Value = Vec<f32>> {
    vec(any::<u32>().prop_map(f32::from_bits), count)
}

prop_compose! {
    fn logged()(request in request(), pool in pool())(
        candidates in Just(pool.as_ref().unwrap_or(&request.candidate_ids).len()),
        terms in option::of([floats(9), floats(9), floats(9), floats(9), floats(9)]),
        states in option::of(vec(any::<u8>(), 9)),
        (ranked, treated) in any::<(prop::sample::Index, prop::sample::Index)>(),
        mode in option::of(prop::sample::select(&Mode::ALL[..])),
        teams in option::of(vec(prop::sample::select(&[Team::Control, Team::Treatment][..]), 9)),
        (unix_ns, elapsed_us, revision, generation) in any::<(u64, u32, u64, u64)>(),
        (assigned, key) in (arm(), "[a-z-]{0,9}"),
        served in option::of((1..=4u8).prop_map(|number| ServedArm::from_wire(number).expect("an arm"))),
        weights in prop::array::uniform4(-4f32..4.0),
        (request, pool) in Just((request, pool)),
    ) -> Logged {
        let cut = |column: Vec<f32>| column[..candidates].to_vec();
        Logged {
            request, pool, unix_ns, elapsed_us, assigned, served, key, weights,
            numbers: (revision, generation),
            states: states.map(|states| states[..candidates].to_vec()).filter(|states| !states.is_empty()),
            terms: terms.map(|terms| terms.map(cut)),
            ranking: (0..ranked.index(candidates + 1) as u32).rev().collect(),
            mode,
            teams: teams.map_or(vec![], |teams| teams[..ranked.index(candidates + 1)].to_vec()),
            treatment_ranking: (0..treated.index(candidates + 1) as u32).collect(),
        }
    }
}

impl Logged {
    /// Ids in baseline order.
    fn ids(&self) -> &[String] {
        self.pool.as_ref().unwrap_or(&self.request.candidate_ids)
    }

    fn encode(&self) -> Vec<u8> {
        let (mut pool, mut out) = (Pool::default(), Vec::new());
        let pool = self.pool.as_ref().map(|ids| pool.fill(ids.iter().map(String::as_bytes)).expect("distinct ids"));
        let [cosine, consistency, contradiction, prior] = self.weights;
        let terms = self.terms.as_ref().map(|terms| terms.each_ref().map(Vec::as_slice));
        RecordFields {
            unix_ns: self.unix_ns,
            elapsed_us: self.elapsed_us,
            request: &self.request.encode_to_vec(),
            candidates: self.ids().len(),
            pool,
            assigned_arm: self.assigned,
            served_arm: self.served,
            status: Status::Partial,
            reason: Reason::Overload,
            experiment_key: &self.key,
            plan_revision: self.numbers.0,
            generation: self.numbers.1,
            weights: Weights { cosine, consistency, contradiction, prior },
            states: self.states.as_deref().unwrap_or_default(),
            columns: terms.map(|[cosine, consistency, contradiction, prior, score]| ScoreColumns {
                cosine,
                consistency,
                contradiction,
                prior,
                score,
            }),
            ranking: &self.ranking,
            mode: self.mode,
            teams: &self.teams,
            treatment_ranking: &self.treatment_ranking,
            ..fields(Arm::Control)
        }
        .encode(&mut out);
        out
    }
}

/// Columns as Arrow would read them.
struct Table(Vec<ColumnBuffers>);

fn offsets(buffer: &[u8]) -> Vec<usize> {
    let (offsets, rest) = buffer.as_chunks();
    assert!(rest.is_empty());
    offsets.iter().map(|bytes| usize::try_from(i32::from_le_bytes(*bytes)).expect("not negative")).collect()
}

/// The items between offsets; the last offset ends the buffer.
fn split(offsets: &[usize], buffer: &[u8], width: usize) -> Vec<Vec<u8>> {
    assert_eq!((offsets[0], offsets[offsets.len() - 1] * width), (0, buffer.len()));
    offsets.windows(2).map(|ends| buffer[ends[0] * width..ends[1] * width].to_vec()).collect()
}

fn texts(offsets_buffer: &[u8], bytes: &[u8]) -> Vec<String> {
    let items = split(&offsets(offsets_buffer), bytes, 1).into_iter();
    items.map(|text| String::from_utf8(text).expect("UTF-8")).collect()
}

impl Table {
    fn of(records: &[Vec<u8>]) -> Table {
        Table(columns_of(&records.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("columns"))
    }

    fn buffers(&self, name: &str, layout: &str) -> &[Vec<u8>] {
        let column = self.0.iter().find(|column| column.name == name).expect(name);
        assert_eq!(column.layout, layout, "{name}");
        &column.buffers
    }

    fn fixed<const N: usize>(&self, name: &str, layout: &str) -> Vec<[u8; N]> {
        let [values] = self.buffers(name, layout) else { panic!("{name}: one buffer") };
        let (values, rest) = values.as_chunks();
        assert!(rest.is_empty());
        values.to_vec()
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        self.fixed(name, "u64").into_iter().map(u64::from_le_bytes).collect()
    }

    fn numbers_u32(&self, name: &str) -> Vec<u32> {
        self.fixed(name, "u32").into_iter().map(u32::from_le_bytes).collect()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.fixed(name, "u8").into_iter().map(u8::from_le_bytes).collect()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let [offsets, bytes] = self.buffers(name, "utf8") else { panic!("{name}: two buffers") };
        texts(offsets, bytes)
    }

    fn lists(&self, name: &str, layout: &str, width: usize) -> Vec<Vec<u8>> {
        let [ends, values] = self.buffers(name, layout) else { panic!("{name}: two buffers") };
        split(&offsets(ends), values, width)
    }

    fn text_lists(&self, name: &str) -> Vec<Vec<String>> {
        let [lists, ends, bytes] = self.buffers(name, "list<utf8>") else { panic!("{name}: three buffers") };
        let (lists, texts) = (offsets(lists), texts(ends, bytes));
        assert_eq!(lists[lists.len() - 1], texts.len());
        lists.windows(2).map(|ends| texts[ends[0]..ends[1]].to_vec()).collect()
    }
}

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The value of every record.
fn each<T>(all: &[Logged], value: impl Fn(&Logged) -> T) -> Vec<T> {
    all.iter().map(value).collect()
}

proptest! {
    #[test]
    fn every_value_is_in_its_column(all in vec(logged(), 0..12)) {
        let table = Table::of(&each(&all, Logged::encode));
        prop_assert_eq!(table.numbers("unix_ns"), each(&all, |call| call.unix_ns));
        prop_assert_eq!(table.texts("request_id"), each(&all, |call| call.request.request_id.clone()));
        prop_assert_eq!(table.texts("user_id"), each(&all, |call| call.request.user_id.clone()));
        let text = |call: &Logged| match &call.request.query {
            Some(Query::Text(text)) => text.clone(),
            _ => String::new(),
        };
        prop_assert_eq!(table.texts("query_text"), each(&all, text));
        prop_assert_eq!(table.texts("domain"), each(&all, |call| call.request.domain.clone()));
        prop_assert_eq!(table.bytes("assigned_arm"), each(&all, |call| call.assigned.map_or(0, |arm| arm as u8)));
        prop_assert_eq!(table.bytes("served_arm"), each(&all, |call| call.served.map_or(0, |arm| arm as u8)));
        prop_assert_eq!(table.bytes("status"), each(&all, |_| Status::Partial as u8));
        prop_assert_eq!(table.bytes("reason"), each(&all, |_| Reason::Overload as u8));
        prop_assert_eq!(table.texts("experiment_key"), each(&all, |call| call.key.clone()));
        prop_assert_eq!(table.numbers("plan_revision"), each(&all, |call| call.numbers.0));
        prop_assert_eq!(table.numbers("generation"), each(&all, |call| call.numbers.1));
        prop_assert_eq!(table.texts("space"), each(&all, |_| SPACE.to_owned()));
        prop_assert_eq!(table.numbers_u32("top_k"), each(&all, |call| call.request.top_k));
        prop_assert_eq!(table.numbers_u32("elapsed_us"), each(&all, |call| call.elapsed_us));
        prop_assert_eq!(table.text_lists("candidate_ids"), each(&all, |call| call.ids().to_vec()));
        let scores = each(&all, |call| le(&call.request.baseline_scores));
        prop_assert_eq!(table.lists("baseline_scores", "list<f32>", 4), scores);
        prop_assert_eq!(table.lists("states", "list<u8>", 1), each(&all, |call| call.states.clone().unwrap_or_default()));
        let places = |order: &[u32]| order.iter().flat_map(|place| (*place as u16).to_le_bytes()).collect::<Vec<_>>();
        prop_assert_eq!(table.lists("ranking", "list<u16>", 2), each(&all, |call| places(&call.ranking)));
        let treatment = each(&all, |call| places(&call.treatment_ranking));
        prop_assert_eq!(table.lists("treatment_ranking", "list<u16>", 2), treatment);
        prop_assert_eq!(table.bytes("mode"), each(&all, |call| call.mode.map_or(0, |mode| mode as u8)));
        let teams = |call: &Logged| call.teams.iter().map(|team| *team as u8).collect::<Vec<_>>();
        prop_assert_eq!(table.lists("teams", "list<u8>", 1), each(&all, teams));
        for (term, name) in ["cosine", "consistency", "contradiction", "prior", "score"].into_iter().enumerate() {
            let wanted = each(&all, |call| call.terms.as_ref().map_or(vec![], |terms| le(&terms[term])));
            prop_assert_eq!(table.lists(name, "list<f32>", 4), wanted, "{}", name);
        }
        prop_assert_eq!(table.lists("weights", "list<f32>", 4), each(&all, |call| le(&call.weights)));
    }
}

#[test]
fn a_segment_is_read_sealed_or_torn() {
    let call = RerankRequest {
        request_id: "r".into(),
        user_id: "u".into(),
        query: Some(Query::Text("a cat".into())),
        candidate_ids: ["a", "b", "c"].map(String::from).to_vec(),
        ..RerankRequest::default()
    };
    let (mut bytes, request) = (Vec::new(), call.encode_to_vec());
    RecordFields { request: &request, ..fields(Arm::Treatment) }.encode(&mut bytes);
    let folder = TempDir::new().expect("a folder");
    let log = start(settings(folder.path()));
    (0..3).for_each(|_| log.push(&bytes).expect("room"));
    log.flush().expect("on disk");
    let whole = Table::of(&vec![bytes.clone(); 3]).0;
    assert_eq!(read_columns(&files(folder.path(), "open")[0]).expect("columns"), whole);
    log.close().expect("sealed");
    let sealed = files(folder.path(), "log").remove(0);
    assert_eq!(read_columns(&sealed).expect("columns"), whole);
    let torn = folder.path().join("torn.open");
    let all = std::fs::read(&sealed).expect("a file");
    std::fs::write(&torn, &all[..all.len() - 25]).expect("written");
    assert_eq!(read_columns(&torn).expect("columns"), Table::of(&vec![bytes; 2]).0);
    let cut = folder.path().join("cut.log");
    std::fs::rename(&torn, &cut).expect("renamed");
    assert_eq!(read_columns(&cut).expect_err("cut short").variant(), "Unsealed");
}

#[test]
fn what_has_no_columns_is_refused() {
    let error = columns_of(&[&record(Arm::Control)]).expect_err("its request is none");
    assert!(error.to_string().contains("found record 0 with a request that is refused"), "{error}");
    assert_eq!(
        (error.variant(), columns_of(&[b"?"]).expect_err("no record").variant()),
        ("BadRequest", "FutureVersion")
    );
    let call = RerankRequest { request_id: "r".into(), user_id: "u".into(), pool_size: 1, ..RerankRequest::default() };
    let request = RerankRequest { query: Some(Query::Text("a cat".into())), ..call }.encode_to_vec();
    let mut bytes = Vec::new();
    RecordFields { request: &request, ..fields(Arm::Control) }.encode(&mut bytes);
    let error = columns_of(&[&bytes]).expect_err("three candidates and no ids");
    assert!(error.to_string().contains("found 0 for candidate ids"), "{error}");
    let mut pool = Pool::default();
    let pool = pool.fill([&b"one"[..], b"two", b"three"]).expect("distinct ids");
    RecordFields { request: &request, pool: Some(pool), ..fields(Arm::Control) }.encode(&mut bytes);
    let place = bytes.windows(3).position(|window| window == b"two").expect("an id");
    bytes[place] = 0xff;
    let error = columns_of(&[&bytes]).expect_err("an id that is no text");
    assert!(error.to_string().contains("wanted UTF-8 throughout"), "{error}");

    let folder = TempDir::new().expect("a folder");
    let log = FeedbackLog::start(settings(folder.path())).expect("a log");
    log.append(TIME, [&b"event"[..]].into_iter()).expect("room");
    log.close().expect("sealed");
    assert_eq!(read_columns(&files(folder.path(), "log")[0]).expect_err("feedback").variant(), "WrongKind");
}
