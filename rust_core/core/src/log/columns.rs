//! A candidate segment as columns, in the memory layout of Apache Arrow: what an export writes, without an object for
//! each record on the way.
//!
//! Buffers are those of Arrow's columnar format, without validity bitmaps since nothing is null: values of fixed width,
//! 32-bit offsets with one entry more than there are records, and the bytes of strings. All little-endian.

use std::path::Path;

use super::decode::Record;
use super::error::LogError;
use super::read::SegmentFile;
use super::record::ScoreColumns;
use super::segment::Kind;
use crate::score::Weights;
use crate::wire::{Query, Request, RequestScratch, decode};

/// One column of all records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnBuffers {
    /// The record's field.
    pub name: &'static str,
    /// `u8`, `u32`, `u64` and `f32` are values of that type, `utf8` is text, `list<...>` several of them.
    pub layout: &'static str,
    /// `[values]`, `[offsets, bytes]` of text, `[offsets, values]` of lists, `[list offsets, text offsets, bytes]`.
    pub buffers: Vec<Vec<u8>>,
}

/// The columns of a candidate segment: of a `.log` whole, of an `.open` up to its torn tail.
pub fn read_columns(path: &Path) -> Result<Vec<ColumnBuffers>, LogError> {
    columns_of(&SegmentFile::read(path)?.records_of(Kind::Candidates)?)
}

/// The columns of records, in order.
pub fn columns_of(records: &[&[u8]]) -> Result<Vec<ColumnBuffers>, LogError> {
    let (mut columns, mut scratch) = (Columns::default(), RequestScratch::default());
    for (number, bytes) in records.iter().enumerate() {
        let record = Record::decode(bytes)?;
        let request = decode(record.request, &mut scratch);
        let request = request.map_err(|source| LogError::BadRequest { record: number as u64, source })?;
        columns.push(&record, &request)?;
    }
    Ok(columns.finish())
}

/// Values of fixed width.
#[derive(Default)]
struct Fixed(Vec<u8>);

impl Fixed {
    fn push<const N: usize>(&mut self, value: [u8; N]) {
        self.0.extend_from_slice(&value);
    }

    fn column(self, name: &'static str, layout: &'static str) -> ColumnBuffers {
        ColumnBuffers { name, layout, buffers: vec![self.0] }
    }
}

/// Where each item ends; the first begins at 0.
struct Offsets {
    end: usize,
    bytes: Vec<u8>,
}

impl Default for Offsets {
    fn default() -> Self {
        Self { end: 0, bytes: 0_i32.to_le_bytes().to_vec() }
    }
}

impl Offsets {
    fn push(&mut self, length: usize) -> Result<(), LogError> {
        self.end += length;
        let end = i32::try_from(self.end).map_err(|_| LogError::TooLarge { found: self.end as u64 })?;
        self.bytes.extend_from_slice(&end.to_le_bytes());
        Ok(())
    }
}

/// One text for each record.
#[derive(Default)]
struct Text {
    offsets: Offsets,
    bytes: Vec<u8>,
}

impl Text {
    fn push(&mut self, text: &str) -> Result<(), LogError> {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(text.len())
    }

    fn column(self, name: &'static str) -> ColumnBuffers {
        ColumnBuffers { name, layout: "utf8", buffers: vec![self.offsets.bytes, self.bytes] }
    }
}

/// Several values of fixed width for each record.
#[derive(Default)]
struct List {
    offsets: Offsets,
    values: Vec<u8>,
}

impl List {
    fn push<const N: usize>(&mut self, values: impl ExactSizeIterator<Item = [u8; N]>) -> Result<(), LogError> {
        let count = values.len();
        self.values.extend(values.flatten());
        self.offsets.push(count)
    }

    fn push_floats(&mut self, values: impl ExactSizeIterator<Item = f32>) -> Result<(), LogError> {
        self.push(values.map(f32::to_le_bytes))
    }

    fn column(self, name: &'static str, layout: &'static str) -> ColumnBuffers {
        ColumnBuffers { name, layout, buffers: vec![self.offsets.bytes, self.values] }
    }
}

/// Several texts for each record.
#[derive(Default)]
struct Texts {
    lists: Offsets,
    texts: Text,
}

impl Texts {
    /// Returns how many there were.
    fn push<'t>(&mut self, texts: impl Iterator<Item = &'t [u8]>) -> Result<usize, LogError> {
        let mut count = 0;
        for text in texts {
            let found = |error: std::str::Utf8Error| error.valid_up_to() as u64;
            let text = std::str::from_utf8(text).map_err(|error| LogError::BadRecord {
                field: "candidate ids",
                found: found(error),
                wanted: "UTF-8 throughout",
            })?;
            self.texts.push(text)?;
            count += 1;
        }
        self.lists.push(count)?;
        Ok(count)
    }

    fn column(self, name: &'static str) -> ColumnBuffers {
        let Text { offsets, bytes } = self.texts;
        ColumnBuffers { name, layout: "list<utf8>", buffers: vec![self.lists.bytes, offsets.bytes, bytes] }
    }
}

/// Every column, in the making.
#[derive(Default)]
struct Columns {
    unix_ns: Fixed,
    request_id: Text,
    user_id: Text,
    query_text: Text,
    domain: Text,
    assigned_arm: Fixed,
    served_arm: Fixed,
    status: Fixed,
    reason: Fixed,
    experiment_key: Text,
    plan_revision: Fixed,
    generation: Fixed,
    space: Text,
    top_k: Fixed,
    candidate_ids: Texts,
    baseline_scores: List,
    states: List,
    ranking: List,
    terms: [List; 5],
    weights: List,
    mode: Fixed,
    teams: List,
    treatment_ranking: List,
    elapsed_us: Fixed,
}

impl Columns {
    fn push(&mut self, record: &Record<'_>, request: &Request<'_>) -> Result<(), LogError> {
        self.unix_ns.push(record.unix_ns.to_le_bytes());
        self.request_id.push(request.request_id)?;
        self.user_id.push(request.user_id)?;
        self.query_text.push(match request.query {
            Query::Text(text) => text,
            Query::Embedding(_) => "",
        })?;
        self.domain.push(request.domain)?;
        self.assigned_arm.push([record.assigned_arm.map_or(0, |arm| arm as u8)]);
        self.served_arm.push([record.served_arm.map_or(0, |arm| arm as u8)]);
        self.status.push([record.status as u8]);
        self.reason.push([record.reason as u8]);
        self.experiment_key.push(record.experiment_key)?;
        self.plan_revision.push(record.plan_revision.to_le_bytes());
        self.generation.push(record.generation.to_le_bytes());
        self.space.push(record.space)?;
        self.top_k.push((request.top_k as u32).to_le_bytes());
        self.push_candidates(record, request)?;
        self.states.push(record.states.unwrap_or_default().iter().map(|&state| [state]))?;
        self.ranking.push(record.ranking.iter().map(u16::to_le_bytes))?;
        match &record.columns {
            Some(columns) => {
                for (list, column) in self.terms.iter_mut().zip(columns.in_order()) {
                    list.push_floats(column.iter())?;
                }
            }
            None => self.terms.iter_mut().try_for_each(|list| list.push_floats(std::iter::empty()))?,
        }
        let Weights { cosine, consistency, contradiction, prior } = record.weights;
        self.weights.push_floats([cosine, consistency, contradiction, prior].into_iter())?;
        self.elapsed_us.push(record.elapsed_us.to_le_bytes());
        self.mode.push([record.mode.map_or(0, |mode| mode as u8)]);
        let teams = record.teams.map_or(&[][..], |teams| teams.as_bytes());
        self.teams.push(teams.iter().map(|&team| [team]))?;
        match record.treatment_ranking {
            Some(ranking) => self.treatment_ranking.push(ranking.iter().map(u16::to_le_bytes)),
            None => self.treatment_ranking.push([].into_iter().map(u16::to_le_bytes)),
        }
    }

    /// In baseline order: the server's pool, or what the request names.
    fn push_candidates(&mut self, record: &Record<'_>, request: &Request<'_>) -> Result<(), LogError> {
        let found = match record.pool {
            Some(pool) => self.candidate_ids.push(pool.iter())?,
            None => self.candidate_ids.push(request.candidates.iter())?,
        };
        if found != record.candidates {
            let wanted = "as many as the record has candidates";
            return Err(LogError::BadRecord { field: "candidate ids", found: found as u64, wanted });
        }
        self.baseline_scores.push_floats(request.baseline_scores.iter().copied())
    }

    fn finish(self) -> Vec<ColumnBuffers> {
        let mut columns = vec![
            self.unix_ns.column("unix_ns", "u64"),
            self.request_id.column("request_id"),
            self.user_id.column("user_id"),
            self.query_text.column("query_text"),
            self.domain.column("domain"),
            self.assigned_arm.column("assigned_arm", "u8"),
            self.served_arm.column("served_arm", "u8"),
            self.status.column("status", "u8"),
            self.reason.column("reason", "u8"),
            self.experiment_key.column("experiment_key"),
            self.plan_revision.column("plan_revision", "u64"),
            self.generation.column("generation", "u64"),
            self.space.column("space"),
            self.top_k.column("top_k", "u32"),
            self.candidate_ids.column("candidate_ids"),
            self.baseline_scores.column("baseline_scores", "list<f32>"),
            self.states.column("states", "list<u8>"),
            self.ranking.column("ranking", "list<u16>"),
        ];
        let terms = self.terms.into_iter().zip(ScoreColumns::<()>::NAMES);
        columns.extend(terms.map(|(list, name)| list.column(name, "list<f32>")));
        columns.extend([
            self.weights.column("weights", "list<f32>"),
            self.mode.column("mode", "u8"),
            self.teams.column("teams", "list<u8>"),
            self.treatment_ranking.column("treatment_ranking", "list<u16>"),
            self.elapsed_us.column("elapsed_us", "u32"),
        ]);
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_ends_where_its_offsets_do() {
        let mut offsets = Offsets::default();
        offsets.push(i32::MAX as usize).expect("the last that fits");
        let error = offsets.push(1).expect_err("one too many");
        assert!(matches!(error, LogError::TooLarge { found: 2_147_483_648 }), "{error}");
    }
}
