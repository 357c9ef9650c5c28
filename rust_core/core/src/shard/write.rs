//! Writing a shard: embeddings stream to a temporary file, the other columns wait in memory, `finish` seals it.
//!
//! Nothing appears under the final name before every byte of it is on disk. A writer that is dropped, or whose
//! process dies, leaves at most a temporary file that no reader opens.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};
use zerocopy::{FromZeros, IntoBytes};

use crate::limits::{MAX_DIM, MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES};
use crate::shard::columns::Columns;
use crate::shard::durable::StagedFile;
use crate::shard::error::{RowFault, ShardError};
use crate::shard::layout::{Dtype, Header, MAGIC, PAGE, Section, SectionEntry, VERSION, space_digest};
use crate::shard::row::{Row, checked_norm};

/// What all rows of a shard share.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardSpec {
    /// Values of one embedding, 1..=[`MAX_DIM`].
    pub dim: usize,
    /// How embeddings are stored.
    pub dtype: Dtype,
    /// Canonical JSON of the embedding space, an object.
    pub space_json: String,
    /// The detector's labels, in id order, distinct.
    pub labels: Vec<String>,
    /// `(labels, dim)`, unit rows.
    pub label_embeddings: Vec<f32>,
    /// Names of the domain codes, distinct. Later shards of a gallery may only append.
    pub domains: Vec<String>,
    /// Names of the licence codes, distinct. Later shards of a gallery may only append.
    pub licences: Vec<String>,
}

/// What a finished shard holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows, tombstones included.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// Writes one shard.
pub struct ShardWriter {
    spec: ShardSpec,
    file: StagedFile,
    path: PathBuf,
    columns: Columns,
    embedding_hash: Xxh3Default,
    embedding_bytes: u64,
    staged: Vec<u8>,
}

impl ShardWriter {
    /// Begins a shard that shall appear at `path`. Refuses a bad spec and a name that is taken.
    pub fn create(path: &Path, spec: ShardSpec) -> Result<ShardWriter, ShardError> {
        spec.check()?;
        refuse_existing(path)?;
        Ok(ShardWriter {
            spec,
            file: StagedFile::create(path)?,
            path: path.to_path_buf(),
            columns: Columns::new(),
            embedding_hash: Xxh3Default::new(),
            embedding_bytes: 0,
            staged: Vec::new(),
        })
    }

    /// Adds one row. After an error the shard is as before.
    pub fn push(&mut self, row: Row<'_>) -> Result<(), ShardError> {
        self.append(&[row])
    }

    /// Adds all rows of a batch, or none of them.
    pub fn append(&mut self, rows: &[Row<'_>]) -> Result<(), ShardError> {
        self.add(rows, |columns, spec, row, staged| columns.push(row, spec, staged))
    }

    /// Adds tombstones: ids that older shards of the gallery hold and that shall be unknown from now on.
    pub fn delete(&mut self, ids: &[&[u8]]) -> Result<(), ShardError> {
        self.add(ids, |columns, spec, id, staged| columns.push_deleted(id, spec.dtype.stride(spec.dim), staged))
    }

    fn add<R>(
        &mut self,
        rows: &[R],
        push: impl Fn(&mut Columns, &ShardSpec, &R, &mut Vec<u8>) -> Result<(), RowFault>,
    ) -> Result<(), ShardError> {
        let before = self.columns.rows();
        self.staged.clear();
        let added = rows.iter().enumerate().try_for_each(|(row, input)| {
            push(&mut self.columns, &self.spec, input, &mut self.staged)
                .map_err(|fault| ShardError::BadRow { row, fault })
        });
        let written = added
            .and_then(|()| self.columns.check_size())
            .and_then(|()| self.file.write_at(&self.staged, PAGE as u64 + self.embedding_bytes));
        if let Err(error) = written {
            self.columns.truncate(before);
            return Err(error);
        }
        self.embedding_hash.update(&self.staged);
        self.embedding_bytes += self.staged.len() as u64;
        Ok(())
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.columns.rows() as u64
    }

    /// Writes the other sections and the header, syncs, and gives the file its name.
    pub fn finish(mut self) -> Result<Written, ShardError> {
        let slots = self.columns.take_slots();
        let mut header = self.header(slots.len());
        let (columns, spec) = (&self.columns, &self.spec);
        let [labels, domains, licences] = [&spec.labels, &spec.domains, &spec.licences].map(|table| json_array(table));
        let sections: [(Section, &[u8]); 12] = [
            (Section::Records, columns.records.as_bytes()),
            (Section::Index, slots.as_bytes()),
            (Section::Ids, &columns.ids),
            (Section::IdOffsets, columns.id_offsets.as_bytes()),
            (Section::Phashes, columns.phashes.as_bytes()),
            (Section::BoxOffsets, columns.box_offsets.as_bytes()),
            (Section::Boxes, columns.boxes.as_bytes()),
            (Section::LabelEmbeddings, spec.label_embeddings.as_bytes()),
            (Section::Labels, &labels),
            (Section::Domains, &domains),
            (Section::Licences, &licences),
            (Section::Space, spec.space_json.as_bytes()),
        ];
        let mut end = PAGE as u64 + self.embedding_bytes;
        // A batch that failed half-way may have left bytes here; what is not written below must read as zero.
        self.file.set_len(end)?;
        for (section, bytes) in sections {
            let offset = end.next_multiple_of(PAGE as u64);
            self.file.write_at(bytes, offset)?;
            header.sections[section.position()] = entry(section, offset, bytes.len() as u64, xxh3_64(bytes));
            end = offset + bytes.len() as u64;
        }
        header.file_bytes = end;
        header.checksum = header.computed_checksum();
        self.file.write_at(header.as_bytes(), 0)?;
        refuse_existing(&self.path)?;
        self.file.persist()?;
        Ok(Written { rows: header.rows, bytes: end })
    }

    /// The header but for the other sections, the file's length and the checksum.
    fn header(&self, index_slots: usize) -> Header {
        let mut header = Header::new_zeroed();
        header.magic = MAGIC;
        header.version = VERSION;
        header.header_bytes = PAGE as u32;
        header.rows = self.rows();
        header.deleted_rows = self.columns.deleted;
        header.index_slots = index_slots as u64;
        header.dim = self.spec.dim as u32;
        header.stride = self.spec.dtype.stride(self.spec.dim) as u32;
        header.labels = self.spec.labels.len() as u32;
        header.dtype = self.spec.dtype as u8;
        header.space = space_digest(&self.spec.space_json);
        header.sections[0] =
            entry(Section::Embeddings, PAGE as u64, self.embedding_bytes, self.embedding_hash.digest());
        header
    }
}

fn entry(section: Section, offset: u64, bytes: u64, checksum: u64) -> SectionEntry {
    SectionEntry { kind: section as u32, reserved: 0, offset, bytes, checksum }
}

fn refuse_existing(path: &Path) -> Result<(), ShardError> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(ShardError::AlreadyExists { path: path.to_path_buf() }),
        Err(source) => Err(ShardError::io(path, source)),
    }
}

fn json_array(names: &[String]) -> Vec<u8> {
    serde_json::Value::from(names).to_string().into_bytes()
}

impl ShardSpec {
    /// Refuses what no reader would accept.
    pub fn check(&self) -> Result<(), ShardError> {
        require("dim", (1..=MAX_DIM).contains(&self.dim), || (self.dim.to_string(), format!("1 to {MAX_DIM}")))?;
        self.check_space()?;
        check_names("labels", &self.labels, MAX_LABELS, 1..=MAX_LABEL_BYTES)?;
        check_names("domains", &self.domains, 256, 1..=MAX_NAME_BYTES)?;
        check_names("licences", &self.licences, 256, 0..=MAX_NAME_BYTES)?;
        self.check_label_embeddings()
    }

    fn check_space(&self) -> Result<(), ShardError> {
        let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.space_json);
        let object = object.map_err(|error| ShardError::BadSpec {
            field: "space_json",
            found: error.to_string(),
            wanted: "a JSON object".into(),
        })?;
        let fits = object.get("dim").is_none_or(|dim| *dim == self.dim);
        require("space_json dim", fits, || (object["dim"].to_string(), self.dim.to_string()))
    }

    fn check_label_embeddings(&self) -> Result<(), ShardError> {
        const FIELD: &str = "label_embeddings";
        let wanted = self.labels.len() * self.dim;
        require(FIELD, self.label_embeddings.len() == wanted, || {
            (format!("{} values", self.label_embeddings.len()), format!("{wanted}: labels x dim"))
        })?;
        for (label, values) in self.labels.iter().zip(self.label_embeddings.chunks_exact(self.dim)) {
            checked_norm(values, self.dim).map_err(|fault| ShardError::BadSpec {
                field: FIELD,
                found: format!("label {label:?}: {fault}"),
                wanted: "a unit vector for each label".into(),
            })?;
        }
        Ok(())
    }
}

fn check_names(
    field: &'static str,
    names: &[String],
    most: usize,
    bytes: std::ops::RangeInclusive<usize>,
) -> Result<(), ShardError> {
    require(field, names.len() <= most, || (format!("{} names", names.len()), format!("at most {most}")))?;
    let mut seen = HashSet::new();
    for name in names {
        require(field, bytes.contains(&name.len()), || {
            (format!("{name:?}"), format!("names of {} to {} bytes", bytes.start(), bytes.end()))
        })?;
        require(field, seen.insert(name), || (format!("{name:?} twice"), "distinct names".into()))?;
    }
    Ok(())
}

/// `BadSpec` unless the condition holds; the closure says what was found and wanted.
fn require(field: &'static str, holds: bool, words: impl FnOnce() -> (String, String)) -> Result<(), ShardError> {
    if holds {
        return Ok(());
    }
    let (found, wanted) = words();
    Err(ShardError::BadSpec { field, found, wanted })
}
