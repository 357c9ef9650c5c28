//! Which labels a query expects to see, and how much.
//!
//! Three tiers, the first that says anything wins: the request's required labels; the labels that the text
//! names; the labels whose text embeddings resemble the query's.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;
use zerocopy::{Immutable, IntoBytes};

use super::lexicon::Lexicon;
use super::query_words::WordFacts;
use crate::kernel::{Dtype, Kernel, LINE_BYTES, QueryVector};
use crate::limits::MAX_CONSTRAINTS;

/// Labels of one expectation, at most.
pub const MAX_EXPECTED: usize = MAX_CONSTRAINTS;
/// Labels taken from similarity, at most.
pub const MAX_SIMILAR: usize = 4;

/// Where an expectation came from; the numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum ExpectationSource {
    /// Nothing is expected.
    #[default]
    None = 0,
    /// The request's required labels.
    Request = 1,
    /// Labels that the query text names.
    QueryWords = 2,
    /// Labels whose embeddings resemble the query's.
    Similarity = 3,
}

/// One expected label.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ExpectedLabel {
    /// Position in the label list.
    pub label: u16,
    /// Above 0; all of one expectation sum to 1 within rounding.
    pub weight: f32,
}

/// What a query expects: at most [`MAX_EXPECTED`] labels, by falling weight, in place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Expectation {
    labels: [ExpectedLabel; MAX_EXPECTED],
    len: usize,
    source: ExpectationSource,
}

impl Expectation {
    /// Equal weights over the first [`MAX_EXPECTED`] distinct labels, in the order given.
    pub fn uniform(labels: &[u16], source: ExpectationSource) -> Expectation {
        let mut expectation = Expectation::default();
        for label in labels {
            if expectation.len < MAX_EXPECTED && expectation.labels().iter().all(|known| known.label != *label) {
                expectation.push(*label, 1.0, source);
            }
        }
        expectation.normalise();
        expectation
    }

    /// The expected labels, by falling weight.
    pub fn labels(&self) -> &[ExpectedLabel] {
        &self.labels[..self.len]
    }

    /// Where they came from.
    pub fn source(&self) -> ExpectationSource {
        self.source
    }

    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// This expectation, or the other one where it is empty.
    pub fn or(self, other: impl FnOnce() -> Expectation) -> Expectation {
        if self.is_empty() { other() } else { self }
    }

    fn push(&mut self, label: u16, weight: f32, source: ExpectationSource) {
        self.labels[self.len] = ExpectedLabel { label, weight };
        self.len += 1;
        self.source = source;
    }

    fn normalise(&mut self) {
        let sum: f32 = self.labels().iter().map(|label| label.weight).sum();
        self.labels[..self.len].iter_mut().for_each(|label| label.weight /= sum);
    }
}

/// One cache line of label embeddings.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C, align(64))]
struct Line([f32; LINE_BYTES / 4]);

/// A detector's labels, ready for queries: their names, their words, and their text embeddings as kernel rows.
/// Made once for a generation.
#[derive(Debug)]
pub struct LabelSpace {
    ids: HashMap<String, u16>,
    count: usize,
    lexicon: Lexicon,
    rows: Vec<Line>,
    lines_per_row: usize,
    digest: u64,
}

impl LabelSpace {
    /// `embeddings`: ``(labels, dim)``, unit rows. A label's id is its position; at most
    /// [`crate::limits::MAX_LABELS`].
    ///
    /// # Panics
    /// When `embeddings` is not `labels.len() * dim` long.
    pub fn new(labels: &[String], embeddings: &[f32], dim: usize) -> LabelSpace {
        assert_eq!(embeddings.len(), labels.len() * dim, "label embeddings: {} labels of {dim} values", labels.len());
        let lines_per_row = dim.div_ceil(LINE_BYTES / 4);
        let mut rows = Vec::with_capacity(labels.len() * lines_per_row);
        for values in embeddings.chunks(dim.max(1)).flat_map(|row| row.chunks(LINE_BYTES / 4)) {
            let mut line = Line([0.0; LINE_BYTES / 4]);
            line.0[..values.len()].copy_from_slice(values);
            rows.push(line);
        }
        // The first of two labels of one name keeps it.
        let ids = labels.iter().cloned().zip(0u16..).collect::<Vec<_>>().into_iter().rev().collect();
        LabelSpace {
            ids,
            count: labels.len(),
            lexicon: Lexicon::new(labels),
            rows,
            lines_per_row,
            digest: digest(labels, embeddings),
        }
    }

    /// The id of exactly that label.
    pub fn id(&self, label: &str) -> Option<u16> {
        self.ids.get(label).copied()
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the detector knows no label.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Tells label spaces apart: a [`PreparedQuery`] holds for one of them.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Bytes from one label embedding to the next: what a query must be prepared for, as `f32`.
    pub fn stride(&self) -> usize {
        self.lines_per_row * LINE_BYTES
    }

    /// What a text's words say.
    pub fn read(&self, text: &str) -> WordFacts {
        WordFacts::read(text, &self.lexicon)
    }

    /// The labels most similar to the query, [`MAX_SIMILAR`] at most, among those more similar than `threshold`
    /// and not in `ruled_out`, weighted by how much more. Ties go to the lower label.
    ///
    /// `query` is prepared for `f32` rows of [`LabelSpace::stride`]; `similarities` is scratch and holds every
    /// label's cosine afterwards. Allocates only while that grows.
    pub fn by_similarity(
        &self,
        kernel: Kernel,
        query: &QueryVector,
        threshold: f32,
        ruled_out: &[u16],
        similarities: &mut Vec<f32>,
    ) -> Expectation {
        assert_eq!(query.dtype(), Dtype::F32, "label embeddings are f32 rows");
        let rows = self.rows.as_bytes();
        let stride = self.stride();
        similarities.clear();
        similarities.resize(self.len(), 0.0);
        kernel.dot_rows(query, self.len(), |label| &rows[label * stride..][..stride], similarities);
        let mut nearest = Nearest::default();
        for (label, similarity) in (0..).zip(similarities.iter().copied()) {
            // A NaN is not above anything.
            if similarity > threshold && !ruled_out.contains(&label) {
                nearest.offer(label, similarity);
            }
        }
        nearest.expectation(threshold)
    }
}

fn digest(labels: &[String], embeddings: &[f32]) -> u64 {
    let mut hasher = Xxh3::new();
    for label in labels {
        hasher.update(&(label.len() as u64).to_le_bytes());
        hasher.update(label.as_bytes());
    }
    hasher.update(embeddings.as_bytes());
    hasher.digest()
}

/// The few most similar labels so far, by falling similarity.
#[derive(Default)]
struct Nearest {
    found: [ExpectedLabel; MAX_SIMILAR],
    len: usize,
}

impl Nearest {
    /// Labels come in rising order, so an equal one goes behind those before it.
    fn offer(&mut self, label: u16, similarity: f32) {
        let at = self.found[..self.len].iter().position(|known| similarity > known.weight).unwrap_or(self.len);
        if at == MAX_SIMILAR {
            return;
        }
        self.len = (self.len + 1).min(MAX_SIMILAR);
        self.found[at..self.len].rotate_right(1);
        self.found[at] = ExpectedLabel { label, weight: similarity };
    }

    fn expectation(&self, threshold: f32) -> Expectation {
        let mut expectation = Expectation::default();
        for known in &self.found[..self.len] {
            expectation.push(known.label, known.weight - threshold, ExpectationSource::Similarity);
        }
        expectation.normalise();
        expectation
    }
}

/// What is kept of a query text: computed once, used by every call that brings the text.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedQuery {
    vector: Vec<f32>,
    words: WordFacts,
    expectation: Expectation,
    label_digest: u64,
}

impl PreparedQuery {
    /// Reads `text` and falls back to similarity where its words name no label. `vector` is its unit
    /// embedding, ``(dim,)``; `threshold` as in [`LabelSpace::by_similarity`].
    pub fn new(text: &str, vector: Vec<f32>, labels: &LabelSpace, kernel: Kernel, threshold: f32) -> PreparedQuery {
        let words = labels.read(text);
        let expectation = Expectation::uniform(&words.named, ExpectationSource::QueryWords).or(|| {
            let mut query = QueryVector::default();
            query.prepare(&vector, Dtype::F32, labels.stride());
            labels.by_similarity(kernel, &query, threshold, &words.ruled_out, &mut Vec::new())
        });
        PreparedQuery { vector, words, expectation, label_digest: labels.digest() }
    }

    /// The unit embedding, ``(dim,)``.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// What the words say.
    pub fn words(&self) -> &WordFacts {
        &self.words
    }

    /// What the query expects where the request requires nothing.
    pub fn expectation(&self) -> Expectation {
        self.expectation
    }

    /// Whether it was prepared for these labels; label ids mean nothing in another space.
    pub fn is_for(&self, labels: &LabelSpace) -> bool {
        self.label_digest == labels.digest()
    }
}
