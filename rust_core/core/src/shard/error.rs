//! What can go wrong with shards: one variant for each cause, each message saying found, wanted and the cure.

use std::io;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::shard::layout::{MAX_BOXES, MIN_VERSION, VERSION};

/// A shard or generation that cannot be written, published, opened or verified.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
#[allow(missing_docs, reason = "the message names every field")]
pub enum ShardError {
    /// The file does not begin with the magic bytes.
    #[error(
        "{path}: not a shard: found first bytes {found:02x?}, wanted \"RAGSHARD\"; name a file written by a shard writer"
    )]
    NotAShard { path: PathBuf, found: Vec<u8> },
    /// The file ends before its header says.
    #[error("{path}: truncated: found {found} bytes, wanted {wanted}; copy the shard again or rebuild it")]
    Truncated { path: PathBuf, found: u64, wanted: u64 },
    /// The file goes on after its header says it ends.
    #[error("{path}: found {found} bytes, wanted {wanted}: something was appended; copy the shard again or rebuild it")]
    TrailingBytes { path: PathBuf, found: u64, wanted: u64 },
    /// The file was written by a newer build.
    #[error(
        "{path}: found format version {found}, this build reads {MIN_VERSION} to {VERSION}; upgrade the server or rebuild the shard"
    )]
    FutureVersion { path: PathBuf, found: u32 },
    /// The file is older than this build can read.
    #[error("{path}: found format version {found}, this build reads {MIN_VERSION} to {VERSION}; rebuild the shard")]
    PastVersion { path: PathBuf, found: u32 },
    /// The bytes are not those that were written.
    #[error(
        "{path}: checksum of {section}: found {found:016x}, wanted {wanted:016x}; the file is damaged, copy it again or rebuild it"
    )]
    ChecksumMismatch { path: PathBuf, section: &'static str, found: u64, wanted: u64 },
    /// A section lies outside the file, overlaps another, or does not have the size that the row count asks for.
    #[error("{path}: section {section}: found {found}, wanted {wanted}; the header is damaged, rebuild the shard")]
    OutOfBounds { path: PathBuf, section: &'static str, found: String, wanted: String },
    /// The bytes are those that were written, and contradict each other.
    #[error("{path}: section {section} is inconsistent: {cause}; rebuild the shard")]
    Inconsistent { path: PathBuf, section: &'static str, cause: String },
    /// Shards of one generation come from different embedding spaces.
    #[error(
        "{path}: found embedding space {found}, wanted {wanted} as in the newest shard; embed the images again in one space"
    )]
    SpaceMismatch { path: PathBuf, found: String, wanted: String },
    /// Shards of one generation store embeddings differently.
    #[error("{path}: found {found}, wanted {wanted} as in the newest shard; write all shards with one dtype and dim")]
    DtypeMismatch { path: PathBuf, found: String, wanted: String },
    /// Shards of one generation come from different detectors.
    #[error(
        "{path}: label {position} or its embedding differs from the newest shard's; detect the images again with one detector"
    )]
    LabelsMismatch { path: PathBuf, position: usize },
    /// Shards of one generation number domains or licences differently.
    #[error(
        "{path}: {table} {code} is {found:?}, wanted {wanted:?} as in the longest table; only ever append to the {table} table"
    )]
    CodesMismatch { path: PathBuf, table: &'static str, code: usize, found: String, wanted: String },
    /// A file that a manifest or a caller names does not exist.
    #[error("{path}: missing; restore the file, or publish a generation without it")]
    MissingFile { path: PathBuf },
    /// The final name is taken.
    #[error("{path}: already exists, and shards are written once; choose a new name")]
    AlreadyExists { path: PathBuf },
    /// A manifest or CURRENT that cannot be what a publisher wrote.
    #[error("{path}: bad manifest: {cause}; publish the generation again")]
    BadManifest { path: PathBuf, cause: String },
    /// The gallery has nothing published.
    #[error("{gallery}: no generation is published; ingest images, or publish a manifest")]
    NoGeneration { gallery: PathBuf },
    /// What a shard shall hold cannot be.
    #[error("{field}: found {found}, wanted {wanted}")]
    BadSpec { field: &'static str, found: String, wanted: String },
    /// A row that a shard refuses. Nothing of its batch was added.
    #[error("row {row} of the batch: {fault}")]
    BadRow { row: usize, fault: RowFault },
    /// More rows, boxes or id bytes than the format can number.
    #[error("a shard holds at most {wanted} {what}, found {found}; split it into several shards")]
    TooLarge { what: &'static str, found: u64, wanted: u64 },
    /// The file system has no room, or the process may not write so much.
    #[error("{path}: disk full: {source}; free space or raise the quota, nothing was published")]
    DiskFull { path: PathBuf, source: io::Error },
    /// Another process is publishing.
    #[error("{path}: held by another publisher; wait for it to finish")]
    Locked { path: PathBuf },
    /// The operating system refused for another reason.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
#[allow(missing_docs, reason = "the message names every field")]
pub enum RowFault {
    /// Embedding of another dimension.
    #[error("found an embedding of {found} values, wanted {wanted}; embed with the model of this space")]
    WrongLength { found: usize, wanted: usize },
    /// NaN or infinity.
    #[error("value {position} of the embedding is {value}, wanted finite numbers; embed the image again")]
    NotFinite { position: usize, value: f32 },
    /// Nothing to point with.
    #[error("the embedding has norm 0, wanted 1; embed the image again")]
    ZeroNorm,
    /// Not of unit length.
    #[error("the embedding has norm {norm}, wanted 1 within {}; divide it by its norm", limits::UNIT_LENGTH_TOLERANCE)]
    NotUnit { norm: f32 },
    /// The id is in the shard already.
    #[error("id {id:?} is in the shard already; write each id once")]
    DuplicateId { id: String },
    /// The id is empty or too long.
    #[error("found an id of {length} bytes, wanted 1 to {}", limits::MAX_ID_BYTES)]
    BadId { length: usize },
    /// A detection names a label that is not in the list.
    #[error("found label {label}, wanted one below {labels}; detect with the detector of this gallery")]
    UnknownLabel { label: u16, labels: usize },
    /// A domain code beyond the table.
    #[error("found domain code {code}, wanted one below {domains}; add the domain to the table")]
    UnknownDomain { code: u8, domains: usize },
    /// A licence code beyond the table.
    #[error("found licence code {code}, wanted one below {licences}; add the licence to the table")]
    UnknownLicence { code: u8, licences: usize },
    /// A detection that no detector can have made.
    #[error(
        "detection {position} has confidence {confidence} and corners {corners:?}, wanted all in 0..=1 with x0 < x1 and y0 < y1"
    )]
    BadDetection { position: usize, confidence: f32, corners: [f32; 4] },
    /// More detections than a row may have.
    #[error("found {found} detections, wanted at most {MAX_BOXES}; keep the most confident ones")]
    TooManyDetections { found: usize },
}

impl ShardError {
    /// Name of the variant, for programs; a bad row goes by the name of its fault.
    pub fn variant(&self) -> &'static str {
        match self {
            ShardError::BadRow { fault, .. } => fault.variant(),
            other => other.into(),
        }
    }

    /// Names the cause of a failed system call on `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> ShardError {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => ShardError::MissingFile { path },
            // EFBIG is what a file-size limit answers: no room for this process.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ShardError::DiskFull { path, source }
            }
            _ => ShardError::Io { path, source },
        }
    }
}

impl RowFault {
    /// Name of the variant, for programs.
    pub fn variant(&self) -> &'static str {
        self.into()
    }
}
