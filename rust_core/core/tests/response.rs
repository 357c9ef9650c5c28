//! Responses, against Google's protobuf byte for byte (vectors) and against prost (random values).

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use ra_guard_core::assign::{Arm, ServedArm};
use ra_guard_core::detection::Detection;
use ra_guard_core::plan::Mode;
use ra_guard_core::score::{ExpectationSource, Weights};
use ra_guard_core::wire::response::Counts;
use ra_guard_core::wire::{ExplanationColumns, Pool, Reason, ResponseFields, StageTimes, Status};
use serde::Deserialize;
use support::messages::RerankResponse;
use support::{SPACE, unhex, vectors};

#[derive(Deserialize)]
struct Case {
    name: String,
    bytes: String,
}

fn golden(name: &str) -> Vec<u8> {
    let cases: Vec<Case> = vectors("wire_responses.json");
    let case = cases.iter().find(|case| case.name == name).expect("a case of this name");
    unhex(&case.bytes)
}

const EMPTY: ResponseFields<'static> = ResponseFields {
    request_id: "",
    assigned_arm: None,
    served_arm: None,
    status: Status::Baseline,
    reason: Reason::None,
    experiment_key: "",
    plan_revision: 0,
    generation: 0,
    space: "",
    ranking: &[],
    pool: None,
    scores: &[],
    counts: Counts { candidates: 0, scored: 0, cold: 0, unknown: 0, unlicensed: 0 },
    candidate_states: &[],
    explanation: None,
};

fn encode(fields: &ResponseFields<'_>, stages: Option<StageTimes>) -> Vec<u8> {
    let mut out = b"left from the call before".to_vec();
    fields.encode(&mut out);
    if let Some(stages) = stages {
        stages.append(&mut out);
    }
    out
}

#[test]
fn a_treated_response_has_the_bytes_of_googles_protobuf() {
    let ranking: Vec<u32> = (0..200).map(|i| i * 7 % 200).collect();
    let scores: Vec<f32> = (0..200).map(|i| if i == 3 { f32::NAN } else { 1.0 - i as f32 / 256.0 }).collect();
    let states: Vec<u8> = (0..200).map(|i| if i == 3 { 4 } else { 0 }).collect();
    let fields = ResponseFields {
        request_id: "r-1",
        assigned_arm: Some(Arm::Treatment),
        served_arm: Some(ServedArm::Treatment),
        status: Status::Partial,
        experiment_key: "clip-rerank",
        plan_revision: 300,
        generation: 7,
        space: SPACE,
        ranking: &ranking,
        scores: &scores,
        counts: Counts { candidates: 200, scored: 199, cold: 0, unknown: 1, unlicensed: 0 },
        candidate_states: &states,
        ..EMPTY
    };
    let stages = StageTimes {
        decode_ns: 3000,
        assign_ns: 90,
        lookup_ns: 8000,
        score_ns: 29000,
        order_ns: 2000,
        encode_ns: 1500,
        wait_ns: u32::MAX,
    };
    assert_eq!(encode(&fields, Some(stages)), golden("treated"));
}

#[test]
fn a_pool_goes_out_with_its_ids() {
    let mut pool = Pool::default();
    let fields = ResponseFields {
        request_id: "p",
        assigned_arm: Some(Arm::Treatment),
        served_arm: Some(ServedArm::Control),
        reason: Reason::Deadline,
        ranking: &[0, 1],
        pool: Some(pool.fill(["a", "Blüte"].map(str::as_bytes)).expect("distinct ids")),
        counts: Counts { candidates: 2, ..EMPTY.counts },
        candidate_states: &[0, 0],
        ..EMPTY
    };
    assert_eq!(encode(&fields, Some(StageTimes::default())), golden("pool"));
}

#[test]
fn an_explanation_has_the_bytes_of_googles_protobuf() {
    let vase = Detection { label: 1, confidence: 0.75, corners: [0.0, 0.25, 0.5, 1.0] };
    let explanation = ExplanationColumns {
        cosine: &[0.125, 0.5],
        cosine_scaled: &[0.25, 1.0],
        consistency: &[0.0, 0.5],
        contradiction: &[f32::NAN, 0.0],
        prior: &[1.0, 0.5],
        weights: Weights { cosine: 1.0, consistency: 0.5, contradiction: 0.0, prior: 0.25 },
        expectation: &[(1, 0.75), (0, 0.25)],
        source: ExpectationSource::QueryWords,
        detections: &[vase, vase],
        detection_ends: &[0, 2],
        labels: &["person".to_owned(), "vase".to_owned()],
    };
    let fields = ResponseFields {
        request_id: "e",
        status: Status::Reranked,
        ranking: &[1, 0],
        scores: &[0.5, 0.25],
        counts: Counts { candidates: 2, scored: 2, ..EMPTY.counts },
        explanation: Some(explanation),
        ..EMPTY
    };
    assert_eq!(encode(&fields, None), golden("explained"));
}

#[test]
fn numbers_of_enums_are_those_of_the_contract() {
    let proto = include_str!("../../../proto/ra_guard/v1/rerank.proto");
    let screaming = |name: String| {
        let word = |c: char| {
            if c.is_uppercase() { format!("_{c}") } else { c.to_uppercase().to_string() }
        };
        name.chars().map(word).collect::<String>()
    };
    let statuses = Status::ALL.map(|status| (format!("STATUS{}", screaming(format!("{status:?}"))), status as u8));
    let arms = Arm::ALL.map(|arm| (format!("ARM{}", screaming(format!("{arm:?}"))), arm as u8));
    let served = ServedArm::ALL.map(|arm| (format!("ARM{}", screaming(format!("{arm:?}"))), arm as u8));
    let reasons = Reason::ALL.map(|reason| (format!("REASON{}", screaming(format!("{reason:?}"))), reason as u8));
    for (name, number) in statuses.into_iter().chain(arms).chain(served).chain(reasons) {
        let line = format!("  {} = {number};", name.replace("REASON_NONE", "REASON_UNSPECIFIED"));
        assert!(proto.contains(&line), "no {line} in rerank.proto");
    }
    assert!(Reason::ALL.iter().all(|&reason| Reason::from_wire(reason as u8) == Some(reason)));
    assert!(Status::ALL.iter().all(|&status| Status::from_wire(status as u8) == Some(status)));
    assert!(Arm::ALL.iter().all(|&arm| Arm::from_wire(arm as u8) == Some(arm)));
    assert!(ServedArm::ALL.iter().all(|&arm| ServedArm::from_wire(arm as u8) == Some(arm)));
    assert!(Arm::ALL.iter().all(|&arm| ServedArm::from(arm) as u8 == arm as u8));
    let modes = include_str!("../../../proto/ra_guard/v1/plan.proto");
    for (mode, name) in Mode::ALL.into_iter().zip(["MODE_AB", "MODE_SHADOW", "MODE_INTERLEAVING"]) {
        assert!(modes.contains(&format!("  {name} = {};", mode as u8)), "no {name} in plan.proto");
    }
    assert_eq!((Reason::from_wire(11), Status::from_wire(0), Arm::from_wire(0)), (None, None, None));
    assert_eq!((ServedArm::from_wire(0), ServedArm::from_wire(5)), (None, None));
}

proptest! {
    #[test]
    fn prost_reads_what_we_wrote(
        (request_id, experiment_key) in ("\\PC{0,9}", "[a-z]{0,9}"),
        (plan_revision, generation) in (any::<u64>(), any::<u64>()),
        ranking in vec(any::<u32>(), 0..300),
        scores in vec(any::<f32>(), 0..300),
        counts in any::<[u32; 5]>(),
        candidate_states in vec(0u8..6, 0..9),
        times in any::<[u32; 7]>(),
    ) {
        let [candidates, scored, cold, unknown, unlicensed] = counts;
        let [decode_ns, assign_ns, lookup_ns, score_ns, order_ns, encode_ns, wait_ns] = times;
        let fields = ResponseFields {
            request_id: &request_id,
            experiment_key: &experiment_key,
            plan_revision,
            generation,
            ranking: &ranking,
            scores: &scores,
            counts: Counts { candidates, scored, cold, unknown, unlicensed },
            candidate_states: &candidate_states,
            ..EMPTY
        };
        let stages = StageTimes { decode_ns, assign_ns, lookup_ns, score_ns, order_ns, encode_ns, wait_ns };
        let bytes = encode(&fields, Some(stages));
        let read = RerankResponse::decode(&bytes[..]).expect("a message");
        prop_assert_eq!(&read.encode_to_vec(), &bytes, "canonical");
        prop_assert_eq!((read.request_id, read.experiment_key), (request_id, experiment_key));
        prop_assert_eq!((read.plan_revision, read.generation), (plan_revision, generation));
        prop_assert_eq!((read.status, read.reason, read.assigned_arm), (3, 0, 0));
        prop_assert_eq!(read.ranking, ranking);
        let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read.scores), bits(&scores));
        let read_counts = read.counts.expect("always there");
        prop_assert_eq!((read_counts.candidates, read_counts.unlicensed), (candidates, unlicensed));
        let stages = read.stages.expect("always there");
        prop_assert_eq!((stages.decode_ns, stages.encode_ns, stages.wait_ns), (decode_ns, encode_ns, wait_ns));
        let states = if candidate_states.iter().all(|&s| s == 0) { vec![] } else { candidate_states };
        prop_assert_eq!(read.candidate_states, states);
    }
}
