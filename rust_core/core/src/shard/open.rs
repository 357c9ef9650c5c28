//! Opening a shard: the header and the bounds of every section, so that no later access can leave the file.
//!
//! Cheap whatever the size of the shard: it reads the header and the four small text sections. Whether the rest
//! of the bytes are those that were written is for [`crate::shard::verify`] to say.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::limits::{MAX_DIM, MAX_LABELS};
use crate::shard::error::ShardError;
use crate::shard::index::IdIndex;
use crate::shard::layout::{
    Dtype, Header, MAGIC, MIN_VERSION, PAGE, RowRecord, Section, Slot, StoredBox, VERSION, space_digest,
};
use crate::shard::map::{Column, Mapping};

/// One mapped shard.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    header: Box<Header>,
    dtype: Dtype,
    mapping: Arc<Mapping>,
    pub(crate) records: Column<RowRecord>,
    pub(crate) embeddings: Column<u8>,
    pub(crate) stride: usize,
    pub(crate) slots: Column<Slot>,
    pub(crate) ids: Column<u8>,
    pub(crate) id_offsets: Column<u64>,
    pub(crate) phashes: Column<u64>,
    pub(crate) box_offsets: Column<u32>,
    pub(crate) boxes: Column<StoredBox>,
    label_embeddings: Column<f32>,
    labels: Vec<String>,
    domains: Vec<String>,
    licences: Vec<String>,
    space_json: String,
}

impl Shard {
    /// Maps a shard file and checks its header and bounds.
    pub fn open(path: &Path) -> Result<Shard, ShardError> {
        let file = File::open(path).map_err(|source| ShardError::io(path, source))?;
        let mapping = Mapping::open(&file).map_err(|source| ShardError::io(path, source))?;
        let mapping = Arc::new(mapping);
        let header = Box::new(check_header(path, mapping.bytes())?);
        let sections = Sections { path, mapping: &mapping, header: &header };
        let (rows, dim, labels) = (header.rows as usize, header.dim as usize, header.labels as usize);
        let dtype = sections.dtype()?;
        let stride = dtype.stride(dim);
        let shard = Shard {
            path: path.to_path_buf(),
            dtype,
            mapping: Arc::clone(&mapping),
            records: sections.column(Section::Records, Some(rows))?,
            embeddings: sections.column(Section::Embeddings, Some(rows * stride))?,
            stride,
            slots: sections.column(Section::Index, Some(header.index_slots as usize))?,
            ids: sections.column(Section::Ids, None)?,
            id_offsets: sections.column(Section::IdOffsets, Some(rows + 1))?,
            phashes: sections.column(Section::Phashes, Some(rows))?,
            box_offsets: sections.column(Section::BoxOffsets, Some(rows + 1))?,
            boxes: sections.column(Section::Boxes, None)?,
            label_embeddings: sections.column(Section::LabelEmbeddings, Some(labels * dim))?,
            labels: sections.names(Section::Labels)?,
            domains: sections.names(Section::Domains)?,
            licences: sections.names(Section::Licences)?,
            space_json: sections.text(Section::Space)?,
            header,
        };
        shard.check_tables()?;
        Ok(shard)
    }

    /// What the header says must be what the small sections hold.
    fn check_tables(&self) -> Result<(), ShardError> {
        if self.labels.len() != self.header.labels as usize {
            return Err(self.inconsistent(
                Section::Labels,
                format!("{} labels, wanted {}", self.labels.len(), self.header.labels),
            ));
        }
        if space_digest(&self.space_json) != self.header.space {
            return Err(self.inconsistent(Section::Space, "not the space of the header's fingerprint".into()));
        }
        Ok(())
    }

    pub(crate) fn inconsistent(&self, section: Section, cause: String) -> ShardError {
        ShardError::Inconsistent { path: self.path.clone(), section: section.name(), cause }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first page.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Rows, tombstones included.
    pub fn rows(&self) -> usize {
        self.records.len()
    }

    /// How embeddings are stored.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Canonical JSON of the embedding space.
    pub fn space_json(&self) -> &str {
        &self.space_json
    }

    /// The detector's labels, in id order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// `(labels, dim)`.
    pub fn label_embeddings(&self) -> &[f32] {
        &self.label_embeddings
    }

    /// Names of the domain codes.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Names of the licence codes.
    pub fn licences(&self) -> &[String] {
        &self.licences
    }

    /// The mapping, to warm it and to ask what is in memory.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The sections that finding an id reads.
    #[inline(always)]
    pub fn index(&self) -> IdIndex<'_> {
        IdIndex { slots: &self.slots, ids: &self.ids, records: &self.records }
    }

    /// Id of a row below [`rows`](Shard::rows); empty where the file is damaged.
    pub fn id(&self, row: usize) -> &[u8] {
        let (start, end) = (self.id_offsets[row] as usize, self.id_offsets[row + 1] as usize);
        self.ids.get(start..end).unwrap_or_default()
    }

    /// Stored embedding of a row below [`rows`](Shard::rows): its stride, zeros where it has none.
    #[inline(always)]
    pub fn embedding(&self, row: usize) -> &[u8] {
        let start = row * self.stride;
        &self.embeddings[start..start + self.stride]
    }

    /// Perceptual hash of a row below [`rows`](Shard::rows), 0 for none.
    pub fn phash(&self, row: usize) -> u64 {
        self.phashes[row]
    }

    /// Boxes of a row below [`rows`](Shard::rows), by falling confidence; none where the file is damaged.
    pub fn boxes(&self, row: usize) -> &[StoredBox] {
        let (start, end) = (self.box_offsets[row] as usize, self.box_offsets[row + 1] as usize);
        self.boxes.get(start..end).unwrap_or_default()
    }

    /// The bytes of a section, as the table places them.
    pub(crate) fn section_bytes(&self, section: Section) -> &[u8] {
        let range = byte_range(&self.header, section).unwrap_or_default();
        self.mapping.bytes().get(range).unwrap_or_default()
    }
}

/// Reads the header and refuses a file that is not a whole shard of a version this build reads.
fn check_header(path: &Path, bytes: &[u8]) -> Result<Header, ShardError> {
    let path = || path.to_path_buf();
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(start) {
        return Err(ShardError::NotAShard { path: path(), found: start.to_vec() });
    }
    let found = bytes.len() as u64;
    let truncated = |wanted| ShardError::Truncated { path: path(), found, wanted };
    // The version comes before the length and the checksum: another version may have another header.
    let (_, after_magic) = bytes.split_at(start.len());
    let (version, _) = u32::read_from_prefix(after_magic).map_err(|_| truncated(PAGE as u64))?;
    match version {
        MIN_VERSION..=VERSION => {}
        0..MIN_VERSION => return Err(ShardError::PastVersion { path: path(), found: version }),
        _ => return Err(ShardError::FutureVersion { path: path(), found: version }),
    }
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| truncated(PAGE as u64))?;
    let computed = header.computed_checksum();
    if computed != header.checksum {
        return Err(ShardError::ChecksumMismatch {
            path: path(),
            section: "header",
            found: computed,
            wanted: header.checksum,
        });
    }
    let wanted = header.file_bytes;
    match found.cmp(&wanted) {
        std::cmp::Ordering::Less => Err(truncated(wanted)),
        std::cmp::Ordering::Greater => Err(ShardError::TrailingBytes { path: path(), found, wanted }),
        std::cmp::Ordering::Equal => Ok(header),
    }
}

fn byte_range(header: &Header, section: Section) -> Option<Range<usize>> {
    let entry = header.section(section);
    let start = usize::try_from(entry.offset).ok()?;
    let end = start.checked_add(usize::try_from(entry.bytes).ok()?)?;
    Some(start..end)
}

/// The section table of a file whose header holds, read with suspicion.
struct Sections<'a> {
    path: &'a Path,
    mapping: &'a Arc<Mapping>,
    header: &'a Header,
}

impl Sections<'_> {
    fn dtype(&self) -> Result<Dtype, ShardError> {
        let header = self.header;
        let wrong = |found: String, wanted: String| self.out_of_bounds("header", found, wanted);
        let dtype = Dtype::from_code(header.dtype)
            .ok_or_else(|| wrong(format!("dtype {}", header.dtype), "1, 2 or 3".into()))?;
        let dim = header.dim as usize;
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(wrong(format!("dim {dim}"), format!("1 to {MAX_DIM}")));
        }
        if header.stride as usize != dtype.stride(dim) {
            return Err(wrong(format!("stride {}", header.stride), dtype.stride(dim).to_string()));
        }
        if header.labels as usize > MAX_LABELS {
            return Err(wrong(format!("{} labels", header.labels), format!("at most {MAX_LABELS}")));
        }
        if !header.index_slots.is_power_of_two() || header.index_slots <= header.rows {
            let wanted = "a power of two above the rows".into();
            return Err(wrong(format!("{} index slots for {} rows", header.index_slots, header.rows), wanted));
        }
        if header.rows > u64::from(Slot::FREE) || header.deleted_rows > header.rows {
            let found = format!("{} rows, {} deleted", header.rows, header.deleted_rows);
            return Err(wrong(found, "fewer than 2^32 rows, at least as many as are deleted".into()));
        }
        Ok(dtype)
    }

    /// A section as items, `len` of them where the header fixes the number.
    fn column<T: FromBytes + Immutable + KnownLayout>(
        &self,
        section: Section,
        len: Option<usize>,
    ) -> Result<Column<T>, ShardError> {
        let entry = self.header.section(section);
        let wrong = |wanted: String| {
            let found = format!("kind {}, {} bytes at {}", entry.kind, entry.bytes, entry.offset);
            self.out_of_bounds(section.name(), found, wanted)
        };
        let earliest = self.end_of_previous(section);
        if entry.kind != section as u32 || !entry.offset.is_multiple_of(PAGE as u64) || entry.offset < earliest {
            return Err(wrong(format!("kind {}, on a page boundary from {earliest}", section as u32)));
        }
        let column = byte_range(self.header, section).and_then(|range| Column::new(self.mapping, range));
        let column: Column<T> =
            column.ok_or_else(|| wrong(format!("whole items within the file's {} bytes", self.header.file_bytes)))?;
        match len {
            Some(len) if column.len() != len => Err(wrong(format!("{len} items of {} bytes", size_of::<T>()))),
            _ => Ok(column),
        }
    }

    fn end_of_previous(&self, section: Section) -> u64 {
        match section.position() {
            0 => PAGE as u64,
            position => {
                let previous = &self.header.sections[position - 1];
                previous.offset.saturating_add(previous.bytes)
            }
        }
    }

    /// A small text section, checked against its checksum: everything after relies on it.
    fn text(&self, section: Section) -> Result<String, ShardError> {
        let bytes: Column<u8> = self.column(section, None)?;
        let (found, wanted) = (xxh3_64(&bytes), self.header.section(section).checksum);
        if found != wanted {
            return Err(ShardError::ChecksumMismatch {
                path: self.path.to_path_buf(),
                section: section.name(),
                found,
                wanted,
            });
        }
        String::from_utf8(bytes.to_vec()).map_err(|error| self.inconsistent(section, error.to_string()))
    }

    fn names(&self, section: Section) -> Result<Vec<String>, ShardError> {
        serde_json::from_str(&self.text(section)?).map_err(|error| self.inconsistent(section, error.to_string()))
    }

    fn inconsistent(&self, section: Section, cause: String) -> ShardError {
        ShardError::Inconsistent { path: self.path.to_path_buf(), section: section.name(), cause }
    }

    fn out_of_bounds(&self, section: &'static str, found: String, wanted: String) -> ShardError {
        ShardError::OutOfBounds { path: self.path.to_path_buf(), section, found, wanted }
    }
}
