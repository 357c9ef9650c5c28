//! A disk that fills up: named, nothing published, nothing left over.
//!
//! The limit is real: a shell sets RLIMIT_FSIZE and ignores SIGXFSZ, then becomes this test binary again.

use std::path::Path;
use std::process::Command;

use ra_guard_core::shard::{Dtype, ShardWriter};

use crate::fixture::{Gallery, OwnedRow, refusal, rows, spec};

const GALLERY: &str = "RA_GUARD_TEST_GALLERY";

fn borrowed(rows: &[OwnedRow]) -> Vec<ra_guard_core::shard::Row<'_>> {
    rows.iter().map(OwnedRow::borrow).collect()
}

/// Writes under the limit of 512 KiB a file: too many embeddings at once, then too many columns, then few rows.
#[test]
#[ignore = "runs as the child of a_full_disk_is_named_and_harmless"]
fn write_into_a_limit() {
    let Some(gallery) = std::env::var_os(GALLERY) else {
        return;
    };
    let shards = Path::new(&gallery).join("shards");
    let many = rows(4, 2000, 128);
    let wide = || spec(128, Dtype::F32);

    let mut writer = ShardWriter::create(&shards.join("embeddings.shard"), wide()).unwrap();
    writer.append(&borrowed(&many[..3])).unwrap();
    assert_eq!(refusal(writer.append(&borrowed(&many[3..]))), "DiskFull");
    assert_eq!(writer.rows(), 3);
    // The rows that failed were taken back: some of them fit now.
    writer.append(&borrowed(&many[3..9])).unwrap();
    writer.finish().unwrap();

    let mut writer = ShardWriter::create(&shards.join("columns.shard"), wide()).unwrap();
    writer.append(&borrowed(&many[..900])).unwrap();
    assert_eq!(refusal(writer.finish()), "DiskFull");
}

#[test]
fn a_full_disk_is_named_and_harmless() {
    let gallery = Gallery::new();
    gallery.add("old.shard", spec(128, Dtype::F32), &rows(1, 5, 128));
    gallery.publish(&["old.shard"]).unwrap();
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "disk_full::write_into_a_limit", "--ignored", "--nocapture"])
        .env(GALLERY, gallery.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));

    let mut left: Vec<_> =
        std::fs::read_dir(gallery.path().join("shards")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["embeddings.shard", "old.shard"]);
    gallery.open().verify().unwrap();
    assert_eq!(gallery.publish(&["embeddings.shard"]).unwrap(), 2);
    let generation = gallery.open();
    generation.verify().unwrap();
    assert_eq!(generation.rows(), 9);
}
