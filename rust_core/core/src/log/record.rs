//! One record as it is made: what a call was asked, computed and answered. FORMAT.md has the bytes.

use zerocopy::little_endian::{F32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::assign::{Arm, ServedArm};
use crate::interleave::Team;
use crate::plan::Mode;
use crate::score::Weights;
use crate::wire::{Candidates, Reason, Status};

pub(super) const VERSION: u8 = 3;
pub(super) const HAS_POOL: u8 = 1;
pub(super) const HAS_COLUMNS: u8 = 2;
pub(super) const HAS_STATES: u8 = 4;
pub(super) const HAS_QUERY_VECTOR: u8 = 8;
pub(super) const HAS_TEAMS: u8 = 16;
pub(super) const HAS_TREATMENT_RANKING: u8 = 32;

/// What a record is made of. Columns and states have one value for each candidate, in baseline order.
#[derive(Debug, Clone, Copy)]
pub struct RecordFields<'a> {
    /// When the call was answered.
    pub unix_ns: u64,
    /// From the arrival of the request to the making of the record, 1 or more; 0 where unknown.
    pub elapsed_us: u32,
    /// What is done for enrolled users; `None` without a plan.
    pub mode: Option<Mode>,
    /// The serialised request, verbatim.
    pub request: &'a [u8],
    /// How many candidates there were.
    pub candidates: usize,
    /// The candidates, when the server drew them.
    pub pool: Option<Candidates<'a>>,
    /// By the hash alone; `None` without a plan.
    pub assigned_arm: Option<Arm>,
    /// What was served.
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
    /// Those that the scores were made with.
    pub weights: Weights,
    /// What a text query was embedded to; empty for other queries.
    pub query_vector: &'a [f32],
    /// As in the response; empty when all are 0.
    pub states: &'a [u8],
    /// The terms and the score; `None` when nothing was scored.
    pub columns: Option<ScoreColumns<&'a [f32]>>,
    /// What was served: baseline positions, best first.
    pub ranking: &'a [u32],
    /// Whose pick each of the ranking is; empty where nothing was interleaved.
    pub teams: &'a [Team],
    /// Treatment's order where something else was served; empty otherwise.
    pub treatment_ranking: &'a [u32],
}

/// The terms of the score and the score itself, NaN where missing.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the terms are those of the score's documentation")]
pub struct ScoreColumns<C> {
    pub cosine: C,
    pub consistency: C,
    pub contradiction: C,
    pub prior: C,
    pub score: C,
}

/// What every version begins with.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) flags: u8,
    pub(super) assigned_arm: u8,
    pub(super) served_arm: u8,
    pub(super) status: u8,
    pub(super) reason: u8,
    pub(super) key_bytes: U16,
    pub(super) unix_ns: U64,
    pub(super) plan_revision: U64,
    pub(super) generation: U64,
    pub(super) space: [u8; 32],
    pub(super) weights: [F32; 4],
    pub(super) request_bytes: U32,
    pub(super) candidates: U16,
    pub(super) ranked: U16,
    pub(super) query_values: U32,
    pub(super) pool_bytes: U32,
}

/// What version 2 adds, and version 3: zeros where `elapsed_us` is, in version 2.
#[derive(Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Extension {
    pub(super) mode: u8,
    pub(super) zero: u8,
    pub(super) elapsed_us: U32,
    pub(super) treatment_ranked: U16,
}

impl RecordFields<'_> {
    /// Replaces the contents of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.header().as_bytes());
        out.extend_from_slice(self.extension().as_bytes());
        out.extend_from_slice(self.request);
        out.extend_from_slice(self.experiment_key.as_bytes());
        append_floats(out, self.query_vector);
        if let Some(pool) = self.pool {
            out.extend(pool.iter().flat_map(|id| (id.len() as u16).to_le_bytes()));
            pool.iter().for_each(|id| out.extend_from_slice(id));
        }
        debug_assert!(self.states.is_empty() || self.states.len() == self.candidates);
        out.extend_from_slice(self.states);
        if let Some(columns) = &self.columns {
            for column in columns.in_order() {
                debug_assert_eq!(column.len(), self.candidates);
                append_floats(out, column);
            }
        }
        append_positions(out, self.ranking);
        debug_assert!(self.teams.is_empty() || self.teams.len() == self.ranking.len());
        out.extend_from_slice(self.teams.as_bytes());
        append_positions(out, self.treatment_ranking);
    }

    fn header(&self) -> Header {
        let mut space = [0; 32];
        let digits = self.space.len().min(space.len());
        space[..digits].copy_from_slice(&self.space.as_bytes()[..digits]);
        let Weights { cosine, consistency, contradiction, prior } = self.weights;
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        Header {
            version: VERSION,
            flags: flag(self.pool.is_some(), HAS_POOL)
                | flag(self.columns.is_some(), HAS_COLUMNS)
                | flag(!self.states.is_empty(), HAS_STATES)
                | flag(!self.query_vector.is_empty(), HAS_QUERY_VECTOR)
                | flag(!self.teams.is_empty(), HAS_TEAMS)
                | flag(!self.treatment_ranking.is_empty(), HAS_TREATMENT_RANKING),
            assigned_arm: self.assigned_arm.map_or(0, |arm| arm as u8),
            served_arm: self.served_arm.map_or(0, |arm| arm as u8),
            status: self.status as u8,
            reason: self.reason as u8,
            key_bytes: U16::new(self.experiment_key.len() as u16),
            unix_ns: U64::new(self.unix_ns),
            plan_revision: U64::new(self.plan_revision),
            generation: U64::new(self.generation),
            space,
            weights: [cosine, consistency, contradiction, prior].map(F32::new),
            request_bytes: U32::new(self.request.len() as u32),
            candidates: U16::new(self.candidates as u16),
            ranked: U16::new(self.ranking.len() as u16),
            query_values: U32::new(self.query_vector.len() as u32),
            pool_bytes: U32::new(self.pool.map_or(0, |pool| pool.iter().map(<[u8]>::len).sum::<usize>()) as u32),
        }
    }

    fn extension(&self) -> Extension {
        Extension {
            mode: self.mode.map_or(0, |mode| mode as u8),
            zero: 0,
            elapsed_us: U32::new(self.elapsed_us),
            treatment_ranked: U16::new(self.treatment_ranking.len() as u16),
        }
    }
}

impl<C: Copy> ScoreColumns<C> {
    /// What the columns are called, in order.
    pub const NAMES: [&'static str; 5] = ["cosine", "consistency", "contradiction", "prior", "score"];

    /// The columns as they stand in a record.
    pub fn in_order(&self) -> [C; 5] {
        [self.cosine, self.consistency, self.contradiction, self.prior, self.score]
    }
}

fn append_floats(out: &mut Vec<u8>, values: &[f32]) {
    let start = out.len();
    out.resize(start + values.len() * 4, 0);
    let (places, _) = out[start..].as_chunks_mut();
    places.iter_mut().zip(values).for_each(|(place, value)| *place = value.to_le_bytes());
}

fn append_positions(out: &mut Vec<u8>, positions: &[u32]) {
    let start = out.len();
    out.resize(start + positions.len() * 2, 0);
    let (places, _) = out[start..].as_chunks_mut();
    places.iter_mut().zip(positions).for_each(|(place, &position)| *place = (position as u16).to_le_bytes());
}

/// The number of the assigned arm, 0 for bytes that are no record.
pub(super) fn assigned_arm_number(record: &[u8]) -> usize {
    Header::ref_from_prefix(record).map_or(0, |(header, _)| usize::from(header.assigned_arm))
}

/// The time of a record, 0 for bytes that are no record.
pub(super) fn unix_ns(record: &[u8]) -> u64 {
    Header::ref_from_prefix(record).map_or(0, |(header, _)| header.unix_ns.get())
}
