//! `RerankResponse`, written from the values of one call.

use super::candidates::Candidates;
use super::writer::Writer;
use crate::assign::{Arm, ServedArm};
use crate::detection::Detection;
use crate::score::{ExpectationSource, Weights};

/// `ra_guard.v1.Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Every candidate was scored with every feature that the weights ask for.
    Reranked = 1,
    /// Some candidates lacked a feature.
    Partial = 2,
    /// The baseline order, for a [`Reason`].
    Baseline = 3,
}

/// `ra_guard.v1.Reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The ranking is treatment's.
    None = 0,
    /// The user is in the control arm.
    Control = 1,
    /// The user is in neither arm.
    NotEnrolled = 2,
    /// The killswitch is on.
    Killed = 3,
    /// No live plan.
    LeaseExpired = 4,
    /// The caller's deadline is too near.
    Deadline = 5,
    /// Too much work in flight.
    Overload = 6,
    /// Nothing to score with.
    NoFeatures = 7,
    /// The query's embedding space is not the gallery's.
    ModelMismatch = 8,
    /// A fault of the server.
    Internal = 9,
    /// The reranked order was computed and logged, and nobody is served it.
    Shadow = 10,
}

impl Status {
    /// Every status, in the order of its number on the wire, which starts at 1.
    pub const ALL: [Self; 3] = [Self::Reranked, Self::Partial, Self::Baseline];

    /// The status of a number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&status| status as u8 == number)
    }
}

impl Reason {
    /// Every reason, in the order of its number on the wire.
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::Control,
        Self::NotEnrolled,
        Self::Killed,
        Self::LeaseExpired,
        Self::Deadline,
        Self::Overload,
        Self::NoFeatures,
        Self::ModelMismatch,
        Self::Internal,
        Self::Shadow,
    ];

    /// Reasons that calls may end with by what is known outside the core, at whatever step they are.
    pub const FROM_OUTSIDE: [Self; 5] =
        [Self::Deadline, Self::Overload, Self::NoFeatures, Self::ModelMismatch, Self::Internal];

    /// The reason of a number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Counts of candidates by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// In the request, or in the pool.
    pub candidates: u32,
    /// Scored, with every term or some.
    pub scored: u32,
    /// Known, without any feature yet.
    pub cold: u32,
    /// Not in the gallery.
    pub unknown: u32,
    /// Left out of the ranking.
    pub unlicensed: u32,
}

/// All of a response but its stage times.
#[derive(Debug, Clone, Copy)]
pub struct ResponseFields<'a> {
    /// The request's.
    pub request_id: &'a str,
    /// By the hash alone; `None` where no plan could assign.
    pub assigned_arm: Option<Arm>,
    /// What the user is served.
    pub served_arm: Option<ServedArm>,
    /// How the ranking came about.
    pub status: Status,
    /// Why it is the baseline.
    pub reason: Reason,
    /// Empty without a plan.
    pub experiment_key: &'a str,
    /// 0 without a plan.
    pub plan_revision: u64,
    /// 0 without a generation.
    pub generation: u64,
    /// 32 hex digits; empty without a generation.
    pub space: &'a str,
    /// Baseline positions, best first.
    pub ranking: &'a [u32],
    /// The candidates, when the server drew them: their ids go out along `ranking`.
    pub pool: Option<Candidates<'a>>,
    /// Along `ranking`, NaN for "kept its place"; empty for the baseline.
    pub scores: &'a [f32],
    /// What became of the candidates.
    pub counts: Counts,
    /// One byte for each candidate in request order; left out when all are 0.
    pub candidate_states: &'a [u8],
    /// Feature columns, when asked for.
    pub explanation: Option<ExplanationColumns<'a>>,
}

/// Feature columns in request order.
#[derive(Debug, Clone, Copy)]
pub struct ExplanationColumns<'a> {
    /// `q . x`; NaN where missing, here and below.
    pub cosine: &'a [f32],
    /// On the scale of the weights.
    pub cosine_scaled: &'a [f32],
    /// Expected and there.
    pub consistency: &'a [f32],
    /// There and ruled out.
    pub contradiction: &'a [f32],
    /// From the baseline.
    pub prior: &'a [f32],
    /// Those that the scores were made with.
    pub weights: Weights,
    /// Positions in `labels` and weights, descending.
    pub expectation: &'a [(u16, f32)],
    /// Where the expectation came from.
    pub source: ExpectationSource,
    /// Detections of all candidates, one after the other.
    pub detections: &'a [Detection],
    /// Where each candidate's detections end in `detections`, one for each candidate.
    pub detection_ends: &'a [u32],
    /// The generation's detector labels.
    pub labels: &'a [String],
}

/// Nanoseconds of each step of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the steps are those of the crate's documentation")]
pub struct StageTimes {
    pub decode_ns: u32,
    pub assign_ns: u32,
    pub lookup_ns: u32,
    pub score_ns: u32,
    pub order_ns: u32,
    /// Encoding up to the stage times, and the log record.
    pub encode_ns: u32,
    /// Outside the core, before it could start.
    pub wait_ns: u32,
}

impl ResponseFields<'_> {
    /// Replaces the contents of `out`. [`StageTimes::append`] completes the message: protobuf lets fields come in
    /// any order, so the time of encoding can be part of what is encoded.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut writer = Writer::new(out);
        writer.bytes(1, self.request_id.as_bytes());
        writer.uint(2, self.assigned_arm.map_or(0, |arm| arm as u64));
        writer.uint(3, self.served_arm.map_or(0, |arm| arm as u64));
        writer.uint(4, self.status as u64);
        writer.uint(5, self.reason as u64);
        writer.bytes(6, self.experiment_key.as_bytes());
        writer.uint(7, self.plan_revision);
        writer.uint(8, self.generation);
        writer.bytes(9, self.space.as_bytes());
        writer.uints(10, self.ranking);
        self.write_ranked_ids(&mut writer);
        writer.floats(12, self.scores);
        writer.message(13, |writer| self.counts.write(writer));
        if self.candidate_states.iter().any(|&state| state != 0) {
            writer.bytes(14, self.candidate_states);
        }
        if let Some(explanation) = &self.explanation {
            writer.message(16, |writer| explanation.write(writer));
        }
    }

    fn write_ranked_ids(&self, writer: &mut Writer<'_>) {
        let Some(pool) = self.pool else { return };
        for &position in self.ranking {
            writer.element(11, pool.get(position as usize).unwrap_or_default());
        }
    }
}

impl Counts {
    fn write(&self, writer: &mut Writer<'_>) {
        let counts = [self.candidates, self.scored, self.cold, self.unknown, self.unlicensed];
        for (field, count) in (1..).zip(counts) {
            writer.uint(field, u64::from(count));
        }
    }
}

impl StageTimes {
    /// Appends the stage times to an encoded response.
    pub fn append(&self, out: &mut Vec<u8>) {
        let times = [
            self.decode_ns,
            self.assign_ns,
            self.lookup_ns,
            self.score_ns,
            self.order_ns,
            self.encode_ns,
            self.wait_ns,
        ];
        Writer::new(out).message(15, |writer| {
            for (field, time) in (1..).zip(times) {
                writer.uint(field, u64::from(time));
            }
        });
    }
}

impl ExplanationColumns<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.floats(1, self.cosine);
        writer.floats(2, self.cosine_scaled);
        writer.floats(3, self.consistency);
        writer.floats(4, self.contradiction);
        writer.floats(5, self.prior);
        writer.message(6, |writer| self.weights.write(writer));
        for &(label, weight) in self.expectation {
            writer.message(7, |writer| {
                writer.bytes(1, self.label(label));
                writer.float(2, weight);
            });
        }
        let mut start = 0;
        for &end in self.detection_ends {
            let of_candidate = self.detections.get(start..end as usize).unwrap_or_default();
            writer.message(8, |writer| self.write_detections(writer, of_candidate));
            start = end as usize;
        }
        writer.uint(9, self.source as u64);
    }

    fn write_detections(&self, writer: &mut Writer<'_>, detections: &[Detection]) {
        for detection in detections {
            writer.message(1, |writer| {
                writer.bytes(1, self.label(detection.label));
                writer.float(2, detection.confidence);
                for (field, corner) in (3..).zip(detection.corners) {
                    writer.float(field, corner);
                }
            });
        }
    }

    /// Labels are checked when a generation opens; one out of range would be a fault that shows as an empty name.
    fn label(&self, label: u16) -> &[u8] {
        self.labels.get(usize::from(label)).map_or(b"", |name| name.as_bytes())
    }
}

impl Weights {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.float(1, self.cosine);
        writer.float(2, self.consistency);
        writer.float(3, self.contradiction);
        writer.float(4, self.prior);
    }
}
