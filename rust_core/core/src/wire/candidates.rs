//! Candidate ids: where they lie, their hashes, and the proof that they are distinct.
//!
//! The buffers are reused from call to call and sized for the largest request from the start, so indexing
//! the ids of a request allocates nothing.

use xxhash_rust::xxh3::xxh3_64;

use super::error::RequestError;
use crate::limits::{MAX_CANDIDATES, MAX_ID_BYTES, MAX_POOL};

/// A range of the bytes that hold the ids.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    #[inline]
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..][..self.length as usize]
    }
}

/// The candidate ids of one request, in baseline order.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    hashes: &'a [u64],
}

impl<'a> Candidates<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True for a request that leaves the choice of candidates to the server.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The id at a baseline position.
    #[inline]
    pub fn get(&self, position: usize) -> Option<&'a [u8]> {
        self.spans.get(position).map(|span| span.of(self.bytes))
    }

    /// The ids in baseline order.
    pub fn iter(&self) -> Ids<'a> {
        Ids { bytes: self.bytes, spans: self.spans.iter() }
    }

    /// xxh3-64 (seed 0) of each id, in baseline order: the hash that shard indexes use.
    pub fn hashes(&self) -> &'a [u64] {
        self.hashes
    }
}

impl<'a> IntoIterator for Candidates<'a> {
    type Item = &'a [u8];
    type IntoIter = Ids<'a>;

    fn into_iter(self) -> Ids<'a> {
        self.iter()
    }
}

/// Iterator over candidate ids.
#[derive(Debug, Clone)]
pub struct Ids<'a> {
    bytes: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Ids<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.spans.next().map(|span| span.of(self.bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Ids<'_> {}

/// Beyond any request that a server would take in: what spans can count.
const MAX_REQUEST_BYTES: usize = u32::MAX as usize;
/// A table so empty that a branch on "this slot is free" is seldom mispredicted.
const SLOTS_PER_ID: usize = 4;
/// Slots of the table that finds duplicates, for the largest request.
const MAX_SLOTS: usize = (MAX_CANDIDATES * SLOTS_PER_ID).next_power_of_two();

/// Reusable index of the ids of one request.
#[derive(Debug)]
pub(super) struct CandidateIndex {
    spans: Vec<Span>,
    hashes: Vec<u64>,
    /// Position + 1 of the id that occupies a slot, 0 for a free one.
    slots: Box<[u16; MAX_SLOTS]>,
    /// Ids seen, which may be more than `spans` holds.
    seen: usize,
}

impl CandidateIndex {
    pub(super) fn new() -> Self {
        Self {
            spans: Vec::with_capacity(MAX_CANDIDATES),
            hashes: Vec::with_capacity(MAX_CANDIDATES),
            slots: Box::new([0; MAX_SLOTS]),
            seen: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.spans.clear();
        self.hashes.clear();
        self.seen = 0;
    }

    /// Notes one more id; those beyond the limit are only counted.
    #[inline]
    pub(super) fn push(&mut self, end: usize, length: usize) {
        self.seen += 1;
        if self.spans.len() < MAX_CANDIDATES {
            self.spans.push(Span { start: (end - length) as u32, length: length as u32 });
        }
    }

    /// Checks the ids noted so far, which lie in `bytes`, and hashes them.
    pub(super) fn check(&mut self, bytes: &[u8], allowed: usize) -> Result<(), RequestError> {
        if self.seen > allowed {
            return Err(RequestError::TooMany { field: "candidate_ids", found: self.seen, allowed });
        }
        // Spans count in 32 bits.
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong { field: "request", found: bytes.len(), allowed: MAX_REQUEST_BYTES });
        }
        self.check_lengths()?;
        self.check_text(bytes)?;
        self.hashes.extend(self.spans.iter().map(|span| xxh3_64(span.of(bytes))));
        self.check_distinct(bytes)
    }

    pub(super) fn candidates<'a>(&'a self, bytes: &'a [u8]) -> Candidates<'a> {
        Candidates { bytes, spans: &self.spans, hashes: &self.hashes }
    }

    fn check_lengths(&self) -> Result<(), RequestError> {
        let limit = MAX_ID_BYTES as u32;
        let Some(index) = self.spans.iter().position(|span| span.length.wrapping_sub(1) >= limit) else {
            return Ok(());
        };
        match self.spans[index].length as usize {
            0 => Err(RequestError::Empty { field: "candidate_ids", index }),
            found => Err(RequestError::TooLong { field: "candidate_ids", found, allowed: MAX_ID_BYTES }),
        }
    }

    /// Ids stand close together, and so do the tags and lengths between them, which are ASCII too for ids below
    /// 128 bytes: one pass over the whole stretch settles nearly every request.
    fn check_text(&self, bytes: &[u8]) -> Result<(), RequestError> {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else {
            return Ok(());
        };
        let stretch = &bytes[first.start as usize..(last.start + last.length) as usize];
        let is_text = |span: &Span| std::str::from_utf8(span.of(bytes)).is_ok();
        if stretch.is_ascii() || self.spans.iter().all(is_text) {
            return Ok(());
        }
        Err(RequestError::NotUtf8 { field: "candidate_ids" })
    }

    /// Open addressing over the hashes; equal hashes are settled by the bytes. Ids chosen to collide cost at most
    /// `MAX_CANDIDATES` squared probes, about a millisecond.
    fn check_distinct(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let slots = &mut self.slots[..(self.spans.len() * SLOTS_PER_ID).next_power_of_two()];
        slots.fill(0);
        let mask = slots.len() - 1;
        for (second, &hash) in self.hashes.iter().enumerate() {
            let mut slot = hash as usize & mask;
            while slots[slot] != 0 {
                let first = usize::from(slots[slot]) - 1;
                let id = self.spans[second].of(bytes);
                if self.hashes[first] == hash && self.spans[first].of(bytes) == id {
                    let id = String::from_utf8_lossy(id).into_owned();
                    return Err(RequestError::DuplicateCandidate { id, first, second });
                }
                slot = (slot + 1) & mask;
            }
            slots[slot] = second as u16 + 1;
        }
        Ok(())
    }
}

/// Reusable buffer for the candidates that the server drew itself.
#[derive(Debug)]
pub struct Pool {
    bytes: Vec<u8>,
    index: CandidateIndex,
}

impl Default for Pool {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(MAX_POOL * MAX_ID_BYTES), index: CandidateIndex::new() }
    }
}

impl Pool {
    /// Copies the ids in, best first, and holds them to the rules for a caller's own candidates.
    pub fn fill<'i>(&mut self, ids: impl IntoIterator<Item = &'i [u8]>) -> Result<Candidates<'_>, RequestError> {
        self.bytes.clear();
        self.index.clear();
        for id in ids {
            self.bytes.extend_from_slice(id);
            self.index.push(self.bytes.len(), id.len());
        }
        if self.index.seen == 0 {
            return Err(RequestError::NoCandidates);
        }
        self.index.check(&self.bytes, MAX_POOL)?;
        Ok(self.index.candidates(&self.bytes))
    }
}
