//! The prior, and the total order of a call's candidates.
//!
//! Unlicensed candidates are removed. Those without a score keep their baseline position among the remaining
//! ones; the scored ones fill the other positions by falling score, ties by baseline rank.

use super::terms::CandidateState;

/// Below this many keys a comparison sort is faster than counting digits.
const RADIX_MINIMUM: usize = 64;

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
    spare: Vec<u64>,
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
        self.keys.clear();
        self.keys.extend(
            (0u32..)
                .zip(states.iter().zip(scores))
                .filter(|(_, (state, score))| is_scored(**state, **score))
                .map(|(rank, (_, score))| key(*score, rank)),
        );
        self.sort();
        let mut scored = self.keys.iter().map(|key| *key as u32);
        ranking.clear();
        ranking.extend(
            (0u32..)
                .zip(states.iter().zip(scores))
                .filter(|(_, (state, _))| **state != CandidateState::Unlicensed)
                .filter_map(
                    |(rank, (state, score))| if is_scored(*state, *score) { scored.next() } else { Some(rank) },
                ),
        );
        if top_k != 0 {
            ranking.truncate(top_k);
        }
    }

    /// Keys come in rising baseline rank, so a stable sort by the score's half orders them fully.
    fn sort(&mut self) {
        if self.keys.len() < RADIX_MINIMUM {
            return self.keys.sort_unstable();
        }
        let mut counts = [[0u32; 256]; 4];
        for key in &self.keys {
            for (digit, counts) in counts.iter_mut().enumerate() {
                counts[digit_of(*key, digit)] += 1;
            }
        }
        self.spare.resize(self.keys.len(), 0);
        for (digit, counts) in counts.iter_mut().enumerate() {
            let mut start = 0;
            for count in counts.iter_mut() {
                start += std::mem::replace(count, start);
            }
            for key in &self.keys {
                let place = &mut counts[digit_of(*key, digit)];
                self.spare[*place as usize] = *key;
                *place += 1;
            }
            std::mem::swap(&mut self.keys, &mut self.spare);
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

fn digit_of(key: u64, digit: usize) -> usize {
    (key >> (32 + 8 * digit)) as usize & 0xff
}
