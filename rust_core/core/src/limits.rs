//! The bounds of the contract, in one place. `proto/ra_guard/v1` states the same numbers in words.

/// Candidates of one request, at most.
pub const MAX_CANDIDATES: usize = 1000;
/// Bytes of one candidate id, at most (at least 1).
pub const MAX_ID_BYTES: usize = 128;
/// Bytes of a request id, at most (at least 1).
pub const MAX_REQUEST_ID_BYTES: usize = 64;
/// Bytes of a user id, at most (at least 1).
pub const MAX_USER_ID_BYTES: usize = 128;
/// Bytes of a query text, at most (at least 1).
pub const MAX_TEXT_BYTES: usize = 512;
/// Bytes of a domain or licence name, at most.
pub const MAX_NAME_BYTES: usize = 32;
/// Bytes of a detector label, at most (at least 1).
pub const MAX_LABEL_BYTES: usize = 64;
/// Required labels, forbidden labels and allowed licences of one request, at most of each.
pub const MAX_CONSTRAINTS: usize = 16;
/// Candidates that the server draws when the request names none, at most.
pub const MAX_POOL: usize = 200;
/// Values of one embedding, at most.
pub const MAX_DIM: usize = 4096;
/// Labels of a detector, at most: a label id has 12 bits in a row record.
pub const MAX_LABELS: usize = 4096;
/// How far from 1 the length of a "unit" vector may be.
pub const UNIT_LENGTH_TOLERANCE: f32 = 1e-3;
