//! Team drafts: those of a second implementation, and what holds for every draft.

mod support;

use proptest::prelude::*;
use ra_guard_core::interleave::{Draft, DraftSeed, Team};
use serde::Deserialize;
use support::vectors;

#[derive(Deserialize)]
struct Case {
    key: String,
    salt: String,
    request_id: String,
    top_k: usize,
    treatment: Vec<u32>,
    ranking: Vec<u32>,
    teams: Vec<u8>,
}

fn limit(top_k: usize) -> usize {
    if top_k == 0 { usize::MAX } else { top_k }
}

fn drafted(control: &[u32], treatment: &[u32], limit: usize, request_id: &str) -> (Vec<u32>, Vec<Team>) {
    let mut draft = Draft::default();
    let candidates = control.iter().chain(treatment).map(|position| *position as usize + 1).max().unwrap_or(0);
    let coins = DraftSeed::new("key", "salt").coins(request_id);
    draft.run(control.iter().copied(), treatment.iter().copied(), candidates, limit, coins);
    (draft.ranking().to_vec(), draft.teams().to_vec())
}

#[test]
fn drafts_are_those_of_the_second_implementation() {
    let cases: Vec<Case> = vectors("team_draft.json");
    let mut draft = Draft::default();
    for case in &cases {
        let n = case.treatment.len();
        let coins = DraftSeed::new(&case.key, &case.salt).coins(&case.request_id);
        draft.run(0..n as u32, case.treatment.iter().copied(), n, limit(case.top_k), coins);
        assert_eq!(draft.ranking(), case.ranking, "{}", case.request_id);
        assert_eq!(draft.teams().iter().map(|team| *team as u8).collect::<Vec<_>>(), case.teams);
    }
    assert!(cases.iter().any(|case| case.top_k == 0) && cases.iter().any(|case| case.top_k != 0));
}

#[test]
fn numbers_of_teams_are_those_of_the_arms() {
    use ra_guard_core::assign::Arm;
    assert_eq!(Team::ALL.map(|team| team as u8), [Arm::Control as u8, Arm::Treatment as u8]);
    assert_eq!((Team::from_wire(2), Team::from_wire(0)), (Some(Team::Treatment), None));
}

#[test]
fn coins_are_fair_and_requests_do_not_share_them() {
    let n = 20_000;
    let begins = |request: u32| drafted(&[0], &[0], 1, &format!("r-{request}")).1[0] == Team::Control;
    let heads = (0..n).filter(|&request| begins(request)).count() as f64;
    let deviations = (heads - f64::from(n) / 2.0) / (f64::from(n) / 4.0).sqrt();
    assert!(deviations.abs() < 4.0, "control began {heads} of {n} drafts");
    // The first coin says nothing about the second one.
    let orders: [u32; 4] = [0, 1, 2, 3];
    let both = |request: u32| {
        let teams = drafted(&orders, &orders, 4, &format!("r-{request}")).1;
        (teams[0] == Team::Control) == (teams[2] == Team::Control)
    };
    let same = (0..n).filter(|&request| both(request)).count() as f64;
    let deviations = (same - f64::from(n) / 2.0) / (f64::from(n) / 4.0).sqrt();
    assert!(deviations.abs() < 4.0, "{same} of {n} drafts begin both rounds alike");
}

/// Some of 0..n, in any order.
fn order(n: u32) -> impl Strategy<Value = Vec<u32>> {
    let all: Vec<u32> = (0..n).collect();
    prop::sample::subsequence(all, 0..=n as usize).prop_shuffle()
}

proptest! {
    #[test]
    fn a_draft_is_fair_to_both_orders(
        (n, treatment) in (1u32..40).prop_flat_map(|n| (Just(n), Just((0..n).collect::<Vec<_>>()).prop_shuffle())),
        top_k in 0usize..50,
        request_id in "[a-z0-9]{1,8}",
    ) {
        let control: Vec<u32> = (0..n).collect();
        let (ranking, teams) = drafted(&control, &treatment, limit(top_k), &request_id);
        prop_assert_eq!(ranking.len(), limit(top_k).min(n as usize));
        for end in 1..=ranking.len() {
            let of_treatment = teams[..end].iter().filter(|&&team| team == Team::Treatment).count();
            prop_assert!((end - of_treatment).abs_diff(of_treatment) <= 1);
            // Every pick is the best that its captain could still have.
            let before = &ranking[..end - 1];
            let order = if teams[end - 1] == Team::Control { &control } else { &treatment };
            let best = order.iter().find(|&position| !before.contains(position));
            prop_assert_eq!(best, Some(&ranking[end - 1]));
        }
        // Of each order, no more than its first `top_k` results matter.
        if top_k != 0 {
            let cut = &treatment[..top_k.min(treatment.len())];
            prop_assert_eq!(drafted(&control, cut, top_k, &request_id), (ranking, teams));
        }
    }

    #[test]
    fn orders_of_different_candidates_are_drafted_while_both_last(control in order(12), treatment in order(12)) {
        let (ranking, _) = drafted(&control, &treatment, usize::MAX, "r");
        let mut distinct = ranking.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), ranking.len());
        let is_used_up = |order: &[u32]| order.iter().all(|position| ranking.contains(position));
        prop_assert!(is_used_up(&control) || is_used_up(&treatment));
    }
}
