//! Shadow, interleaving and rollout: who is scored, what is served, what is logged.

use ra_guard_core::assign::{Arm, ServedArm};
use ra_guard_core::interleave::Team;
use ra_guard_core::kernel::Kernel;
use ra_guard_core::log::Record;
use ra_guard_core::plan::Mode;
use ra_guard_core::rerank::{Call, Outcome, Scratch};
use ra_guard_core::shard::Dtype;
use ra_guard_core::wire::{Reason, Status};

use prost::Message;

use crate::fixture::Bench;
use crate::support::messages::{Query, RerankRequest};

fn bench(mode: Mode, log: &tempfile::TempDir) -> Bench {
    let bench = Bench::new(Dtype::F16, Kernel::detect(), Some(Bench::log(log)));
    bench.publish(|plan| (plan.mode, plan.ramp_bp) = (mode as i32, 4000));
    bench
}

/// A request of the same candidates by a user of an arm, under a plan that enrols 4,000 buckets in each.
fn request(bench: &Bench, arm: Arm) -> RerankRequest {
    let buckets = match arm {
        Arm::Treatment => 0..4000,
        Arm::Control => 5000..9000,
        Arm::NotEnrolled => 4000..5000,
    };
    RerankRequest { user_id: bench.user(buckets), explain: true, top_k: 12, ..bench.request() }
}

/// What treatment is served under A/B.
fn reranked() -> Vec<u32> {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = bench(Mode::Ab, &folder);
    bench.answer(&request(&bench, Arm::Treatment)).1.ranking
}

#[test]
fn in_shadow_both_arms_are_scored_and_served_the_baseline() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = bench(Mode::Shadow, &folder);
    for arm in [Arm::Treatment, Arm::Control] {
        let (answered, response) = bench.answer(&request(&bench, arm));
        assert_eq!((answered.assigned, answered.served), (Some(arm), Some(ServedArm::Control)));
        assert_eq!((answered.status, answered.reason), (Status::Baseline, Reason::Shadow));
        assert_eq!(response.ranking, (0..12).collect::<Vec<_>>());
        assert!(response.scores.is_empty(), "a baseline has no scores");
        assert_eq!(answered.counts.scored, 60, "and the log line says what was scored");
    }
    let records = bench.records(&folder);
    assert_eq!(records.len(), 2);
    for record in &records {
        let record = Record::decode(record).expect("a record");
        assert_eq!((record.mode, record.reason), (Some(Mode::Shadow), Reason::Shadow));
        assert!(record.columns.is_some() && record.teams.is_none());
        assert!(record.ranking.iter().eq(0..12));
        let treatment = record.treatment_ranking.expect("treatment's order");
        assert_eq!(treatment.iter().map(u32::from).collect::<Vec<_>>(), reranked());
    }
}

#[test]
fn interleaved_both_arms_are_served_a_draft() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = bench(Mode::Interleaving, &folder);
    let (answered, response) = bench.answer(&request(&bench, Arm::Treatment));
    assert_eq!((answered.assigned, answered.served), (Some(Arm::Treatment), Some(ServedArm::Interleaved)));
    assert_eq!((answered.status, answered.reason), (Status::Partial, Reason::None));
    assert_eq!((response.served_arm, response.ranking.len(), response.scores.len()), (4, 12, 12));
    let (other, same) = bench.answer(&request(&bench, Arm::Control));
    assert_eq!((other.assigned, other.served), (Some(Arm::Control), Some(ServedArm::Interleaved)));
    assert_eq!(same.ranking, response.ranking, "the request decides, not the arm");
    assert_eq!(same.scores, response.scores);
    let mut another = request(&bench, Arm::Treatment);
    let differs = (2..20).any(|i| {
        another.request_id = format!("r-{i}");
        bench.answer(&another).1.ranking != response.ranking
    });
    assert!(differs, "another request has other coins");

    let records = bench.records(&folder);
    let record = Record::decode(&records[0]).expect("a record");
    assert_eq!(record.mode, Some(Mode::Interleaving));
    assert!(record.ranking.iter().map(u32::from).eq(response.ranking.iter().copied()));
    let teams: Vec<Team> = record.teams.expect("teams").iter().collect();
    assert_eq!(teams.iter().filter(|&&team| team == Team::Control).count(), 6);
    let treatment: Vec<u32> = record.treatment_ranking.expect("treatment's order").iter().map(u32::from).collect();
    assert_eq!(treatment, reranked());
    let columns = record.columns.expect("columns");
    let score: Vec<f32> = columns.score.iter().collect();
    for (position, served) in response.ranking.iter().zip(&response.scores) {
        assert_eq!(score[*position as usize].to_bits(), served.to_bits());
    }
}

#[test]
fn rolled_out_both_arms_are_served_the_reranked_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = bench(Mode::Rollout, &folder);
    for arm in [Arm::Treatment, Arm::Control] {
        let (answered, response) = bench.answer(&request(&bench, arm));
        assert_eq!((answered.assigned, answered.served), (Some(arm), Some(ServedArm::Treatment)));
        assert_eq!((answered.status, answered.reason), (Status::Partial, Reason::None));
        assert_eq!((response.ranking, response.scores.len()), (reranked(), 12));
    }
    for record in &bench.records(&folder) {
        let record = Record::decode(record).expect("a record");
        assert_eq!((record.mode, record.reason), (Some(Mode::Rollout), Reason::None));
        assert!(record.teams.is_none() && record.treatment_ranking.is_none());
        assert!(record.ranking.iter().map(u32::from).eq(reranked()));
        assert_eq!(bench.replay(Kernel::detect()).check(&bench.records(&folder)[0]).expect("a record"), None);
    }
}

#[test]
fn strangers_are_scored_in_no_mode() {
    for mode in Mode::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = bench(mode, &folder);
        let (answered, response) = bench.answer(&request(&bench, Arm::NotEnrolled));
        assert_eq!((answered.reason, answered.served), (Reason::NotEnrolled, Some(ServedArm::NotEnrolled)));
        assert_eq!(response.ranking, (0..12).collect::<Vec<_>>());
        assert!(bench.records(&folder).is_empty());
    }
}

#[test]
fn what_fails_on_the_way_keeps_its_reason_in_every_mode() {
    for mode in [Mode::Shadow, Mode::Interleaving, Mode::Rollout] {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = bench(mode, &folder);
        for arm in [Arm::Treatment, Arm::Control] {
            let mut cold = request(&bench, arm);
            cold.candidate_ids = vec!["cold".into(), "stranger".into()];
            let (answered, _) = bench.answer(&cold);
            assert_eq!((answered.reason, answered.served), (Reason::NoFeatures, Some(ServedArm::Control)));

            let (bytes, mut scratch) = (request(&bench, arm).encode_to_vec(), Scratch::default());
            let call = Call { request: &bytes, pool: None, deadline_ns: Some(0), wait_ns: 0 };
            for (outcome, reason) in [
                (bench.engine.rerank(&call, &bench.clock, &mut scratch), Reason::Deadline),
                (bench.engine.fall_back(&call, Reason::Overload, &bench.clock, &mut scratch), Reason::Overload),
            ] {
                let Ok(Outcome::Answered(answered)) = outcome else { panic!("finished") };
                assert_eq!((answered.reason, answered.status), (reason, Status::Baseline));
                assert_eq!(answered.served, Some(ServedArm::Control));
            }
        }
        bench.publish(|plan| (plan.mode, plan.killed) = (mode as i32, true));
        assert_eq!(bench.reason(&request(&bench, Arm::Control)), Reason::Killed);
        for record in bench.records(&folder) {
            let record = Record::decode(&record).expect("a record");
            assert!(record.teams.is_none() && record.treatment_ranking.is_none());
            assert_eq!(record.mode, Some(mode));
        }
    }
}

#[test]
fn a_cold_text_is_asked_for_in_both_arms() {
    for mode in [Mode::Shadow, Mode::Interleaving, Mode::Rollout] {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = bench(mode, &folder);
        let mut text = request(&bench, Arm::Control);
        text.query = Some(Query::Text("two dogs".into()));
        let outcome = bench.outcome(&text, &mut Scratch::default()).expect("a valid request");
        assert_eq!(outcome, Outcome::ColdText("two dogs".into()));
        bench.warm("two dogs");
        let (answered, _) = bench.answer(&text);
        assert_eq!(answered.reason, if mode == Mode::Shadow { Reason::Shadow } else { Reason::None });
    }
}

#[test]
fn the_unlicensed_appear_in_no_order() {
    for mode in Mode::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = bench(mode, &folder);
        let mut licensed = request(&bench, Arm::Treatment);
        (licensed.allowed_licences, licensed.top_k) = (vec!["cc0".into()], 0);
        let (answered, response) = bench.answer(&licensed);
        assert!(answered.counts.unlicensed > 0);
        let records = bench.records(&folder);
        let record = Record::decode(&records[0]).expect("a record");
        let treatment = record.treatment_ranking.map_or(vec![], |order| order.iter().map(u32::from).collect());
        assert_eq!(treatment.is_empty(), matches!(mode, Mode::Ab | Mode::Rollout));
        for position in response.ranking.iter().chain(&treatment) {
            assert_ne!(record.states.expect("states")[*position as usize], 5);
        }
        assert_eq!(response.ranking.len() as u32, 60 - answered.counts.unlicensed, "and everyone else does");
    }
}
