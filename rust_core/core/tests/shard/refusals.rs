//! One refusal for each cause, by name.

use ra_guard_core::detection::Detection;
use ra_guard_core::shard::layout::MAX_BOXES;
use ra_guard_core::shard::{Dtype, RowFault, Shard, ShardError, ShardSpec, ShardWriter};
use strum::VariantNames;

use crate::fixture::{Gallery, OwnedRow, refusal, row, rows, spec};

/// What becomes of one row after a change to it.
fn push(change: impl FnOnce(&mut OwnedRow)) -> &'static str {
    let gallery = Gallery::new();
    let mut writer = ShardWriter::create(&gallery.shard("a.shard"), spec(4, Dtype::F32)).unwrap();
    let mut row = row(&mut crate::fixture::Random(5), 1, 4);
    row.embedding = Some(vec![0.5, 0.5, 0.5, 0.5]);
    change(&mut row);
    let outcome = refusal(writer.push(row.borrow()));
    assert_eq!(writer.rows(), u64::from(outcome == "accepted"));
    outcome
}

fn push_embedding(values: &[f32]) -> &'static str {
    push(|row| row.embedding = Some(values.to_vec()))
}

fn push_detection(label: u16, confidence: f32, corners: [f32; 4]) -> &'static str {
    push(|row| row.detections = Some(vec![Detection { label, confidence, corners }]))
}

#[test]
fn embeddings_that_cannot_be_compared() {
    assert_eq!(push_embedding(&[0.5, 0.5, 0.5, 0.5]), "accepted");
    assert_eq!(push_embedding(&[0.5004, 0.5, 0.5, 0.5]), "accepted");
    assert_eq!(push_embedding(&[0.5, 0.5, 0.5]), "WrongLength");
    assert_eq!(push_embedding(&[]), "WrongLength");
    assert_eq!(push_embedding(&[f32::NAN, 0.0, 0.0, 1.0]), "NotFinite");
    assert_eq!(push_embedding(&[f32::INFINITY, 0.0, 0.0, 1.0]), "NotFinite");
    assert_eq!(push_embedding(&[0.0, -0.0, 0.0, 0.0]), "ZeroNorm");
    assert_eq!(push_embedding(&[0.51, 0.5, 0.5, 0.5]), "NotUnit");
    assert_eq!(push_embedding(&[f32::MAX, 0.0, 0.0, 0.0]), "NotUnit");
}

#[test]
fn ids_and_codes_that_name_nothing() {
    assert_eq!(push(|row| row.id = vec![]), "BadId");
    assert_eq!(push(|row| row.id = vec![b'x'; 128]), "accepted");
    assert_eq!(push(|row| row.id = vec![b'x'; 129]), "BadId");
    assert_eq!(push(|row| row.domain = 2), "UnknownDomain");
    assert_eq!(push(|row| row.licence = 2), "UnknownLicence");
}

#[test]
fn an_id_twice() {
    let gallery = Gallery::new();
    let mut writer = ShardWriter::create(&gallery.shard("a.shard"), spec(4, Dtype::F32)).unwrap();
    writer.push(rows(1, 1, 4)[0].borrow()).unwrap();
    let error = writer.push(rows(1, 1, 4)[0].borrow()).unwrap_err();
    assert_eq!(error.variant(), "DuplicateId");
    assert_eq!(error.to_string(), "row 0 of the batch: id \"image-0000\" is in the shard already; write each id once");
    assert_eq!(refusal(writer.delete(&[b"image-0000"])), "DuplicateId");
}

#[test]
fn detections_that_no_detector_makes() {
    assert_eq!(push_detection(3, 1.0, [0.0, 0.0, 1.0, 1.0]), "accepted");
    assert_eq!(push_detection(4, 1.0, [0.0, 0.0, 1.0, 1.0]), "UnknownLabel");
    assert_eq!(push_detection(0, 1.1, [0.0, 0.0, 1.0, 1.0]), "BadDetection");
    assert_eq!(push_detection(0, f32::NAN, [0.0, 0.0, 1.0, 1.0]), "BadDetection");
    assert_eq!(push_detection(0, 0.5, [0.5, 0.0, 0.5, 1.0]), "BadDetection");
    assert_eq!(push_detection(0, 0.5, [0.0, 0.9, 0.5, 0.1]), "BadDetection");
    assert_eq!(push_detection(0, 0.5, [0.0, -0.1, 0.5, 0.1]), "BadDetection");
    assert_eq!(push_detection(0, 0.5, [0.0, 0.0, f32::NAN, 0.1]), "BadDetection");
    let one = Detection { label: 0, confidence: 0.5, corners: [0.0, 0.0, 1.0, 1.0] };
    assert_eq!(push(|row| row.detections = Some(vec![one; MAX_BOXES])), "accepted");
    assert_eq!(push(|row| row.detections = Some(vec![one; MAX_BOXES + 1])), "TooManyDetections");
}

#[test]
fn specs_that_no_reader_accepts() {
    let check = |change: fn(&mut ShardSpec)| {
        let mut changed = spec(4, Dtype::F32);
        change(&mut changed);
        refusal(changed.check())
    };
    assert_eq!(check(|_| ()), "accepted");
    assert_eq!(check(|spec| spec.dim = 0), "BadSpec");
    assert_eq!(check(|spec| spec.dim = 4097), "BadSpec");
    assert_eq!(check(|spec| spec.space_json = "[]".into()), "BadSpec");
    assert_eq!(check(|spec| spec.space_json = r#"{"dim":5}"#.into()), "BadSpec");
    assert_eq!(check(|spec| spec.labels[1] = "person".into()), "BadSpec");
    assert_eq!(check(|spec| spec.labels[1] = "".into()), "BadSpec");
    assert_eq!(check(|spec| spec.labels[1] = "x".repeat(65)), "BadSpec");
    assert_eq!(check(|spec| spec.domains[1] = "".into()), "BadSpec");
    assert_eq!(check(|spec| spec.licences = vec!["x".repeat(33)]), "BadSpec");
    assert_eq!(check(|spec| spec.domains = (0..257).map(|n| n.to_string()).collect()), "BadSpec");
    assert_eq!(check(|spec| spec.label_embeddings.truncate(15)), "BadSpec");
    assert_eq!(check(|spec| spec.label_embeddings[2] = 9.0), "BadSpec");
}

#[test]
fn names_that_are_taken_or_missing() {
    let gallery = Gallery::new();
    gallery.add("a.shard", spec(4, Dtype::F32), &rows(1, 3, 4));
    let taken = gallery.shard("a.shard");
    assert_eq!(refusal(ShardWriter::create(&taken, spec(4, Dtype::F32))), "AlreadyExists");
    assert_eq!(refusal(Shard::open(&gallery.shard("b.shard"))), "MissingFile");
    assert_eq!(refusal(ShardWriter::create(&gallery.path().join("no/a.shard"), spec(4, Dtype::F32))), "MissingFile");
    assert_eq!(refusal(Shard::open(gallery.path())), "Io");

    let late = gallery.shard("late.shard");
    let writer = ShardWriter::create(&late, spec(4, Dtype::F32)).unwrap();
    std::fs::write(&late, "first").unwrap();
    assert_eq!(refusal(writer.finish()), "AlreadyExists");
    assert_eq!(std::fs::read(&late).unwrap(), b"first");
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let gallery = Gallery::new();
    let mut writer = ShardWriter::create(&gallery.shard("a.shard"), spec(4, Dtype::F32)).unwrap();
    writer.push(rows(1, 1, 4)[0].borrow()).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(gallery.path().join("shards")).unwrap().count(), 0);
}

#[test]
fn every_variant_is_named_by_a_test() {
    let tests = [
        include_str!("refusals.rs"),
        include_str!("damage.rs"),
        include_str!("disk_full.rs"),
        include_str!("generations.rs"),
        include_str!("../../src/shard/columns.rs"),
    ]
    .concat();
    // A bad row goes by the name of its fault.
    let named = ShardError::VARIANTS.iter().chain(RowFault::VARIANTS).filter(|name| **name != "BadRow");
    let missing: Vec<&&str> = named.filter(|name| !tests.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
