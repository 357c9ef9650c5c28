//! What is written comes back, in every dtype, within the error that the dtype allows.

use half::f16;
use proptest::prelude::*;
use ra_guard_core::detection::{Detection, presence, quantise_unit};
use ra_guard_core::shard::layout::RECORD_LABELS;
use ra_guard_core::shard::{Dtype, Generation, Handle};
use zerocopy::IntoBytes;

use crate::fixture::{Gallery, OwnedRow, Random, spec, unit_vector};

/// The embedding that a row stands for.
fn stored_embedding(generation: &Generation, handle: Handle) -> Vec<f32> {
    let (bytes, scale) = (generation.embedding(handle), generation.record(handle).scale);
    let values: Vec<f32> = match generation.dtype() {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
        Dtype::I8 => bytes.iter().map(|b| f32::from(*b as i8)).collect(),
    };
    assert!(values[generation.dim()..].iter().all(|value| *value == 0.0), "padding is zero");
    values[..generation.dim()].iter().map(|value| value * scale).collect()
}

/// Largest error of one value: of f32 the rounding of the normalisation, of f16 half a unit in the last of 11 bits
/// (or of the subnormal step), of i8 half a step.
fn tolerance(dtype: Dtype, value: f32, scale: f32) -> f32 {
    match dtype {
        Dtype::F32 => value.abs() * 1e-3,
        Dtype::F16 => value.abs() * (1e-3 + 1.0 / 2048.0) + 3e-8,
        Dtype::I8 => value.abs() * 1e-3 + 0.5001 * scale,
    }
}

fn any_detection() -> impl Strategy<Value = Detection> {
    (0u16..4, 0.0f32..=1.0, 0.0f32..0.9, 0.0f32..0.9, 0.001f32..0.1, 0.001f32..0.1)
        .prop_map(|(label, confidence, x, y, w, h)| Detection { label, confidence, corners: [x, y, x + w, y + h] })
}

fn any_row(dim: usize) -> impl Strategy<Value = OwnedRow> {
    (
        proptest::collection::vec(any::<u8>(), 1..=128),
        (0u8..2, 0u8..2, any::<u64>()),
        proptest::option::of(any::<u64>()),
        proptest::option::of(proptest::collection::vec(any_detection(), 0..20)),
    )
        .prop_map(move |(id, (domain, licence, phash), seed, detections)| OwnedRow {
            id,
            domain,
            licence,
            phash,
            embedding: seed.map(|seed| unit_vector(&mut Random(seed), dim)),
            detections,
        })
}

fn check_detections(generation: &Generation, handle: Handle, given: &[Detection]) {
    let mut given = given.to_vec();
    given.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let boxes = generation.boxes(handle);
    assert_eq!(boxes.len(), given.len());
    for (stored, given) in boxes.iter().zip(&given) {
        assert_eq!((stored.label, stored.confidence), (given.label, quantise_unit(given.confidence)));
        assert_eq!(stored.corners, given.corners.map(quantise_unit));
        assert!((stored.detection().confidence - given.confidence).abs() <= 0.6 / 65535.0);
    }
    let record = generation.record(handle);
    let mut shown: Vec<u16> = given.iter().map(|d| d.label).collect();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(record.labels().len(), shown.len().min(RECORD_LABELS));
    for entry in record.labels() {
        let of_label: Vec<Detection> = given.iter().filter(|d| d.label == entry.label()).copied().collect();
        assert_eq!(entry.presence, quantise_unit(presence(&of_label)));
        assert_eq!(usize::from(entry.count()), of_label.iter().filter(|d| d.confidence >= 0.5).count().min(15));
    }
    assert!(record.labels().is_sorted_by(|a, b| (b.presence, a.label()) < (a.presence, b.label())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back(
        dtype in proptest::sample::select(Dtype::ALL.to_vec()),
        (dim, rows) in (1usize..70).prop_flat_map(|dim| (Just(dim), proptest::collection::vec(any_row(dim), 0..40))),
    ) {
        let mut rows = rows;
        let mut seen = std::collections::HashSet::new();
        rows.retain(|row| seen.insert(row.id.clone()));
        let gallery = Gallery::new();
        gallery.add("a.shard", spec(dim, dtype), &rows);
        gallery.publish(&["a.shard"]).unwrap();
        let generation = gallery.open();
        generation.verify().unwrap();
        prop_assert_eq!((generation.rows() as usize, generation.dim(), generation.dtype()), (rows.len(), dim, dtype));

        let mut handles = Vec::new();
        generation.lookup(rows.iter().map(|row| row.id.as_slice()), &mut handles);
        for (number, (row, handle)) in rows.iter().zip(handles).enumerate() {
            prop_assert_eq!(handle, Handle::new(0, number as u32));
            prop_assert_eq!(generation.id(handle), row.id.as_slice());
            prop_assert_eq!(generation.phash(handle), row.phash);
            let record = generation.record(handle);
            prop_assert_eq!((record.domain, record.licence), (row.domain, row.licence));
            prop_assert_eq!(record.has_embedding(), row.embedding.is_some());
            prop_assert_eq!(record.has_detections(), row.detections.is_some());
            check_detections(&generation, handle, row.detections.as_deref().unwrap_or_default());
            let wanted = row.embedding.clone().unwrap_or(vec![0.0; dim]);
            for (found, wanted) in stored_embedding(&generation, handle).iter().zip(&wanted) {
                prop_assert!((found - wanted).abs() <= tolerance(dtype, *wanted, record.scale), "{} {}", found, wanted);
            }
        }
    }
}

#[test]
fn labels_beyond_the_record_keep_their_boxes() {
    let mut wide = spec(4, Dtype::F32);
    wide.labels = (0..20).map(|label| format!("label {label}")).collect();
    wide.label_embeddings = (0..20).flat_map(|_| [1.0, 0.0, 0.0, 0.0]).collect();
    let detections = (0..20)
        .map(|label| Detection { label, confidence: 0.05 * f32::from(label + 1), corners: [0.0, 0.0, 1.0, 1.0] })
        .collect();
    let row = OwnedRow { detections: Some(detections), ..crate::fixture::rows(1, 1, 4).remove(0) };
    let gallery = Gallery::new();
    gallery.add("a.shard", wide, &[row]);
    gallery.publish(&["a.shard"]).unwrap();
    let generation = gallery.open();
    let handle = Handle::new(0, 0);
    let kept: Vec<u16> = generation.record(handle).labels().iter().map(|entry| entry.label()).collect();
    assert_eq!(kept, (6..20).rev().collect::<Vec<u16>>());
    assert_eq!(generation.boxes(handle).len(), 20);
    assert_eq!(size_of_val(generation.record(handle)), generation.record(handle).as_bytes().len());
}

#[test]
fn a_batch_is_added_whole_or_not_at_all() {
    let gallery = Gallery::new();
    let rows = crate::fixture::rows(3, 40, 8);
    gallery.add("plain.shard", spec(8, Dtype::I8), &rows);

    let mut writer =
        ra_guard_core::shard::ShardWriter::create(&gallery.shard("bumpy.shard"), spec(8, Dtype::I8)).unwrap();
    for batch in rows.chunks(7) {
        // A batch whose last row repeats its first, and enough others to make the index grow and shrink again.
        let mut bad: Vec<OwnedRow> = crate::fixture::rows(9, 300, 8);
        bad.iter_mut().for_each(|row| row.id.extend_from_slice(b"-bad"));
        bad.extend_from_slice(batch);
        bad.push(batch[0].clone());
        let before = writer.rows();
        let outcome = writer.append(&bad.iter().map(OwnedRow::borrow).collect::<Vec<_>>());
        assert_eq!(crate::fixture::refusal(outcome), "DuplicateId");
        assert_eq!(writer.rows(), before);
        writer.append(&batch.iter().map(OwnedRow::borrow).collect::<Vec<_>>()).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(
        std::fs::read(gallery.shard("plain.shard")).unwrap(),
        std::fs::read(gallery.shard("bumpy.shard")).unwrap()
    );
}
