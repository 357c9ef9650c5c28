//! The types that lie in a shard file, byte for byte. FORMAT.md is the specification; this file is its spelling.
//!
//! All of them are plain old data in little-endian order, read in place from the mapping. They say nothing about
//! whether their contents make sense: a reader treats every number in them as untrusted.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::detection::{Detection, dequantise_unit};

#[cfg(target_endian = "big")]
compile_error!("shards are little-endian and read in place: a big-endian build would misread every number");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("shards are mapped whole: their sizes need 64-bit addresses");

/// First bytes of every shard.
pub const MAGIC: [u8; 8] = *b"RAGSHARD";
/// The version that this build writes.
pub const VERSION: u32 = 1;
/// The oldest version that this build reads.
pub const MIN_VERSION: u32 = 1;
/// Size of the header, and the alignment of every section.
pub const PAGE: usize = 4096;
/// Alignment of an embedding row, and so of its stride: one cache line.
pub const LINE: usize = 64;
/// Labels that fit into a row record.
pub const RECORD_LABELS: usize = 14;
/// Boxes of one row, at most.
pub const MAX_BOXES: usize = 1024;

/// How the values of an embedding are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32 = 1,
    /// IEEE 754 half precision, round to nearest even.
    F16 = 2,
    /// Symmetric 8-bit integers with one scale a row.
    I8 = 3,
}

impl Dtype {
    /// Every dtype, in the order of their codes.
    pub const ALL: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::I8];

    /// Size of one stored value.
    pub const fn bytes_per_value(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 => 2,
            Dtype::I8 => 1,
        }
    }

    /// `"f32"`, `"f16"` or `"i8"`.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::I8 => "i8",
        }
    }

    /// The dtype of that [`name`](Dtype::name).
    pub fn parse(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The dtype of a code in a header.
    pub fn from_code(code: u8) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| *dtype as u8 == code)
    }

    /// Bytes from one embedding to the next: `dim` values, padded to a cache line.
    pub const fn stride(self, dim: usize) -> usize {
        (dim * self.bytes_per_value()).next_multiple_of(LINE)
    }
}

/// The sections, in the order in which they lie in the file. The number is the kind in the section table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Section {
    /// `rows` x `stride` bytes.
    Embeddings = 1,
    /// `rows` x [`RowRecord`].
    Records = 2,
    /// `index_slots` x [`Slot`].
    Index = 3,
    /// The ids, one after the other in row order.
    Ids = 4,
    /// `rows + 1` x u64: where each id begins in [`Section::Ids`], then its length.
    IdOffsets = 5,
    /// `rows` x u64.
    Phashes = 6,
    /// `rows + 1` x u32: where each row's boxes begin in [`Section::Boxes`], then their number.
    BoxOffsets = 7,
    /// [`StoredBox`] entries.
    Boxes = 8,
    /// `labels` x `dim` x f32.
    LabelEmbeddings = 9,
    /// JSON array of strings.
    Labels = 10,
    /// JSON array of strings.
    Domains = 11,
    /// JSON array of strings.
    Licences = 12,
    /// The canonical JSON of the embedding space; never empty, so that the file ends in a byte that counts.
    Space = 13,
}

impl Section {
    /// Every section, in file order.
    pub const ALL: [Section; 13] = [
        Section::Embeddings,
        Section::Records,
        Section::Index,
        Section::Ids,
        Section::IdOffsets,
        Section::Phashes,
        Section::BoxOffsets,
        Section::Boxes,
        Section::LabelEmbeddings,
        Section::Labels,
        Section::Domains,
        Section::Licences,
        Section::Space,
    ];

    /// The name used in errors and in FORMAT.md.
    pub const fn name(self) -> &'static str {
        match self {
            Section::Embeddings => "embeddings",
            Section::Records => "records",
            Section::Index => "index",
            Section::Ids => "ids",
            Section::IdOffsets => "id offsets",
            Section::Phashes => "phashes",
            Section::BoxOffsets => "box offsets",
            Section::Boxes => "boxes",
            Section::LabelEmbeddings => "label embeddings",
            Section::Labels => "labels",
            Section::Domains => "domains",
            Section::Licences => "licences",
            Section::Space => "space",
        }
    }

    /// Position in the section table.
    pub const fn position(self) -> usize {
        self as usize - 1
    }
}

/// One line of the section table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SectionEntry {
    /// [`Section`] as a number; 0 in the unused lines.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// From the start of the file, a multiple of [`PAGE`].
    pub offset: u64,
    /// Without the padding up to the next section.
    pub bytes: u64,
    /// xxh3-64 of those bytes.
    pub checksum: u64,
}

/// The first page of a shard.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`MIN_VERSION`]..=[`VERSION`].
    pub version: u32,
    /// [`PAGE`].
    pub header_bytes: u32,
    /// Length of the whole file.
    pub file_bytes: u64,
    /// Rows, tombstones included.
    pub rows: u64,
    /// Rows that are tombstones.
    pub deleted_rows: u64,
    /// A power of two.
    pub index_slots: u64,
    /// Values of one embedding.
    pub dim: u32,
    /// [`Dtype::stride`] of `dim`.
    pub stride: u32,
    /// Labels of the detector.
    pub labels: u32,
    /// [`Dtype`] as a number.
    pub dtype: u8,
    /// Zero.
    pub padding: [u8; 3],
    /// xxh3-128 of the space section, big-endian as its hex digits are written.
    pub space: [u8; 16],
    /// One line for each of [`Section::ALL`], then zeros.
    pub sections: [SectionEntry; 16],
    /// Zero.
    pub reserved: [u8; 3496],
    /// xxh3-64 of all bytes of the header before it.
    pub checksum: u64,
}

const _: () = assert!(size_of::<Header>() == PAGE);

impl Header {
    /// What [`Header::checksum`] must be.
    pub fn computed_checksum(&self) -> u64 {
        let bytes = self.as_bytes();
        xxh3_64(&bytes[..PAGE - size_of::<u64>()])
    }

    /// The table's line for a section.
    pub fn section(&self, section: Section) -> &SectionEntry {
        &self.sections[section.position()]
    }
}

/// Bits of [`RowRecord::flags`].
pub mod flags {
    /// The row has an embedding.
    pub const HAS_EMBEDDING: u8 = 1;
    /// The detector has seen the image, whether or not it found anything.
    pub const HAS_DETECTIONS: u8 = 2;
    /// The row is a tombstone: it hides the id in older shards and resolves to unknown.
    pub const DELETED: u8 = 4;
}

/// One label that an image shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LabelEntry {
    /// Low 12 bits: label id. High 4 bits: objects counted, saturating at 15.
    pub label_and_count: u16,
    /// Presence as [`crate::detection::quantise_unit`] stores it.
    pub presence: u16,
}

impl LabelEntry {
    /// Packs a label below [`crate::limits::MAX_LABELS`] and a count that saturates at 15.
    pub fn new(label: u16, count: usize, presence: u16) -> LabelEntry {
        let count = count.min(15) as u16;
        LabelEntry { label_and_count: (label & 0x0fff) | count << 12, presence }
    }

    /// Position in the label list. Untrusted: may lie beyond it in a file that was not verified.
    #[inline(always)]
    pub fn label(self) -> u16 {
        self.label_and_count & 0x0fff
    }

    /// Objects detected with at least [`crate::detection::COUNTED_CONFIDENCE`]; 15 means 15 or more.
    #[inline(always)]
    pub fn count(self) -> u16 {
        self.label_and_count >> 12
    }
}

/// What scoring needs of a row besides its embedding: exactly one cache line.
#[derive(Debug, Clone, Copy, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct RowRecord {
    /// Embedding value = stored value * scale. 1 for f32 and f16, 0 in a row without an embedding.
    pub scale: f32,
    /// Position in the licence table.
    pub licence: u8,
    /// Position in the domain table.
    pub domain: u8,
    /// Entries of `labels` in use. Read them through [`RowRecord::labels`].
    pub label_count: u8,
    /// See [`flags`].
    pub flags: u8,
    /// The labels shown most, by falling presence, then rising label.
    pub labels: [LabelEntry; RECORD_LABELS],
}

const _: () = assert!(size_of::<RowRecord>() == LINE);

impl RowRecord {
    /// The labels in use. A count that cannot be is cut to what is there.
    #[inline(always)]
    pub fn labels(&self) -> &[LabelEntry] {
        &self.labels[..usize::from(self.label_count).min(RECORD_LABELS)]
    }

    /// Whether the row has an embedding.
    #[inline(always)]
    pub fn has_embedding(&self) -> bool {
        self.flags & flags::HAS_EMBEDDING != 0
    }

    /// Whether the detector has seen the image.
    #[inline(always)]
    pub fn has_detections(&self) -> bool {
        self.flags & flags::HAS_DETECTIONS != 0
    }

    /// Whether the row is a tombstone.
    #[inline(always)]
    pub fn is_deleted(&self) -> bool {
        self.flags & flags::DELETED != 0
    }
}

/// One detection. Confidence and corners are stored as `round(value * 65535)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StoredBox {
    /// Position in the label list.
    pub label: u16,
    /// 0..=1 as unorm16.
    pub confidence: u16,
    /// `[x0, y0, x1, y1]` as unorm16.
    pub corners: [u16; 4],
}

impl StoredBox {
    /// The detection that the entry stands for.
    pub fn detection(&self) -> Detection {
        Detection {
            label: self.label,
            confidence: dequantise_unit(self.confidence),
            corners: self.corners.map(dequantise_unit),
        }
    }
}

/// One slot of the id index: four to a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Slot {
    /// High 32 bits of the id's xxh3-64.
    pub tag: u32,
    /// Row of the id, or [`Slot::FREE`].
    pub row: u32,
    /// Position of the id in [`Section::Ids`] in the high 48 bits, its length in the low 16.
    pub place: u64,
}

impl Slot {
    /// `row` of a slot that holds nothing.
    pub const FREE: u32 = u32::MAX;
    /// A slot that holds nothing.
    pub const EMPTY: Slot = Slot { tag: 0, row: Slot::FREE, place: 0 };

    /// A slot for an id of `length` bytes at `position`.
    pub fn new(hash: u64, row: u32, position: u64, length: u16) -> Slot {
        Slot { tag: tag_of(hash), row, place: position << 16 | u64::from(length) }
    }

    /// Where the id's bytes lie in [`Section::Ids`]. Untrusted.
    #[inline(always)]
    pub fn id_range(self) -> std::ops::Range<usize> {
        let start = (self.place >> 16) as usize;
        start..start + usize::from(self.place as u16)
    }

    /// Length of the id.
    #[inline(always)]
    pub fn id_length(self) -> usize {
        usize::from(self.place as u16)
    }
}

/// Hash of an id: where its probe begins (low bits) and its [`tag_of`] (high bits).
#[inline(always)]
pub fn hash_of(id: &[u8]) -> u64 {
    xxh3_64(id)
}

/// The part of a hash that a slot keeps.
#[inline(always)]
pub const fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// 32 hex digits over the canonical JSON of an embedding space (xxh3-128).
pub fn space_fingerprint(space_json: &str) -> String {
    fingerprint_hex(&space_digest(space_json))
}

/// The bytes of a fingerprint, in the order of its hex digits.
pub fn space_digest(space_json: &str) -> [u8; 16] {
    xxh3_128(space_json.as_bytes()).to_be_bytes()
}

/// The hex digits of a fingerprint.
pub fn fingerprint_hex(digest: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*digest))
}
