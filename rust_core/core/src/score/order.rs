//! The prior, and the total order of a call's candidates.
//!
//! Unlicensed candidates are removed. Those without a score keep their baseline position among the remaining
//! ones; the scored ones fill the other positions by falling score, ties by baseline rank.

use super::terms::CandidateState;

/// `1 - rank / n`, in baseline order, into `out`.
pub fn prior_by_rank(n: usize, out: &mut Vec<f32>) {
    out.clear();
    out.extend((0..n).map(|rank| 1.0 - rank as f32 / n as f32));
}

/// `(s - min) / (max - min)` over the request's finite baseline scores, into `out`; by rank where all are equal.
pub fn prior_from_scores(scores: &[f32], out: &mut Vec<f32>) {
    let lowest = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if lowest >= highest {
        return prior_by_rank(scores.len(), out);
    }
    out.clear();
    // Wider arithmetic, since the distance of two finite scores may not be finite.
    let (lowest, width) = (f64::from(lowest), f64::from(highest) - f64::from(lowest));
    out.extend(scores.iter().map(|score| ((f64::from(*score) - lowest) / width) as f32));
}

/// Reusable buffers of [`OrderScratch::rank`].
#[derive(Debug, Default)]
pub struct OrderScratch {
    keys: Vec<u64>,
}

impl OrderScratch {
    /// Ranks the candidates of a call, given in baseline order, into `ranking`: baseline ranks, best first,
    /// `top_k` at most (0 for all).
    ///
    /// A candidate is scored when its state has features and its score is finite; any other that is not
    /// unlicensed keeps its place. Allocates only while a larger call than any before comes.
    ///
    /// # Panics
    /// When `states` and `scores` differ in length.
    pub fn rank(&mut self, states: &[CandidateState], scores: &[f32], top_k: usize, ranking: &mut Vec<u32>) {
        assert_eq!(states.len(), scores.len(), "one state and one score for each candidate");
        let candidates = || (0u32..).zip(states.iter().copied().zip(scores.iter().copied()));
        let scored = candidates().filter(|(_, (state, score))| is_scored(*state, *score));
        self.keys.clear();
        self.keys.extend(scored.map(|(rank, (_, score))| key(score, rank)));
        // Keys are distinct, so this is the total order; faster than counting digits up to a few hundred.
        self.keys.sort_unstable();
        let mut best_first = self.keys.iter().map(|key| *key as u32);
        let remaining = candidates().filter(|(_, (state, _))| *state != CandidateState::Unlicensed);
        ranking.clear();
        ranking.extend(remaining.filter_map(|(rank, (state, score))| match is_scored(state, score) {
            true => best_first.next(),
            false => Some(rank),
        }));
        if top_k != 0 {
            ranking.truncate(top_k);
        }
    }
}

fn is_scored(state: CandidateState, score: f32) -> bool {
    state.has_features() && score.is_finite()
}

/// Rises as the score falls, then as the rank rises.
fn key(score: f32, rank: u32) -> u64 {
    // Adding zero turns -0 into +0: the two are equal scores.
    let bits = (score + 0.0).to_bits();
    let rising = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(!rising) << 32 | u64::from(rank)
}

#[cfg(test)]
mod tests;
