//! The committed file of each format version: today's reader reads it, today's writer still writes it.
//!
//! `RA_GUARD_WRITE_GOLDEN=1 cargo test --test shard golden` writes the file of the current version anew.

use std::path::{Path, PathBuf};

use half::f16;
use ra_guard_core::detection::Detection;
use ra_guard_core::shard::{Dtype, Row, Shard, ShardSpec, ShardWriter, StoredBox};

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/shard-v1.shard")
}

fn detection(label: u16, confidence: f32, corners: [f32; 4]) -> Detection {
    Detection { label, confidence, corners }
}

fn write_golden(path: &Path) {
    let spec = ShardSpec {
        dim: 3,
        dtype: Dtype::F16,
        space_json: r#"{"cosine_range":[0.1,0.4],"dim":3,"name":"golden"}"#.into(),
        labels: vec!["dog".into(), "cat".into()],
        label_embeddings: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        domains: vec!["photos".into()],
        licences: vec!["".into(), "CC-BY-4.0".into()],
    };
    let mut writer = ShardWriter::create(path, spec).unwrap();
    let detections = [
        detection(0, 0.25, [0.0, 0.0, 0.5, 1.0]),
        detection(1, 1.0, [0.0, 0.0, 1.0, 1.0]),
        detection(0, 0.5, [0.25, 0.25, 0.75, 0.75]),
    ];
    let plain =
        Row { id: b"first", domain: 0, licence: 1, phash: 0x0123_4567_89ab_cdef, embedding: None, detections: None };
    let first = Row { embedding: Some(&[0.6, 0.0, -0.8]), detections: Some(&detections), ..plain };
    let cold = Row { id: "zwölf".as_bytes(), licence: 0, phash: 0, ..plain };
    let empty = Row { id: b"\x00\xff", embedding: Some(&[0.0, 1.0, 0.0]), detections: Some(&[]), ..plain };
    writer.append(&[first, cold, empty]).unwrap();
    writer.delete(&[b"gone"]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn the_same_rows_give_the_committed_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("golden.shard");
    write_golden(&path);
    let written = std::fs::read(&path).unwrap();
    if std::env::var_os("RA_GUARD_WRITE_GOLDEN").is_some() {
        std::fs::write(golden_path(), &written).unwrap();
    }
    let committed = std::fs::read(golden_path()).unwrap();
    let differs = written.iter().zip(&committed).position(|(a, b)| a != b);
    assert_eq!((differs, written.len()), (None, committed.len()), "a changed format needs a new version");
}

#[test]
fn version_1_reads_as_it_was_written() {
    let shard = Shard::open(&golden_path()).unwrap();
    shard.verify().unwrap();
    assert_eq!((shard.header().version, shard.rows(), shard.header().deleted_rows), (1, 4, 1));
    assert_eq!((shard.dtype(), shard.header().dim, shard.header().stride), (Dtype::F16, 3, 64));
    assert_eq!(shard.space_json(), r#"{"cosine_range":[0.1,0.4],"dim":3,"name":"golden"}"#);
    assert_eq!((shard.labels(), shard.domains()), (&["dog".into(), "cat".into()][..], &["photos".into()][..]));
    assert_eq!(shard.licences(), ["", "CC-BY-4.0"]);
    assert_eq!(shard.label_embeddings(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    let ids: Vec<&[u8]> = (0..4).map(|row| shard.id(row)).collect();
    assert_eq!(ids, [b"first".as_slice(), "zwölf".as_bytes(), b"\x00\xff", b"gone"]);
    let rows: Vec<Option<u32>> = ids.iter().map(|id| shard.index().row_of(id)).collect();
    assert_eq!(rows, [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(shard.index().row_of(b"zwolf"), None);
}

#[test]
fn version_1_keeps_its_features() {
    let shard = Shard::open(&golden_path()).unwrap();
    let records = shard.index().records;
    let flags: Vec<u8> = records.iter().map(|record| record.flags).collect();
    assert_eq!(flags, [3, 0, 3, 4]);
    let first = &records[0];
    assert_eq!((first.scale, first.licence, first.domain), (1.0, 1, 0));
    // The cat fills the image: 1. The dogs: 1 - (1 - 0.5 * 0.75) * (1 - 0.25 * 0.8002) = 0.50003.
    let shown: Vec<(u16, u16, u16)> = first.labels().iter().map(|e| (e.label(), e.count(), e.presence)).collect();
    assert_eq!(shown, [(1, 1, 65535), (0, 1, 32770)]);
    assert!(records[2].labels().is_empty());
    let half = StoredBox { label: 0, confidence: 32768, corners: [16384, 16384, 49151, 49151] };
    assert_eq!(shard.boxes(0)[1], half);
    assert_eq!(shard.boxes(0).iter().map(|stored| stored.label).collect::<Vec<_>>(), [1, 0, 0]);
    let embedding: Vec<u8> = [0.6, 0.0, -0.8].iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
    assert_eq!(shard.embedding(0)[..6], embedding);
    assert_eq!(shard.embedding(1), [0; 64]);
    assert_eq!(shard.phash(0), 0x0123_4567_89ab_cdef);
}
