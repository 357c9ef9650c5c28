//! The rows of a shard in the making, column by column, all but the embeddings.
//!
//! Rows are added and taken back in stack order, so that a batch with a bad row leaves no trace.

use crate::limits::MAX_ID_BYTES;
use crate::shard::error::{RowFault, ShardError};
use crate::shard::index::IndexBuilder;
use crate::shard::layout::{RowRecord, Slot, StoredBox, flags};
use crate::shard::row::{Row, check_detections, encode_detections, encode_embedding};
use crate::shard::write::ShardSpec;

/// Buffered columns: about 130 bytes a row, its id, its boxes and its share of the index.
#[derive(Debug)]
pub(crate) struct Columns {
    pub records: Vec<RowRecord>,
    pub ids: Vec<u8>,
    pub id_offsets: Vec<u64>,
    pub phashes: Vec<u64>,
    pub box_offsets: Vec<u32>,
    pub boxes: Vec<StoredBox>,
    pub deleted: u64,
    index: IndexBuilder,
}

impl Columns {
    pub(crate) fn new() -> Columns {
        Columns {
            records: Vec::new(),
            ids: Vec::new(),
            id_offsets: vec![0],
            phashes: Vec::new(),
            box_offsets: vec![0],
            boxes: Vec::new(),
            deleted: 0,
            index: IndexBuilder::new(),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.records.len()
    }

    /// Adds a row, its embedding to `staged`; after an error nothing but `staged` has changed.
    pub(crate) fn push(&mut self, row: &Row<'_>, spec: &ShardSpec, staged: &mut Vec<u8>) -> Result<(), RowFault> {
        check_codes(row, spec)?;
        let detections = row.detections.unwrap_or_default();
        check_detections(detections, spec.labels.len())?;
        let mut record = RowRecord { domain: row.domain, licence: row.licence, ..RowRecord::default() };
        let stride = spec.dtype.stride(spec.dim);
        match row.embedding {
            Some(values) => {
                record.scale = encode_embedding(values, spec.dim, spec.dtype, staged)?;
                record.flags |= flags::HAS_EMBEDDING;
            }
            None => staged.resize(staged.len() + stride, 0),
        }
        self.push_id(row.id)?;
        if row.detections.is_some() {
            encode_detections(detections, &mut record, &mut self.boxes);
        }
        self.push_rest(record, row.phash);
        Ok(())
    }

    /// Adds a tombstone: the id, and nothing else.
    pub(crate) fn push_deleted(&mut self, id: &[u8], stride: usize, staged: &mut Vec<u8>) -> Result<(), RowFault> {
        self.push_id(id)?;
        staged.resize(staged.len() + stride, 0);
        let record = RowRecord { flags: flags::DELETED, ..RowRecord::default() };
        self.push_rest(record, 0);
        self.deleted += 1;
        Ok(())
    }

    fn push_id(&mut self, id: &[u8]) -> Result<(), RowFault> {
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(RowFault::BadId { length: id.len() });
        }
        self.ids.extend_from_slice(id);
        self.id_offsets.push(self.ids.len() as u64);
        if self.index.insert(&self.ids, &self.id_offsets) {
            return Ok(());
        }
        self.id_offsets.pop();
        self.ids.truncate(self.ids.len() - id.len());
        Err(RowFault::DuplicateId { id: String::from_utf8_lossy(id).into_owned() })
    }

    fn push_rest(&mut self, record: RowRecord, phash: u64) {
        self.records.push(record);
        self.phashes.push(phash);
        self.box_offsets.push(self.boxes.len() as u32);
    }

    /// Takes rows back until `rows` are left.
    pub(crate) fn truncate(&mut self, rows: usize) {
        while self.index.rows() > rows {
            self.index.remove_last(&self.ids, &self.id_offsets);
        }
        let dropped = self.records.drain(rows..);
        self.deleted -= dropped.filter(RowRecord::is_deleted).count() as u64;
        self.phashes.truncate(rows);
        self.id_offsets.truncate(rows + 1);
        self.ids.truncate(self.id_offsets[rows] as usize);
        self.box_offsets.truncate(rows + 1);
        self.boxes.truncate(self.box_offsets[rows] as usize);
    }

    /// The finished index; the columns take no more rows.
    pub(crate) fn take_slots(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.index).into_slots(&self.ids, &self.id_offsets)
    }

    /// Refuses what the format's numbers cannot count.
    pub(crate) fn check_size(&self) -> Result<(), ShardError> {
        check_counts(self.rows() as u64, self.boxes.len() as u64, self.ids.len() as u64)
    }
}

/// Rows are numbered in 32 bits less the mark of a free slot, boxes in 32, bytes of ids in 48.
fn check_counts(rows: u64, boxes: u64, id_bytes: u64) -> Result<(), ShardError> {
    let bounds = [
        ("rows", rows, u64::from(Slot::FREE)),
        ("boxes", boxes, u64::from(u32::MAX)),
        ("bytes of ids", id_bytes, (1 << 48) - 1),
    ];
    match bounds.into_iter().find(|(_, found, most)| found > most) {
        Some((what, found, wanted)) => Err(ShardError::TooLarge { what, found, wanted }),
        None => Ok(()),
    }
}

fn check_codes(row: &Row<'_>, spec: &ShardSpec) -> Result<(), RowFault> {
    let (code, domains) = (row.domain, spec.domains.len());
    if usize::from(code) >= domains {
        return Err(RowFault::UnknownDomain { code, domains });
    }
    let (code, licences) = (row.licence, spec.licences.len());
    if usize::from(code) >= licences {
        return Err(RowFault::UnknownLicence { code, licences });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_counts;

    #[test]
    fn counts_that_the_format_cannot_hold() {
        let variant = |counts: (u64, u64, u64)| check_counts(counts.0, counts.1, counts.2).map_err(|e| e.variant());
        assert_eq!(variant((u32::MAX.into(), u32::MAX.into(), (1 << 48) - 1)), Ok(()));
        assert_eq!(variant((1 << 32, 0, 0)), Err("TooLarge"));
        assert_eq!(variant((0, 1 << 32, 0)), Err("TooLarge"));
        assert_eq!(variant((0, 0, 1 << 48)), Err("TooLarge"));
    }
}
