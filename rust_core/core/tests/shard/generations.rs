//! Shards that answer as one, and the folder they are published in.

use ra_guard_core::shard::{Dtype, Generation, Handle, PublisherLock, ShardSpec, ShardWriter, publish_manifest};

use crate::fixture::{Gallery, OwnedRow, refusal, rows, spec};

fn look_up(generation: &Generation, ids: &[&str]) -> Vec<Handle> {
    let mut handles = Vec::new();
    generation.lookup(ids.iter().map(|id| id.as_bytes()), &mut handles);
    handles
}

/// An old shard of ten rows; a newer one that replaces row 3, deletes rows 5 and 77 (never there) and adds row 10;
/// the newest brings row 5 back.
fn three_shards() -> Gallery {
    let gallery = Gallery::new();
    gallery.add("old.shard", spec(4, Dtype::F16), &rows(1, 10, 4));
    let eleven = rows(2, 11, 4);
    let mut writer = ShardWriter::create(&gallery.shard("mid.shard"), spec(4, Dtype::F16)).unwrap();
    writer.append(&[eleven[3].borrow(), eleven[10].borrow()]).unwrap();
    writer.delete(&[b"image-0005", b"image-0077"]).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 4);
    gallery.add("new.shard", spec(4, Dtype::F16), &rows(3, 6, 4)[5..]);
    gallery
}

#[test]
fn newer_rows_hide_older_ones() {
    let gallery = three_shards();
    gallery.publish(&["mid.shard", "old.shard"]).unwrap();
    let two = gallery.open();
    two.verify().unwrap();
    let asked = ["image-0002", "image-0003", "image-0005", "image-0010", "image-0077", "image-0099"];
    let unknown = Handle::UNKNOWN;
    let (row2, row3, row10) = (Handle::new(1, 2), Handle::new(0, 0), Handle::new(0, 1));
    assert_eq!(look_up(&two, &asked), [row2, row3, unknown, row10, unknown, unknown]);
    assert_eq!(two.phash(row3), rows(2, 4, 4)[3].phash);
    assert_eq!(two.rows(), 10);

    gallery.publish(&["new.shard", "mid.shard", "old.shard"]).unwrap();
    let three = gallery.open();
    let shifted = [Handle::new(2, 2), Handle::new(1, 0), Handle::new(0, 0), Handle::new(1, 1), unknown, unknown];
    assert_eq!(look_up(&three, &asked), shifted);
    assert_eq!(three.rows(), 11);
    let files: Vec<&str> = three.manifest().shards.iter().map(|entry| entry.file.as_str()).collect();
    assert_eq!(files, ["new.shard", "mid.shard", "old.shard"]);

    // The earlier generation is still what it was, by number or already open.
    assert_eq!(look_up(&Generation::open(gallery.path(), Some(1)).unwrap(), &asked), look_up(&two, &asked));
}

#[test]
fn live_rows_are_what_lookups_find() {
    let gallery = three_shards();
    gallery.publish(&["new.shard", "mid.shard", "old.shard"]).unwrap();
    let generation = gallery.open();
    let live: Vec<Handle> = generation.live_rows().collect();
    assert_eq!(live.len() as u64, generation.rows());
    let ids: Vec<&str> = live.iter().map(|handle| std::str::from_utf8(generation.id(*handle)).unwrap()).collect();
    assert_eq!(look_up(&generation, &ids), live);
    let hidden = (0..3).flat_map(|shard| (0..10).map(move |row| Handle::new(shard, row)));
    for handle in hidden.filter(|handle| generation.contains(*handle) && !live.contains(handle)) {
        let id = std::str::from_utf8(generation.id(handle)).unwrap();
        assert_ne!(look_up(&generation, &[id]), [handle]);
    }
}

#[test]
fn a_generation_can_be_warmed() {
    let gallery = three_shards();
    gallery.publish(&["old.shard"]).unwrap();
    let generation = gallery.open();
    assert_eq!(generation.populate(), generation.bytes());
    assert_eq!(generation.resident(), 1.0);
    assert_eq!((generation.dim(), generation.stride(), generation.dtype()), (4, 64, Dtype::F16));
    assert_eq!(generation.space_json(), spec(4, Dtype::F16).space_json);
    assert_eq!(generation.space_fingerprint().len(), 32);
    assert_eq!(generation.label_embeddings(), spec(4, Dtype::F16).label_embeddings);
}

/// What becomes of publishing an intact shard below one whose spec was changed.
fn publish_beside(change: impl FnOnce(&mut ShardSpec)) -> &'static str {
    let gallery = Gallery::new();
    gallery.add("old.shard", spec(4, Dtype::F16), &rows(1, 2, 4));
    let mut changed = spec(4, Dtype::F16);
    change(&mut changed);
    gallery.add("new.shard", changed, &[]);
    let outcome = refusal(gallery.publish(&["new.shard", "old.shard"]));
    assert_eq!(gallery.path().join("CURRENT").exists(), outcome == "accepted");
    outcome
}

#[test]
fn shards_that_do_not_fit_together() {
    assert_eq!(publish_beside(|_| ()), "accepted");
    assert_eq!(publish_beside(|spec| spec.space_json = r#"{"name":"other"}"#.into()), "SpaceMismatch");
    assert_eq!(publish_beside(|spec| spec.dtype = Dtype::I8), "DtypeMismatch");
    assert_eq!(publish_beside(|spec| spec.labels[2] = "cup".into()), "LabelsMismatch");
    assert_eq!(
        publish_beside(|spec| {
            spec.labels.pop();
            spec.label_embeddings.truncate(12)
        }),
        "LabelsMismatch"
    );
    assert_eq!(publish_beside(|spec| spec.label_embeddings.rotate_left(4)), "LabelsMismatch");
    assert_eq!(publish_beside(|spec| spec.domains.push("maps".into())), "accepted");
    assert_eq!(publish_beside(|spec| spec.domains.truncate(1)), "accepted");
    assert_eq!(publish_beside(|spec| spec.domains.swap(0, 1)), "CodesMismatch");
    assert_eq!(publish_beside(|spec| spec.licences.insert(0, "CC0".into())), "CodesMismatch");
}

#[test]
fn the_longest_table_names_every_code() {
    let gallery = Gallery::new();
    let mut longer = spec(4, Dtype::F16);
    longer.domains.push("maps".into());
    let row = OwnedRow { domain: 2, ..rows(1, 1, 4).remove(0) };
    gallery.add("new.shard", longer, &[row]);
    gallery.add("old.shard", spec(4, Dtype::F16), &rows(1, 2, 4)[1..]);
    for order in [["new.shard", "old.shard"], ["old.shard", "new.shard"]] {
        gallery.publish(&order).unwrap();
        let generation = gallery.open();
        let handle = look_up(&generation, &["image-0000"])[0];
        assert_eq!(generation.domains()[usize::from(generation.record(handle).domain)], "maps");
        assert_eq!(generation.licences(), ["", "CC-BY"]);
    }
}

#[test]
fn numbers_rise_past_what_was_left_over() {
    let gallery = three_shards();
    assert_eq!(gallery.publish(&["old.shard"]).unwrap(), 1);
    assert_eq!(gallery.publish(&["old.shard"]).unwrap(), 2);
    // A publisher that was killed before it could move CURRENT leaves a manifest, and its number is used up.
    std::fs::write(gallery.path().join("CURRENT"), "1\n").unwrap();
    assert_eq!(gallery.open().number(), 1);
    assert_eq!(gallery.publish(&["old.shard"]).unwrap(), 3);
    assert_eq!(gallery.open().number(), 3);
    assert_eq!(gallery.open().manifest().created_unix_s, 1_700_000_000);
}

#[test]
fn one_publisher_at_a_time() {
    let gallery = three_shards();
    let lock = PublisherLock::acquire(gallery.path()).unwrap();
    assert_eq!(refusal(gallery.publish(&["old.shard"])), "Locked");
    assert_eq!(lock.publish(&["old.shard"], 0).unwrap(), 1);
    drop(lock);
    assert_eq!(gallery.publish(&["old.shard"]).unwrap(), 2);
}

#[test]
fn a_shard_being_written_is_not_swept() {
    let gallery = three_shards();
    let mut writer = ShardWriter::create(&gallery.shard("slow.shard"), spec(4, Dtype::F16)).unwrap();
    std::fs::write(gallery.shard("dead.shard.1.tmp"), "left by a killed writer").unwrap();
    gallery.publish(&["old.shard"]).unwrap();
    assert!(!gallery.shard("dead.shard.1.tmp").exists());
    writer.push(rows(1, 1, 4)[0].borrow()).unwrap();
    writer.finish().unwrap();
    assert_eq!(gallery.publish(&["slow.shard"]).unwrap(), 2);
}

#[test]
fn names_that_cannot_be_published() {
    let gallery = three_shards();
    assert_eq!(refusal(gallery.publish(&["gone.shard"])), "MissingFile");
    assert_eq!(refusal(gallery.publish(&["../shards/old.shard"])), "BadManifest");
    assert_eq!(refusal(gallery.publish(&[".."])), "BadManifest");
    assert_eq!(refusal(gallery.publish(&["old.shard", "old.shard"])), "BadManifest");
    assert_eq!(refusal(publish_manifest(gallery.path(), &[] as &[&str], 0)), "BadManifest");
    assert_eq!(refusal(Generation::open(gallery.path(), None)), "NoGeneration");
}

#[test]
fn manifests_that_were_touched() {
    let gallery = three_shards();
    gallery.publish(&["mid.shard", "old.shard"]).unwrap();
    let open = || refusal(Generation::open(gallery.path(), None));
    let manifest = gallery.path().join("generations/0000000001.json");
    let intact = std::fs::read(&manifest).unwrap();
    for at in 0..intact.len() {
        let mut flipped = intact.clone();
        flipped[at] ^= 1;
        std::fs::write(&manifest, &flipped).unwrap();
        assert_eq!(open(), "BadManifest", "byte {at}");
        std::fs::write(&manifest, &intact[..at]).unwrap();
        assert_eq!(open(), "BadManifest", "cut at {at}");
    }
    std::fs::write(&manifest, &intact).unwrap();
    assert_eq!(open(), "accepted");

    std::fs::copy(&manifest, gallery.path().join("generations/0000000002.json")).unwrap();
    assert_eq!(refusal(Generation::open(gallery.path(), Some(2))), "BadManifest");
    assert_eq!(refusal(Generation::open(gallery.path(), Some(3))), "MissingFile");
    for nonsense in ["", "one\n", "-1\n", "99999999999999999999\n"] {
        std::fs::write(gallery.path().join("CURRENT"), nonsense).unwrap();
        assert_eq!(open(), "BadManifest", "{nonsense:?}");
    }
}

#[test]
fn shards_that_were_exchanged() {
    let gallery = three_shards();
    gallery.publish(&["mid.shard", "old.shard"]).unwrap();
    std::fs::copy(gallery.shard("new.shard"), gallery.shard("old.shard")).unwrap();
    assert_eq!(refusal(Generation::open(gallery.path(), None)), "ChecksumMismatch");
    std::fs::remove_file(gallery.shard("old.shard")).unwrap();
    assert_eq!(refusal(Generation::open(gallery.path(), None)), "MissingFile");
}

#[test]
fn only_shards_that_nobody_checked_are_read() {
    let gallery = three_shards();
    gallery.publish(&["old.shard"]).unwrap();
    let serving = gallery.open();
    serving.verify_checksums(None).unwrap();
    gallery.publish(&["new.shard", "old.shard"]).unwrap();

    for (damaged, beside_what_serves) in [("new.shard", "ChecksumMismatch"), ("old.shard", "accepted")] {
        let intact = std::fs::read(gallery.shard(damaged)).unwrap();
        let mut flipped = intact.clone();
        flipped[4096] ^= 1; // of the first section, which open does not read
        replace(&gallery.shard(damaged), &flipped);
        let next = gallery.open();
        assert_eq!(refusal(next.verify_checksums(None)), "ChecksumMismatch");
        assert_eq!(refusal(next.verify_checksums(Some(&serving))), beside_what_serves);
        replace(&gallery.shard(damaged), &intact);
    }
}

/// A new file under the name: the one that is mapped stays as it is.
fn replace(path: &std::path::Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
