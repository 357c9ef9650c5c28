//! Candidate log records to write and to expect.

use ra_guard_core::assign::{Arm, ServedArm};
use ra_guard_core::interleave::Team;
use ra_guard_core::log::{RecordFields, ScoreColumns};
use ra_guard_core::plan::Mode;
use ra_guard_core::score::Weights;
use ra_guard_core::wire::{Reason, Status};

use super::SPACE;

pub const TIME: u64 = 1_800_000_000_000_000_000;

pub fn fields(arm: Arm) -> RecordFields<'static> {
    RecordFields {
        unix_ns: TIME,
        elapsed_us: 7_654_321,
        mode: Some(Mode::Ab),
        request: b"request bytes",
        candidates: 3,
        pool: None,
        assigned_arm: Some(arm),
        served_arm: Some(arm.into()),
        status: Status::Reranked,
        reason: Reason::None,
        experiment_key: "clip-rerank",
        plan_revision: 12,
        generation: 7,
        space: SPACE,
        weights: Weights { cosine: 1.0, consistency: 0.5, contradiction: 0.25, prior: 0.125 },
        query_vector: &[0.6, 0.8],
        states: &[0, 4, 1],
        columns: Some(ScoreColumns {
            cosine: &[0.1, f32::NAN, 0.3],
            consistency: &[0.4, 0.5, 0.6],
            contradiction: &[0.0, 0.0, -0.0],
            prior: &[1.0, 0.5, 0.25],
            score: &[1.5, f32::NAN, 0.75],
        }),
        ranking: &[2, 1, 0],
        teams: &[],
        treatment_ranking: &[],
    }
}

/// What an interleaved call of a user in control leaves.
pub fn interleaved() -> RecordFields<'static> {
    RecordFields {
        mode: Some(Mode::Interleaving),
        served_arm: Some(ServedArm::Interleaved),
        ranking: &[0, 2, 1],
        teams: &[Team::Control, Team::Treatment, Team::Control],
        treatment_ranking: &[2, 1, 0],
        ..fields(Arm::Control)
    }
}

/// What a call in shadow of a user in treatment leaves.
pub fn shadowed() -> RecordFields<'static> {
    RecordFields {
        mode: Some(Mode::Shadow),
        served_arm: Some(ServedArm::Control),
        status: Status::Baseline,
        reason: Reason::Shadow,
        ranking: &[0, 1, 2],
        treatment_ranking: &[2, 1, 0],
        ..fields(Arm::Treatment)
    }
}

pub fn record(arm: Arm) -> Vec<u8> {
    encoded(&fields(arm))
}

pub fn encoded(fields: &RecordFields<'_>) -> Vec<u8> {
    let mut out = b"left from the call before".to_vec();
    fields.encode(&mut out);
    out
}
