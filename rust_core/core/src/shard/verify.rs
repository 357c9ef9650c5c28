//! Reading all of a shard: every byte against its checksum, then every number against every other.
//!
//! The checksums catch damage; the second part catches a writer that was wrong, before its shard is published.

use xxhash_rust::xxh3::xxh3_64;

use crate::limits::MAX_ID_BYTES;
use crate::shard::error::ShardError;
use crate::shard::index::Wave;
use crate::shard::layout::{PAGE, RECORD_LABELS, RowRecord, Section, Slot, hash_of, tag_of};
use crate::shard::open::Shard;
use crate::shard::row::checked_norm;

impl Shard {
    /// Reads every byte of the file. An error names the first section that is wrong.
    pub fn verify(&self) -> Result<(), ShardError> {
        self.verify_checksums()?;
        self.verify_padding()?;
        self.verify_ids()?;
        self.verify_boxes()?;
        self.verify_records()?;
        self.verify_label_embeddings()?;
        self.verify_slots()?;
        self.verify_lookups()
    }

    /// The first part alone: are these the bytes that were written?
    pub(crate) fn verify_checksums(&self) -> Result<(), ShardError> {
        for section in Section::ALL {
            let found = xxh3_64(self.section_bytes(section));
            let wanted = self.header().section(section).checksum;
            if found != wanted {
                return Err(ShardError::ChecksumMismatch {
                    path: self.path().to_path_buf(),
                    section: section.name(),
                    found,
                    wanted,
                });
            }
        }
        Ok(())
    }

    /// What lies between two sections is zero: no bit of the file is beyond a check.
    fn verify_padding(&self) -> Result<(), ShardError> {
        let mut end = PAGE;
        for section in Section::ALL {
            let entry = self.header().section(section);
            let start = entry.offset as usize;
            let padding = self.mapping().bytes().get(end..start).unwrap_or_default();
            self.ensure(padding.iter().all(|byte| *byte == 0), section, || "the padding before it is not zero".into())?;
            end = start + entry.bytes as usize;
        }
        Ok(())
    }

    fn verify_ids(&self) -> Result<(), ShardError> {
        let covers = self.id_offsets.first() == Some(&0) && self.id_offsets.last() == Some(&(self.ids.len() as u64));
        self.ensure(covers, Section::IdOffsets, || "it does not cover the ids".into())?;
        let bad = self
            .id_offsets
            .windows(2)
            .position(|pair| !pair[1].checked_sub(pair[0]).is_some_and(|n| (1..=MAX_ID_BYTES as u64).contains(&n)));
        self.ensure(bad.is_none(), Section::IdOffsets, || format!("row {bad:?} has no id of 1 to {MAX_ID_BYTES} bytes"))
    }

    fn verify_boxes(&self) -> Result<(), ShardError> {
        let covers = self.box_offsets.first() == Some(&0)
            && self.box_offsets.last().is_some_and(|last| *last as usize == self.boxes.len());
        self.ensure(covers, Section::BoxOffsets, || "it does not cover the boxes".into())?;
        self.ensure(self.box_offsets.is_sorted(), Section::BoxOffsets, || "it falls".into())?;
        for row in 0..self.rows() {
            let falling = self.boxes(row).is_sorted_by(|a, b| a.confidence >= b.confidence);
            self.ensure(falling, Section::Boxes, || format!("row {row}: confidence rises"))?;
        }
        let unknown = self.boxes.iter().position(|stored| usize::from(stored.label) >= self.labels().len());
        self.ensure(unknown.is_none(), Section::Boxes, || format!("box {unknown:?} names an unknown label"))
    }

    fn verify_records(&self) -> Result<(), ShardError> {
        for (row, record) in self.records.iter().enumerate() {
            self.ensure(self.is_plausible(record), Section::Records, || format!("row {row}: {record:?}"))?;
        }
        let deleted = self.records.iter().filter(|record| record.is_deleted()).count() as u64;
        let wanted = self.header().deleted_rows;
        self.ensure(deleted == wanted, Section::Records, || format!("{deleted} tombstones, the header says {wanted}"))
    }

    fn is_plausible(&self, record: &RowRecord) -> bool {
        if record.is_deleted() {
            return true;
        }
        let known = record.labels().iter().all(|entry| usize::from(entry.label()) < self.labels().len());
        let sorted = record.labels().is_sorted_by_key(|entry| (std::cmp::Reverse(entry.presence), entry.label()));
        usize::from(record.label_count) <= RECORD_LABELS
            && known
            && sorted
            && usize::from(record.domain) < self.domains().len()
            && usize::from(record.licence) < self.licences().len()
            && record.scale.is_finite()
            && (record.scale > 0.0) == record.has_embedding()
    }

    fn verify_label_embeddings(&self) -> Result<(), ShardError> {
        let dim = self.header().dim as usize;
        for (label, values) in self.label_embeddings().chunks_exact(dim).enumerate() {
            checked_norm(values, dim)
                .map_err(|fault| self.inconsistent(Section::LabelEmbeddings, format!("label {label}: {fault}")))?;
        }
        Ok(())
    }

    fn verify_slots(&self) -> Result<(), ShardError> {
        let mut occupied = 0;
        for slot in self.slots.iter().filter(|slot| slot.row != Slot::FREE) {
            occupied += 1;
            let row = slot.row as usize;
            let place = self.id_offsets.get(row).zip(self.id_offsets.get(row + 1));
            let fits = place.is_some_and(|(start, end)| {
                slot.id_range() == (*start as usize..*end as usize) && slot.tag == tag_of(hash_of(self.id(row)))
            });
            self.ensure(fits, Section::Index, || format!("{slot:?} does not describe its row's id"))?;
        }
        let rows = self.rows();
        self.ensure(occupied == rows, Section::Index, || format!("{occupied} slots in use, wanted {rows}"))
    }

    /// Every id leads to its own row.
    fn verify_lookups(&self) -> Result<(), ShardError> {
        let mut ids = (0..self.rows()).map(|row| (self.id(row), hash_of(self.id(row))));
        let mut wave = Wave::new();
        let mut row = 0;
        while wave.refill(&mut ids) {
            wave.search(0, &self.index());
            for found in wave.rows() {
                self.ensure(*found == Some((0, row)), Section::Index, || {
                    format!("the id of row {row} leads to {found:?}")
                })?;
                row += 1;
            }
        }
        Ok(())
    }

    fn ensure(&self, holds: bool, section: Section, cause: impl FnOnce() -> String) -> Result<(), ShardError> {
        if holds { Ok(()) } else { Err(self.inconsistent(section, cause())) }
    }
}
