//! A caller's mistakes: one variant per cause, each message with the field, what was found and what is allowed.

use thiserror::Error;

use super::reader::Malformed;
use crate::limits::{MAX_CANDIDATES, MAX_DIM, MAX_POOL, UNIT_LENGTH_TOLERANCE};

/// A request that is refused. `field` is the name in `ra_guard.v1.RerankRequest`, dotted for nested ones.
#[derive(Debug, Clone, PartialEq, Error, strum::IntoStaticStr, strum::VariantNames)]
pub enum RequestError {
    /// The bytes are not a protobuf message.
    #[error("request: {0}; allowed: a serialised ra_guard.v1.RerankRequest")]
    Malformed(#[from] Malformed),
    /// A string field with bytes that are not UTF-8.
    #[error("{field}: found bytes that are not UTF-8; allowed: UTF-8 text")]
    NotUtf8 {
        /// The field.
        field: &'static str,
    },
    /// A required field is absent or empty.
    #[error("{field}: found nothing; allowed: {allowed}; set the field")]
    Missing {
        /// The field.
        field: &'static str,
        /// What it may hold.
        allowed: &'static str,
    },
    /// An element of a repeated field is empty.
    #[error("{field}[{index}]: found an empty value; allowed: 1 byte or more; leave it out")]
    Empty {
        /// The repeated field.
        field: &'static str,
        /// Position of the element.
        index: usize,
    },
    /// A value of too many bytes.
    #[error("{field}: found {found} bytes, allowed at most {allowed}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// A repeated field of too many elements.
    #[error("{field}: found {found} values, allowed at most {allowed}")]
    TooMany {
        /// The field.
        field: &'static str,
        /// Elements found.
        found: usize,
        /// Elements allowed.
        allowed: usize,
    },
    /// Neither candidates nor a pool size.
    #[error("candidate_ids: found none, allowed 1..{MAX_CANDIDATES}; or set pool_size, and the server draws them")]
    NoCandidates,
    /// The same candidate twice.
    #[error("candidate_ids: found {id:?} at {first} and again at {second}, allowed once; drop one of them")]
    DuplicateCandidate {
        /// The id.
        id: String,
        /// Its first position.
        first: usize,
        /// Its second position.
        second: usize,
    },
    /// Scores for another number of candidates.
    #[error("baseline_scores: found {found} values, allowed none or exactly {allowed}, one for each candidate id")]
    BaselineScoresCount {
        /// Scores found.
        found: usize,
        /// Candidates named.
        allowed: usize,
    },
    /// A score that is NaN or infinite.
    #[error("baseline_scores[{index}]: found {found}, allowed any finite value")]
    BaselineScoreNotFinite {
        /// Position of the score.
        index: usize,
        /// The score.
        found: f32,
    },
    /// More results asked for than a request may have candidates.
    #[error("top_k: found {found}, allowed 0 (all) to {MAX_CANDIDATES}")]
    TopK {
        /// The value found.
        found: u32,
    },
    /// A pool beyond what the server draws.
    #[error("pool_size: found {found}, allowed at most {MAX_POOL}")]
    PoolSize {
        /// The value found.
        found: u32,
    },
    /// An embedding of the wrong number of bytes.
    #[error("embedding.values: found {found} bytes, allowed {}", allowed_bytes(*.dim))]
    EmbeddingLength {
        /// Bytes found.
        found: usize,
        /// The gallery's dimension, where one is loaded.
        dim: Option<usize>,
    },
    /// An embedding with NaN or an infinity.
    #[error("embedding.values[{index}]: found {found}, allowed any finite value")]
    EmbeddingNotFinite {
        /// Position of the value.
        index: usize,
        /// The value.
        found: f32,
    },
    /// An embedding of zeros.
    #[error("embedding.values: found length 0, allowed 1 within {UNIT_LENGTH_TOLERANCE}; zeros have no direction")]
    EmbeddingZeroNorm,
    /// An embedding that is not of unit length.
    #[error("embedding.values: found length {norm}, allowed 1 within {UNIT_LENGTH_TOLERANCE}; divide by the length")]
    EmbeddingNotUnit {
        /// Euclidean length found.
        norm: f64,
    },
    /// Something that is not the fingerprint of an embedding space, or that of another one.
    #[error("embedding.space: found {found:?}, allowed {allowed}")]
    Space {
        /// The value found.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A domain that the gallery does not hold. Raised where the gallery is known.
    #[error("domain: found {found:?}, allowed empty or one of: {allowed}")]
    UnknownDomain {
        /// The value found.
        found: String,
        /// The gallery's domains.
        allowed: String,
    },
    /// A label that the detector does not know. Raised where the gallery is known.
    #[error("{field}: found {found:?}, allowed one of the detector's labels, such as: {allowed}")]
    UnknownLabel {
        /// `required_labels` or `forbidden_labels`.
        field: &'static str,
        /// The value found.
        found: String,
        /// Some or all of the labels.
        allowed: String,
    },
}

impl RequestError {
    /// The variant's name.
    pub fn variant(&self) -> &'static str {
        self.into()
    }
}

fn allowed_bytes(dim: Option<usize>) -> String {
    match dim {
        Some(dim) => format!("exactly {}, four for each of the gallery's {dim} dimensions", dim * 4),
        None => format!("4 for each of 1..{MAX_DIM} values"),
    }
}
