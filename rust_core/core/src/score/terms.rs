//! What a candidate shows of what the query asks for, and the score that comes of it.
//!
//! Everything is computed in `f32`, in the order in which the formulas of SCORE.md are written, without
//! contraction: the same inputs give the same bits everywhere.

use zerocopy::{Immutable, IntoBytes};

use super::expectation::Expectation;
use super::lexicon::Side;
use super::query_words::{CountFact, RelationFact, WordFacts};
use crate::detection::Detection;

/// What became of a candidate; the numbers are those of `candidate_states` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoBytes, Immutable)]
#[repr(u8)]
pub enum CandidateState {
    /// Scored with every term.
    Scored = 0,
    /// Scored without detections.
    NoDetections = 1,
    /// Scored without a cosine.
    NoCosine = 2,
    /// Known, without any feature yet.
    Cold = 3,
    /// Not in the gallery.
    #[default]
    Unknown = 4,
    /// Left out of the ranking.
    Unlicensed = 5,
}

/// What a known row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// An embedding.
    pub embedding: bool,
    /// The detector has seen the image, whether or not it found anything.
    pub detections: bool,
}

impl CandidateState {
    /// Every state, in the order of its number.
    pub const ALL: [CandidateState; 6] =
        [Self::Scored, Self::NoDetections, Self::NoCosine, Self::Cold, Self::Unknown, Self::Unlicensed];

    /// The state of a known, licensed candidate.
    pub fn of(features: Features) -> CandidateState {
        match features {
            Features { embedding: true, detections: true } => Self::Scored,
            Features { embedding: true, detections: false } => Self::NoDetections,
            Features { embedding: false, detections: true } => Self::NoCosine,
            Features { embedding: false, detections: false } => Self::Cold,
        }
    }

    /// Whether it has anything to score.
    pub fn has_features(self) -> bool {
        matches!(self, Self::Scored | Self::NoDetections | Self::NoCosine)
    }
}

/// A label that an image shows, as its row records it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeenLabel {
    /// Position in the label list; one beyond it is ignored.
    pub label: u16,
    /// Objects counted, 15 standing for 15 or more.
    pub count: u8,
    /// 0..=1.
    pub presence: f32,
}

/// What a query's rules say of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evidence {
    /// How much of what is expected is there, 0..=1.
    pub consistency: f32,
    /// How much is there that is ruled out, 0..=1.
    pub contradiction: f32,
}

/// What a call asks of one label.
#[derive(Debug, Clone, Copy, Default)]
struct LabelRule {
    weight: f32,
    /// 0 where any number will do.
    exact_count: u8,
    ruled_out: bool,
}

/// What a call asks of the labels: reusable scratch, a table by label so that a candidate costs one look-up for
/// each label that it shows.
#[derive(Debug, Default)]
pub struct Rules {
    labels: Vec<LabelRule>,
    relations: Vec<RelationFact>,
}

impl Rules {
    /// Sets up the rules of one call over `n_labels` labels: what is expected, what the request forbids, and
    /// what the text's words rule out. Labels beyond `n_labels` are ignored. Allocates only while it grows.
    pub fn prepare(&mut self, n_labels: usize, expectation: &Expectation, forbidden: &[u16], words: &WordFacts) {
        self.labels.clear();
        self.labels.resize(n_labels, LabelRule::default());
        for expected in expectation.labels() {
            self.update(expected.label, |rule| rule.weight = expected.weight);
        }
        for label in forbidden.iter().chain(&words.ruled_out) {
            self.update(*label, |rule| rule.ruled_out = true);
        }
        for CountFact { label, count } in &words.counts {
            self.update(*label, |rule| rule.exact_count = *count);
        }
        self.relations.clear();
        self.relations.extend_from_slice(&words.relations);
    }

    fn update(&mut self, label: u16, change: impl FnOnce(&mut LabelRule)) {
        if let Some(rule) = self.labels.get_mut(usize::from(label)) {
            change(rule);
        }
    }

    /// Evidence of one candidate: the labels that it shows, in the order of its record, and its boxes, which
    /// are read only for a relation between two labels that are both there.
    pub fn evidence<B>(&self, seen: impl Iterator<Item = SeenLabel> + Clone, boxes: impl Fn() -> B) -> Evidence
    where
        B: Iterator<Item = Detection>,
    {
        let (mut consistency, mut consistent) = (0.0f32, 1.0f32);
        for shown in seen.clone() {
            let Some(rule) = self.labels.get(usize::from(shown.label)) else { continue };
            consistency += rule.weight * shown.presence;
            if rule.ruled_out {
                consistent *= 1.0 - shown.presence;
            }
            if rule.exact_count != 0 {
                consistent *= 1.0 - shown.presence * count_mismatch(shown.count, rule.exact_count);
            }
        }
        for relation in &self.relations {
            consistent *= 1.0 - relation_contradiction(relation, seen.clone(), &boxes);
        }
        // The weights sum to 1 only within rounding.
        Evidence { consistency: consistency.min(1.0), contradiction: (1.0 - consistent).clamp(0.0, 1.0) }
    }
}

/// `|c - n| / max(c, n)`: 0 for the right number, towards 1 the further off.
fn count_mismatch(counted: u8, wanted: u8) -> f32 {
    f32::from(counted.abs_diff(wanted)) / f32::from(counted.max(wanted))
}

/// The lesser presence where both labels are there and no pair of their boxes stands in the relation; 0 where it
/// holds, or where it cannot be told.
fn relation_contradiction<B>(
    relation: &RelationFact,
    seen: impl Iterator<Item = SeenLabel> + Clone,
    boxes: impl Fn() -> B,
) -> f32
where
    B: Iterator<Item = Detection>,
{
    let presence = |label| seen.clone().find(|shown| shown.label == label).map_or(0.0, |shown| shown.presence);
    let lesser = presence(relation.subject).min(presence(relation.object));
    if lesser > 0.0 && !may_hold(relation, boxes()) { lesser } else { 0.0 }
}

/// Whether a pair of boxes stands in the relation by their centres, or a label has no box to tell by.
///
/// Some subject is left of some object exactly when the leftmost subject is left of the rightmost object: one
/// pass, whatever the number of boxes.
fn may_hold(relation: &RelationFact, boxes: impl Iterator<Item = Detection>) -> bool {
    // Mirrored so that the subject must have the smaller coordinate.
    let coordinate = |[x0, y0, x1, y1]: [f32; 4]| match relation.side {
        Side::Left => x0 + x1,
        Side::Right => -(x0 + x1),
        Side::Above => y0 + y1,
        Side::Below => -(y0 + y1),
    };
    let (mut subject, mut object) = (f32::INFINITY, f32::NEG_INFINITY);
    for b in boxes {
        if b.label == relation.subject {
            subject = subject.min(coordinate(b.corners));
        } else if b.label == relation.object {
            object = object.max(coordinate(b.corners));
        }
    }
    subject.is_infinite() || object.is_infinite() || subject < object
}

/// The interval of cosines that a space uses, from its `cosine_range`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineRange {
    low: f32,
    high: f32,
}

impl CosineRange {
    /// `None` unless both are finite and `low < high`.
    pub fn new(low: f32, high: f32) -> Option<CosineRange> {
        (low.is_finite() && high.is_finite() && low < high).then_some(CosineRange { low, high })
    }

    /// 0 at the range's low end, 1 at its high end; not clamped.
    #[inline]
    pub fn scale(&self, cosine: f32) -> f32 {
        (cosine - self.low) / (self.high - self.low)
    }

    /// The high end.
    pub fn high(&self) -> f32 {
        self.high
    }
}

/// Weights of the terms, finite and 0 or more.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Weights {
    /// Of the scaled cosine.
    pub cosine: f32,
    /// Of the consistency.
    pub consistency: f32,
    /// Of the contradiction; subtracted.
    pub contradiction: f32,
    /// Of the prior.
    pub prior: f32,
}

/// The terms of one candidate; what is missing is left out, never invented.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Terms {
    /// Scaled by [`CosineRange::scale`].
    pub cosine_scaled: Option<f32>,
    /// Of its detections.
    pub evidence: Option<Evidence>,
    /// Of its baseline score or rank, 0..=1.
    pub prior: f32,
}

impl Terms {
    /// The final score, evaluated left to right. `None` when it is not finite: such a candidate is not scored.
    #[inline]
    pub fn score(&self, weights: &Weights) -> Option<f32> {
        let cosine = self.cosine_scaled.unwrap_or(0.0);
        let Evidence { consistency, contradiction } = self.evidence.unwrap_or_default();
        let score = weights.cosine * cosine + weights.consistency * consistency - weights.contradiction * contradiction
            + weights.prior * self.prior;
        score.is_finite().then_some(score)
    }
}
