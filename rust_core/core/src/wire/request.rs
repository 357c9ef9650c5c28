//! `RerankRequest`, read where it lies and held to the contract's bounds.

use super::candidates::{CandidateIndex, Candidates};
use super::embedding::Embedding;
use super::error::RequestError;
use super::reader::{Reader, WireType};
use crate::limits::{
    MAX_CANDIDATES, MAX_CONSTRAINTS, MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_POOL, MAX_REQUEST_ID_BYTES, MAX_TEXT_BYTES,
    MAX_USER_ID_BYTES,
};

/// Field 6, length-delimited.
const CANDIDATE_ID_TAG: u8 = 6 << 3 | 2;

/// Number of the field that there are many of.
const CANDIDATE_IDS: u32 = 6;

/// A request within bounds. Borrows from its bytes and from the scratch that it was decoded into.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// 1..=64 bytes.
    pub request_id: &'a str,
    /// 1..=128 bytes.
    pub user_id: &'a str,
    /// What is searched for.
    pub query: Query<'a>,
    /// Up to 32 bytes; empty means the plan's default weights.
    pub domain: &'a str,
    /// Up to 1000 distinct ids; none means that the server draws `pool_size` of them.
    pub candidates: Candidates<'a>,
    /// Empty, or one finite score for each candidate.
    pub baseline_scores: &'a [f32],
    /// How many to return, 0 for all.
    pub top_k: usize,
    /// Labels that a good result shows.
    pub required_labels: Strings<'a>,
    /// Labels that a good result must not show.
    pub forbidden_labels: Strings<'a>,
    /// Licences to keep; empty keeps all.
    pub allowed_licences: Strings<'a>,
    /// Whether the response carries feature columns.
    pub explain: bool,
    /// How many candidates the server draws: 1..=200 when there are no candidates, else ignored.
    pub pool_size: usize,
}

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query<'a> {
    /// 1..=512 bytes.
    Text(&'a str),
    /// A finite unit vector; its dimension and space are still to be compared with the gallery's.
    Embedding(Embedding<'a>),
}

/// Up to [`MAX_CONSTRAINTS`] strings; derefs to a slice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Strings<'a> {
    items: [&'a str; MAX_CONSTRAINTS],
    /// Strings seen, which may be more than `items` holds until checked.
    seen: usize,
}

impl<'a> std::ops::Deref for Strings<'a> {
    type Target = [&'a str];

    fn deref(&self) -> &[&'a str] {
        &self.items[..self.seen.min(MAX_CONSTRAINTS)]
    }
}

/// Buffers that a handler thread keeps from request to request, sized for the largest one.
#[derive(Debug)]
pub struct RequestScratch {
    index: CandidateIndex,
    baseline_scores: Vec<f32>,
}

impl Default for RequestScratch {
    fn default() -> Self {
        Self { index: CandidateIndex::new(), baseline_scores: Vec::with_capacity(MAX_CANDIDATES) }
    }
}

/// Reads a serialised `RerankRequest` and checks everything that needs no gallery.
pub fn decode<'a>(bytes: &'a [u8], scratch: &'a mut RequestScratch) -> Result<Request<'a>, RequestError> {
    scratch.index.clear();
    scratch.baseline_scores.clear();
    let fields = Fields::read(bytes, scratch)?;
    fields.check()?;
    scratch.index.check(bytes, MAX_CANDIDATES)?;
    let candidates = scratch.index.candidates(bytes);
    if candidates.is_empty() && fields.pool_size == 0 {
        return Err(RequestError::NoCandidates);
    }
    check_scores(&scratch.baseline_scores, fields.score_count, candidates.len())?;
    Ok(Request {
        request_id: fields.request_id,
        user_id: fields.user_id,
        query: fields.checked_query()?,
        domain: fields.domain,
        candidates,
        baseline_scores: &scratch.baseline_scores,
        top_k: fields.top_k as usize,
        required_labels: fields.required_labels,
        forbidden_labels: fields.forbidden_labels,
        allowed_licences: fields.allowed_licences,
        explain: fields.explain,
        pool_size: fields.pool_size as usize,
    })
}

/// How many candidates a serialised `RerankRequest` names, for admission: a walk over its tags, nothing is checked.
/// What cannot be read ends the count; [`decode`] will say what is wrong with it.
pub fn count_candidates(bytes: &[u8]) -> usize {
    let (mut reader, mut count) = (Reader::new(bytes), 0);
    while let Ok(Some((field, wire_type))) = reader.tag() {
        if reader.skip(wire_type).is_err() {
            break;
        }
        count += usize::from(field == CANDIDATE_IDS && wire_type == WireType::Length);
    }
    count
}

/// The fields as they stand on the wire, bounds unchecked.
#[derive(Default)]
struct Fields<'a> {
    request_id: &'a str,
    user_id: &'a str,
    query: Option<Query<'a>>,
    domain: &'a str,
    score_count: usize,
    top_k: u32,
    required_labels: Strings<'a>,
    forbidden_labels: Strings<'a>,
    allowed_licences: Strings<'a>,
    explain: bool,
    pool_size: u32,
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8], scratch: &mut RequestScratch) -> Result<Self, RequestError> {
        let mut fields = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((field, wire_type)) = reader.tag()? {
            match (field, wire_type) {
                (CANDIDATE_IDS, WireType::Length) => {
                    let length = reader.bytes()?.len();
                    scratch.index.push(reader.offset(), length);
                    while let Some(length) = reader.short_field(CANDIDATE_ID_TAG) {
                        scratch.index.push(reader.offset(), length);
                    }
                }
                (7, _) => fields.read_scores(&mut reader, wire_type, &mut scratch.baseline_scores)?,
                _ => fields.read_one(&mut reader, field, wire_type)?,
            }
        }
        Ok(fields)
    }

    fn read_one(&mut self, reader: &mut Reader<'a>, field: u32, wire_type: WireType) -> Result<(), RequestError> {
        match (field, wire_type) {
            (1, WireType::Length) => self.request_id = text(reader, "request_id")?,
            (2, WireType::Length) => self.user_id = text(reader, "user_id")?,
            (3, WireType::Length) => self.query = Some(Query::Text(text(reader, "text")?)),
            (4, WireType::Length) => self.read_embedding(reader)?,
            (5, WireType::Length) => self.domain = text(reader, "domain")?,
            (8, WireType::Varint) => self.top_k = reader.varint()? as u32,
            (9, WireType::Length) => self.required_labels.push(text(reader, "required_labels")?),
            (10, WireType::Length) => self.forbidden_labels.push(text(reader, "forbidden_labels")?),
            (11, WireType::Length) => self.allowed_licences.push(text(reader, "allowed_licences")?),
            (12, WireType::Varint) => self.explain = reader.varint()? != 0,
            (13, WireType::Varint) => self.pool_size = reader.varint()? as u32,
            _ => reader.skip(wire_type)?,
        }
        Ok(())
    }

    /// A second embedding merges into the first; one after a text replaces it.
    fn read_embedding(&mut self, reader: &mut Reader<'a>) -> Result<(), RequestError> {
        let mut embedding = match self.query {
            Some(Query::Embedding(embedding)) => embedding,
            Some(Query::Text(_)) | None => Embedding::default(),
        };
        let mut message = reader.message()?;
        while let Some((field, wire_type)) = message.tag()? {
            match (field, wire_type) {
                (1, WireType::Length) => embedding.values = message.bytes()?,
                (2, WireType::Length) => embedding.space = text(&mut message, "embedding.space")?,
                _ => message.skip(wire_type)?,
            }
        }
        self.query = Some(Query::Embedding(embedding));
        Ok(())
    }

    /// Scores beyond the limit are counted, not kept: their number alone is refused later.
    fn read_scores(
        &mut self,
        reader: &mut Reader<'a>,
        wire_type: WireType,
        scores: &mut Vec<f32>,
    ) -> Result<(), RequestError> {
        if let Some(values) = reader.floats(wire_type)? {
            self.score_count += values.len();
            let room = MAX_CANDIDATES - scores.len();
            scores.extend(values.take(room));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), RequestError> {
        check_required("request_id", self.request_id, "1..64 bytes", MAX_REQUEST_ID_BYTES)?;
        check_required("user_id", self.user_id, "1..128 bytes", MAX_USER_ID_BYTES)?;
        check_length("domain", self.domain, MAX_NAME_BYTES)?;
        self.required_labels.check("required_labels", MAX_LABEL_BYTES)?;
        self.forbidden_labels.check("forbidden_labels", MAX_LABEL_BYTES)?;
        self.allowed_licences.check("allowed_licences", MAX_NAME_BYTES)?;
        if self.top_k as usize > MAX_CANDIDATES {
            return Err(RequestError::TopK { found: self.top_k });
        }
        if self.pool_size as usize > MAX_POOL {
            return Err(RequestError::PoolSize { found: self.pool_size });
        }
        Ok(())
    }

    fn checked_query(&self) -> Result<Query<'a>, RequestError> {
        match self.query {
            Some(Query::Text(text)) => check_required("text", text, "1..512 bytes", MAX_TEXT_BYTES)?,
            Some(Query::Embedding(embedding)) => embedding.check()?,
            None => {}
        }
        self.query.ok_or(RequestError::Missing { field: "query", allowed: "either a text or an embedding" })
    }
}

impl<'a> Strings<'a> {
    fn push(&mut self, item: &'a str) {
        if let Some(free) = self.items.get_mut(self.seen) {
            *free = item;
        }
        self.seen += 1;
    }

    fn check(&self, field: &'static str, max_bytes: usize) -> Result<(), RequestError> {
        if self.seen > MAX_CONSTRAINTS {
            return Err(RequestError::TooMany { field, found: self.seen, allowed: MAX_CONSTRAINTS });
        }
        if let Some(index) = self.iter().position(|item| item.is_empty()) {
            return Err(RequestError::Empty { field, index });
        }
        self.iter().try_for_each(|item| check_length(field, item, max_bytes))
    }
}

fn text<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a str, RequestError> {
    std::str::from_utf8(reader.bytes()?).map_err(|_| RequestError::NotUtf8 { field })
}

fn check_required(
    field: &'static str,
    value: &str,
    allowed: &'static str,
    max_bytes: usize,
) -> Result<(), RequestError> {
    if value.is_empty() {
        return Err(RequestError::Missing { field, allowed });
    }
    check_length(field, value, max_bytes)
}

fn check_length(field: &'static str, value: &str, allowed: usize) -> Result<(), RequestError> {
    if value.len() <= allowed {
        return Ok(());
    }
    Err(RequestError::TooLong { field, found: value.len(), allowed })
}

fn check_scores(scores: &[f32], found: usize, candidates: usize) -> Result<(), RequestError> {
    if found != 0 && found != candidates {
        return Err(RequestError::BaselineScoresCount { found, allowed: candidates });
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(index) => Err(RequestError::BaselineScoreNotFinite { index, found: scores[index] }),
        None => Ok(()),
    }
}
