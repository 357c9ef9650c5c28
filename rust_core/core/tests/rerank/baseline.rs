//! Every way to the baseline has its reason, and only a caller's mistake is an error.

use std::ops::Range;

use prost::Message;
use ra_guard_core::assign::{Arm, ServedArm};
use ra_guard_core::kernel::Kernel;
use ra_guard_core::rerank::{Answered, Call, Outcome, Scratch};
use ra_guard_core::shard::Dtype;
use ra_guard_core::wire::{Reason, Status};

use crate::fixture::Bench;
use crate::support::messages::{Query, QueryEmbedding, RerankRequest};

fn bench() -> Bench {
    Bench::new(Dtype::F16, Kernel::detect(), None)
}

#[test]
fn treatment_is_reranked_and_says_what_was_scored() {
    let bench = bench();
    let (answered, response) = bench.answer(&bench.request());
    assert_eq!((answered.status, answered.reason), (Status::Partial, Reason::None), "some rows lack a feature");
    assert_eq!((answered.assigned, answered.served), (Some(Arm::Treatment), Some(ServedArm::Treatment)));
    let mut ranking = response.ranking.clone();
    ranking.sort_unstable();
    assert_eq!(ranking, (0..60).collect::<Vec<_>>(), "every candidate once");
    assert_eq!(response.scores.len(), 60);
    assert!(response.scores.windows(2).all(|pair| pair[0] >= pair[1]), "all have a score, and it falls");
    assert_eq!(answered.counts.scored, 60);
}

#[test]
fn complete_features_make_it_reranked() {
    let bench = bench();
    let complete = bench.request().candidate_ids.into_iter().filter(|id| !id.ends_with('0') && !id.ends_with('5'));
    let mut request = bench.request();
    request.candidate_ids = complete.collect();
    let (answered, response) = bench.answer(&request);
    assert_eq!(answered.status, Status::Reranked);
    assert!(response.candidate_states.is_empty());
}

#[test]
fn control_and_strangers_keep_the_baseline() {
    let bench = bench();
    bench.publish(|plan| plan.ramp_bp = 100);
    for (buckets, arm, reason) in [
        (5000..5100, Arm::Control, Reason::Control),
        (100..5000, Arm::NotEnrolled, Reason::NotEnrolled),
        (5100..10000, Arm::NotEnrolled, Reason::NotEnrolled),
    ] {
        let mut request = bench.request();
        request.user_id = bench.user(buckets);
        let (answered, response) = bench.answer(&request);
        assert_eq!((answered.assigned, answered.served), (Some(arm), Some(arm.into())));
        assert_eq!((answered.status, answered.reason), (Status::Baseline, reason));
        assert_eq!(response.ranking, (0..60).collect::<Vec<_>>());
        assert!(response.scores.is_empty(), "a baseline has no scores");
    }
}

#[test]
fn the_killswitch_comes_before_everything() {
    let bench = bench();
    bench.publish(|plan| plan.killed = true);
    let (answered, _) = bench.answer(&bench.request());
    assert_eq!(
        (answered.reason, answered.assigned, answered.served),
        (Reason::Killed, Some(Arm::Treatment), Some(ServedArm::Control))
    );
}

#[test]
fn treatment_ends_with_the_lease_and_returns_with_contact() {
    let bench = bench();
    bench.clock.0.set(bench.clock.0.get() + 60_000_000_000);
    assert_eq!(bench.reason(&bench.request()), Reason::None, "the lease's last nanosecond");
    bench.clock.0.set(bench.clock.0.get() + 1);
    assert_eq!(bench.reason(&bench.request()), Reason::LeaseExpired);
    assert!(bench.engine.plan.renew(bench.engine.plan.revision(), bench.clock.0.get()));
    assert_eq!(bench.reason(&bench.request()), Reason::None);
}

#[test]
fn without_a_plan_nobody_is_assigned() {
    let with_plan = bench();
    let engine = ra_guard_core::engine::Engine::new(Kernel::detect(), 16, None);
    engine.publish_generation(std::sync::Arc::clone(&with_plan.generation)).expect("a usable generation");
    let (bytes, mut scratch) = (with_plan.request().encode_to_vec(), Scratch::default());
    let call = Call { request: &bytes, pool: None, deadline_ns: None, wait_ns: 0 };
    let outcome = engine.rerank(&call, &with_plan.clock, &mut scratch).expect("a valid request");
    let Outcome::Answered(answered) = outcome else { panic!("finished") };
    assert_eq!((answered.reason, answered.assigned, answered.served), (Reason::LeaseExpired, None, None));
}

#[test]
fn a_passed_deadline_is_a_reason_in_both_arms() {
    let bench = bench();
    let values = [1.0f32, 0.0].into_iter().flat_map(f32::to_le_bytes).collect();
    let of_another_space = Query::Embedding(QueryEmbedding { values, space: "0".repeat(32) });
    let queries = [bench.request().query, Some(Query::Text("nobody embedded this".into())), Some(of_another_space)];
    for query in queries {
        for buckets in [0..5000, 5000..10000] {
            let request = RerankRequest { user_id: bench.user(buckets), query: query.clone(), ..bench.request() };
            let (bytes, mut scratch) = (request.encode_to_vec(), Scratch::default());
            let call = Call { request: &bytes, pool: None, deadline_ns: Some(bench.clock.0.get() - 1), wait_ns: 5 };
            let outcome = bench.engine.rerank(&call, &bench.clock, &mut scratch).expect("a valid request");
            let Outcome::Answered(answered) = outcome else { panic!("finished") };
            assert_eq!((answered.reason, answered.stages.wait_ns), (Reason::Deadline, 5));
        }
    }
}

#[test]
fn no_gallery_and_no_known_candidate_are_no_features() {
    let empty = Bench::without_gallery(Dtype::F16, Kernel::detect(), None);
    assert_eq!(empty.reason(&empty.request()), Reason::NoFeatures);
    let bench = bench();
    let mut request = bench.request();
    request.candidate_ids = vec!["stranger".into(), "cold".into()];
    let (answered, response) = bench.answer(&request);
    assert_eq!(answered.reason, Reason::NoFeatures);
    assert_eq!(response.candidate_states, [4, 3]);
    let featureless: Vec<&[u8]> = answered.featureless.iter().map(|id| &id[..]).collect();
    assert_eq!(featureless, [b"stranger".as_slice(), b"cold"]);
}

#[test]
fn another_space_is_a_mismatch_in_request_and_plan() {
    let bench = bench();
    let mut request = bench.request();
    request.query = Some(Query::Embedding(QueryEmbedding {
        values: [1.0f32, 0.0].into_iter().flat_map(f32::to_le_bytes).collect(),
        space: "0".repeat(32),
    }));
    assert_eq!(bench.reason(&request), Reason::ModelMismatch);
    bench.publish(|plan| plan.spaces = vec!["0".repeat(32)]);
    assert_eq!(bench.reason(&bench.request()), Reason::ModelMismatch);
}

#[test]
fn a_cold_text_is_asked_for_once() {
    let bench = bench();
    let mut request = bench.request();
    request.query = Some(Query::Text("two dogs".into()));
    let outcome = bench.outcome(&request, &mut Scratch::default()).expect("a valid request");
    assert_eq!(outcome, Outcome::ColdText("two dogs".into()));
    bench.warm("two dogs");
    assert_eq!(bench.reason(&request), Reason::None);
}

#[test]
fn control_never_asks_for_a_text() {
    let bench = bench();
    let mut request = bench.request();
    request.query = Some(Query::Text("nobody embedded this".into()));
    request.user_id = bench.user(5000..10000);
    assert_eq!(bench.reason(&request), Reason::Control);
}

#[test]
fn a_fault_is_the_reason_in_both_arms() {
    let bench = bench();
    for (buckets, arm) in [(0..5000, Arm::Treatment), (5000..10000, Arm::Control)] {
        for reason in Reason::FROM_OUTSIDE {
            let answered = fall_back(&bench, buckets.clone(), reason);
            assert_eq!((answered.assigned, answered.served), (Some(arm), Some(ServedArm::Control)));
            assert_eq!((answered.status, answered.reason), (Status::Baseline, reason));
        }
    }
}

#[test]
fn what_the_plan_says_of_everyone_comes_before_a_fault() {
    let bench = bench();
    bench.publish(|plan| plan.ramp_bp = 100);
    assert_eq!(fall_back(&bench, 5100..10000, Reason::Overload).reason, Reason::NotEnrolled);
    bench.clock.0.set(bench.clock.0.get() + 60_000_000_001);
    assert_eq!(fall_back(&bench, 5000..5100, Reason::Overload).reason, Reason::LeaseExpired);
    bench.publish(|plan| plan.killed = true);
    assert_eq!(fall_back(&bench, 0..5000, Reason::Overload).reason, Reason::Killed);
    assert_eq!(fall_back(&bench, 5000..10000, Reason::Overload).reason, Reason::Killed);
}

/// The facts of a call by a user of the buckets that ends for a reason from outside.
fn fall_back(bench: &Bench, buckets: Range<u16>, reason: Reason) -> Answered {
    let request = RerankRequest { user_id: bench.user(buckets), ..bench.request() };
    let (bytes, mut scratch) = (request.encode_to_vec(), Scratch::default());
    let call = Call { request: &bytes, pool: None, deadline_ns: None, wait_ns: 0 };
    let outcome = bench.engine.fall_back(&call, reason, &bench.clock, &mut scratch).expect("a valid request");
    let Outcome::Answered(answered) = outcome else { panic!("finished") };
    answered
}

#[test]
fn licences_hold_in_every_arm() {
    let bench = bench();
    for buckets in [0..5000, 5000..10000] {
        let mut request = bench.request();
        request.user_id = bench.user(buckets);
        request.allowed_licences = vec!["cc0".into()];
        let (answered, response) = bench.answer(&request);
        let editorial: Vec<usize> = (0..60).filter(|i| i % 7 == 3).collect();
        assert_eq!(answered.counts.unlicensed as usize, editorial.len());
        let shown: Vec<usize> = response.ranking.iter().map(|position| 59 - *position as usize).collect();
        assert!(shown.iter().all(|row| !editorial.contains(row)));
        assert_eq!(shown.len(), 60 - editorial.len());
    }
}

#[test]
fn candidates_without_features_keep_their_place() {
    let bench = bench();
    let mut request = bench.request();
    request.candidate_ids.insert(0, "stranger".into());
    request.candidate_ids.insert(9, "cold".into());
    let (answered, response) = bench.answer(&request);
    assert_eq!(answered.status, Status::Partial);
    assert_eq!((response.ranking[0], response.ranking[9]), (0, 9));
    assert!(response.scores[0].is_nan() && response.scores[9].is_nan(), "no score is invented");
    assert_eq!((answered.counts.cold, answered.counts.unknown, answered.counts.scored), (1, 1, 60));
}

#[test]
fn names_that_the_gallery_does_not_know_are_refused() {
    let bench = bench();
    for user in [bench.user(0..5000), bench.user(5000..10000)] {
        let mut request = bench.request();
        request.user_id = user;
        request.domain = "cars".into();
        let error = bench.outcome(&request, &mut Scratch::default()).expect_err("an unknown domain");
        assert_eq!(error.variant(), "UnknownDomain");
        assert!(error.to_string().contains("pets, kitchen"), "{error}");
        request.domain = "pets".into();
        request.forbidden_labels = vec!["unicorn".into()];
        let error = bench.outcome(&request, &mut Scratch::default()).expect_err("an unknown label");
        assert_eq!(error.variant(), "UnknownLabel");
    }
}

#[test]
fn an_embedding_of_another_length_is_refused_in_every_arm() {
    let bench = bench();
    let mut request = bench.request();
    let space = bench.generation.space_fingerprint().to_owned();
    let values = [0.6f32, 0.8].into_iter().flat_map(f32::to_le_bytes).collect();
    request.query = Some(Query::Embedding(QueryEmbedding { values, space }));
    for arm in [0..5000, 5000..10000] {
        request.user_id = bench.user(arm);
        let error = bench.outcome(&request, &mut Scratch::default()).expect_err("two values");
        assert_eq!(error.variant(), "EmbeddingLength");
    }
}

#[test]
fn the_canary_scores_a_row_against_itself() {
    assert!((bench().engine.canary() - 1.0).abs() < 1e-3);
    let empty = Bench::without_gallery(Dtype::F16, Kernel::detect(), None);
    assert!(empty.engine.canary().is_nan());
}
