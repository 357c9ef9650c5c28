//! One image as a caller gives it, and its stored form. Nothing is stored before all of it has been checked.
//!
//! Encoding is a pure function of the row: the same row gives the same bytes on every machine.

use half::f16;

use crate::detection::{COUNTED_CONFIDENCE, Detection, presence, quantise_unit};
use crate::limits::UNIT_LENGTH_TOLERANCE;
use crate::shard::error::RowFault;
use crate::shard::layout::{Dtype, LabelEntry, MAX_BOXES, RECORD_LABELS, RowRecord, StoredBox, flags};

/// What is known about one image.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// 1..=[`crate::limits::MAX_ID_BYTES`] bytes, once in a shard.
    pub id: &'a [u8],
    /// Position in the domain table.
    pub domain: u8,
    /// Position in the licence table.
    pub licence: u8,
    /// Perceptual hash, 0 when there is none.
    pub phash: u64,
    /// `(dim,)`, unit length; `None` until the image has been embedded.
    pub embedding: Option<&'a [f32]>,
    /// In any order; `None` until the detector has seen the image.
    pub detections: Option<&'a [Detection]>,
}

/// Appends the stored form of an embedding, padded to its stride; returns its scale.
///
/// The embedding must have unit length within the tolerance. It is scaled to unit length in f64 first, so that
/// what the tolerance lets through does not show in a cosine.
pub(crate) fn encode_embedding(values: &[f32], dim: usize, dtype: Dtype, out: &mut Vec<u8>) -> Result<f32, RowFault> {
    let norm = checked_norm(values, dim)?;
    let end = out.len() + dtype.stride(dim);
    let unit = values.iter().map(|value| (f64::from(*value) / norm) as f32);
    let scale = match dtype {
        Dtype::F32 => {
            out.extend(unit.flat_map(f32::to_le_bytes));
            1.0
        }
        Dtype::F16 => {
            out.extend(unit.flat_map(|value| f16::from_f32(value).to_le_bytes()));
            1.0
        }
        Dtype::I8 => {
            let largest = unit.clone().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let scale = largest / 127.0;
            // `round` goes half away from zero; the clamp catches a quotient that rounds past 127.
            out.extend(unit.map(|value| (value / scale).round().clamp(-127.0, 127.0) as i8 as u8));
            scale
        }
    };
    out.resize(end, 0);
    Ok(scale)
}

/// The values of a stored embedding: what [`encode_embedding`] kept of them.
pub(crate) fn decode_embedding(stored: &[u8], dim: usize, dtype: Dtype, scale: f32) -> Vec<f32> {
    let value = |bytes: &[u8]| match dtype {
        Dtype::F32 => bytes.try_into().map_or(f32::NAN, f32::from_le_bytes),
        Dtype::F16 => bytes.try_into().map_or(f32::NAN, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::I8 => f32::from(bytes[0] as i8) * scale,
    };
    stored.chunks_exact(dtype.bytes_per_value()).take(dim).map(value).collect()
}

/// Length of a vector that may be stored, in f64.
pub(crate) fn checked_norm(values: &[f32], dim: usize) -> Result<f64, RowFault> {
    if values.len() != dim {
        let found = values.len();
        return Err(RowFault::WrongLength { found, wanted: dim });
    }
    if let Some(position) = values.iter().position(|value| !value.is_finite()) {
        let value = values[position];
        return Err(RowFault::NotFinite { position, value });
    }
    let norm = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return Err(RowFault::ZeroNorm);
    }
    if (norm - 1.0).abs() > f64::from(UNIT_LENGTH_TOLERANCE) {
        return Err(RowFault::NotUnit { norm: norm as f32 });
    }
    Ok(norm)
}

/// Refuses detections that no detector can have made.
pub(crate) fn check_detections(detections: &[Detection], labels: usize) -> Result<(), RowFault> {
    if detections.len() > MAX_BOXES {
        return Err(RowFault::TooManyDetections { found: detections.len() });
    }
    for (position, detection) in detections.iter().enumerate() {
        let Detection { label, confidence, corners } = *detection;
        if usize::from(label) >= labels {
            return Err(RowFault::UnknownLabel { label, labels });
        }
        let [x0, y0, x1, y1] = corners;
        // A NaN is in no range and below nothing.
        let in_image = corners.iter().chain([&confidence]).all(|value| (0.0..=1.0).contains(value));
        if !(in_image && x0 < x1 && y0 < y1) {
            return Err(RowFault::BadDetection { position, confidence, corners });
        }
    }
    Ok(())
}

/// Appends the boxes by falling confidence (equal ones as given) and fills the record's labels.
///
/// The detections must have passed [`check_detections`].
pub(crate) fn encode_detections(detections: &[Detection], record: &mut RowRecord, boxes: &mut Vec<StoredBox>) {
    let mut detections = detections.to_vec();
    detections.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    boxes.extend(detections.iter().map(|detection| StoredBox {
        label: detection.label,
        confidence: quantise_unit(detection.confidence),
        corners: detection.corners.map(quantise_unit),
    }));
    // A stable sort keeps each label's boxes by falling confidence, the order in which presence is defined.
    detections.sort_by_key(|detection| detection.label);
    let mut shown: Vec<LabelEntry> = detections.chunk_by(|a, b| a.label == b.label).map(label_entry).collect();
    shown.sort_by_key(|entry| (std::cmp::Reverse(entry.presence), entry.label()));
    shown.truncate(RECORD_LABELS);
    record.labels[..shown.len()].copy_from_slice(&shown);
    record.label_count = shown.len() as u8;
    record.flags |= flags::HAS_DETECTIONS;
}

/// The entry for all boxes of one label.
fn label_entry(boxes: &[Detection]) -> LabelEntry {
    let counted = boxes.iter().filter(|detection| detection.confidence >= COUNTED_CONFIDENCE).count();
    LabelEntry::new(boxes[0].label, counted, quantise_unit(presence(boxes)))
}
