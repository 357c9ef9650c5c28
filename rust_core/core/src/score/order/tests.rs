//! The order against its definition, and what must hold for any scores.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn states() -> impl Strategy<Value = CandidateState> {
    prop_oneof![
        4 => prop::sample::select(CandidateState::ALL[..3].to_vec()),
        1 => prop::sample::select(CandidateState::ALL[3..].to_vec()),
    ]
}

/// Few distinct values, so that ties are common, and every kind that is no number.
fn scores() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -3.0f32..3.0,
        4 => prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 0.5, f32::MAX, f32::MIN, f32::MIN_POSITIVE, -1e-42]),
        1 => prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ]
}

fn calls() -> impl Strategy<Value = Vec<(CandidateState, f32)>> {
    prop_oneof![
        prop::collection::vec((states(), scores()), 0..40),
        prop::collection::vec((states(), scores()), 60..300)
    ]
}

fn rank(call: &[(CandidateState, f32)], top_k: usize) -> Vec<u32> {
    let (states, scores): (Vec<_>, Vec<_>) = call.iter().copied().unzip();
    let mut ranking = Vec::new();
    OrderScratch::default().rank(&states, &scores, top_k, &mut ranking);
    ranking
}

fn scored(candidate: &(CandidateState, f32)) -> bool {
    candidate.0.has_features() && candidate.1.is_finite()
}

/// The definition: a stable sort of the scored ones, laid around the others.
fn definition(call: &[(CandidateState, f32)]) -> Vec<u32> {
    let remaining: Vec<u32> =
        (0..call.len() as u32).filter(|i| call[*i as usize].0 != CandidateState::Unlicensed).collect();
    let mut by_score: Vec<u32> = remaining.iter().copied().filter(|i| scored(&call[*i as usize])).collect();
    by_score.sort_by(|a, b| call[*b as usize].1.partial_cmp(&call[*a as usize].1).unwrap());
    let mut by_score = by_score.into_iter();
    remaining.into_iter().map(|i| if scored(&call[i as usize]) { by_score.next().unwrap() } else { i }).collect()
}

proptest! {
    #[test]
    fn the_order_is_its_definition(call in calls()) {
        prop_assert_eq!(rank(&call, 0), definition(&call));
    }

    #[test]
    fn top_k_cuts_the_whole_order(call in calls(), top_k in 1usize..50) {
        let mut whole = rank(&call, 0);
        whole.truncate(top_k);
        prop_assert_eq!(rank(&call, top_k), whole);
    }

    #[test]
    fn a_permutation_of_distinct_scores_gives_the_same_order(
        scores in prop::collection::btree_set(-100_000i32..100_000, 1..300),
        seed in any::<u64>(),
    ) {
        let sorted: Vec<f32> = scores.iter().rev().map(|score| *score as f32 * 0.001).collect();
        let mut shuffled = sorted.clone();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let call: Vec<_> = shuffled.iter().map(|score| (CandidateState::Scored, *score)).collect();
        let ranked: Vec<f32> = rank(&call, 0).iter().map(|i| shuffled[*i as usize]).collect();
        prop_assert_eq!(ranked, sorted);
    }

    #[test]
    fn another_unknown_id_moves_nobody_past_another(call in calls(), at in any::<prop::sample::Index>()) {
        let at = at.index(call.len() + 1);
        let mut longer = call.clone();
        longer.insert(at, (CandidateState::Unknown, f32::NAN));
        let shift = |i: u32| if i as usize >= at { i + 1 } else { i };
        let relative = |ranking: Vec<u32>, call: &[(CandidateState, f32)]| -> Vec<u32> {
            ranking.into_iter().filter(|i| scored(&call[*i as usize])).collect()
        };
        let before: Vec<u32> = relative(rank(&call, 0), &call).into_iter().map(shift).collect();
        prop_assert_eq!(relative(rank(&longer, 0), &longer), before);
    }

    #[test]
    fn what_is_not_scored_keeps_its_place(call in calls()) {
        let ranking = rank(&call, 0);
        let remaining = (0..call.len()).filter(|i| call[*i].0 != CandidateState::Unlicensed);
        for (position, i) in remaining.enumerate().filter(|(_, i)| !scored(&call[*i])) {
            prop_assert_eq!(ranking[position] as usize, i);
        }
    }

    #[test]
    fn reused_buffers_hold_nothing_of_the_call_before(first in calls(), second in calls()) {
        let mut scratch = OrderScratch::default();
        let mut ranking = Vec::new();
        for call in [&first, &second] {
            let (states, scores): (Vec<_>, Vec<_>) = call.iter().copied().unzip();
            scratch.rank(&states, &scores, 0, &mut ranking);
        }
        prop_assert_eq!(ranking, definition(&second));
    }

    #[test]
    fn priors_lie_between_zero_and_one(scores in prop::collection::vec(-3e38f32..3e38, 1..50)) {
        let mut prior = Vec::new();
        prior_from_scores(&scores, &mut prior);
        prop_assert!(prior.iter().all(|prior| (0.0..=1.0).contains(prior)));
        for (i, j) in (0..scores.len()).flat_map(|i| (0..scores.len()).map(move |j| (i, j))) {
            if scores[i] > scores[j] {
                prop_assert!(prior[i] >= prior[j]);
            }
        }
    }
}

#[test]
fn equal_scores_keep_the_baseline_order() {
    for n in [0, 1, 20, 1000] {
        let call = vec![(CandidateState::Scored, 0.0); n];
        assert_eq!(rank(&call, 0), (0..n as u32).collect::<Vec<_>>());
    }
}

#[test]
fn priors_by_hand() {
    let mut prior = vec![9.0; 7];
    prior_by_rank(4, &mut prior);
    assert_eq!(prior, [1.0, 0.75, 0.5, 0.25]);
    prior_from_scores(&[3.0, 1.0, 2.0], &mut prior);
    assert_eq!(prior, [1.0, 0.0, 0.5]);
    prior_from_scores(&[2.0, 2.0], &mut prior);
    assert_eq!(prior, [1.0, 0.5]);
    prior_from_scores(&[f32::MAX, f32::MIN, 0.0], &mut prior);
    assert_eq!(prior, [1.0, 0.0, 0.5]);
    prior_from_scores(&[], &mut prior);
    assert!(prior.is_empty());
}

#[test]
fn places_by_hand() {
    use CandidateState::{Cold, Scored, Unknown, Unlicensed};
    let call = [(Scored, 0.1), (Unlicensed, 9.0), (Cold, f32::NAN), (Scored, 0.3), (Unknown, f32::NAN), (Scored, 0.2)];
    assert_eq!(rank(&call, 0), [3, 2, 5, 4, 0]);
    assert_eq!(rank(&call, 2), [3, 2]);
}
