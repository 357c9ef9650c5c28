//! Lookups against a hash map, unknown ids and ids that collide included.

use std::collections::HashMap;

use proptest::prelude::*;
use ra_guard_core::shard::layout::{hash_of, tag_of};
use ra_guard_core::shard::{Dtype, Handle};

use crate::fixture::{Gallery, OwnedRow, rows, spec};

fn row_with(id: &[u8]) -> OwnedRow {
    OwnedRow { id: id.to_vec(), embedding: None, detections: None, ..rows(1, 1, 1).remove(0) }
}

/// A published gallery with one shard of these ids.
fn gallery_of(ids: &[&[u8]]) -> Gallery {
    let gallery = Gallery::new();
    gallery.add("a.shard", spec(1, Dtype::I8), &ids.iter().map(|id| row_with(id)).collect::<Vec<_>>());
    gallery.publish(&["a.shard"]).unwrap();
    gallery
}

fn look_up(gallery: &Gallery, ids: &[&[u8]]) -> Vec<Handle> {
    let mut handles = vec![Handle::new(9, 9); 3];
    gallery.open().lookup(ids.iter().copied(), &mut handles);
    handles
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_hash_map(
        // A small alphabet makes prefixes, repeats of the request and near misses common.
        ids in proptest::collection::hash_set(proptest::collection::vec(0u8..3, 1..7), 0..400),
        asked in proptest::collection::vec(proptest::collection::vec(0u8..3, 1..7), 0..400),
    ) {
        let ids: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        let asked: Vec<&[u8]> = asked.iter().map(Vec::as_slice).chain(ids.iter().copied()).collect();
        let known: HashMap<&[u8], u32> = ids.iter().copied().zip(0..).collect();
        let wanted: Vec<Handle> =
            asked.iter().map(|id| known.get(id).map_or(Handle::UNKNOWN, |row| Handle::new(0, *row))).collect();
        prop_assert_eq!(look_up(&gallery_of(&ids), &asked), wanted);
    }
}

/// Pairs of ids of one length whose tags are equal, so that only the id bytes tell them apart.
fn colliding_pairs() -> Vec<[Vec<u8>; 2]> {
    let mut by_tag: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut pairs = Vec::new();
    for number in 0..300_000 {
        let id = format!("{number:08}").into_bytes();
        if let Some(other) = by_tag.insert(tag_of(hash_of(&id)), id.clone()) {
            pairs.push([other, id]);
        }
    }
    pairs
}

#[test]
fn equal_tags_are_told_apart() {
    let pairs = colliding_pairs();
    assert!(pairs.len() >= 5, "about ten of 300,000 ids collide in 32 bits: {}", pairs.len());
    // In a table of four slots a quarter of the pairs begins to probe at the same one.
    assert!(pairs.iter().any(|[a, b]| hash_of(a) % 4 == hash_of(b) % 4));
    for [a, b] in &pairs {
        assert_eq!(look_up(&gallery_of(&[a]), &[a, b]), [Handle::new(0, 0), Handle::UNKNOWN]);
        assert_eq!(look_up(&gallery_of(&[a, b]), &[b, a]), [Handle::new(0, 1), Handle::new(0, 0)]);
    }
    let all: Vec<&[u8]> = pairs.iter().flatten().map(Vec::as_slice).collect();
    let rows: Vec<Handle> = (0..all.len() as u32).map(|row| Handle::new(0, row)).collect();
    assert_eq!(look_up(&gallery_of(&all), &all), rows);
}

#[test]
fn prefixes_empty_ids_and_empty_shards() {
    let gallery = gallery_of(&[b"ab", b"abc", b"c"]);
    let (ab, abc, c) = (Handle::new(0, 0), Handle::new(0, 1), Handle::new(0, 2));
    let asked: [&[u8]; 7] = [b"a", b"", b"abc", b"ab", b"bc", b"c", b"abcc"];
    let unknown = Handle::UNKNOWN;
    assert_eq!(look_up(&gallery, &asked), [unknown, unknown, abc, ab, unknown, c, unknown]);
    assert_eq!(look_up(&gallery_of(&[]), &asked), [unknown; 7]);
    assert!(look_up(&gallery, &[]).is_empty());
}

#[test]
fn a_lookup_with_room_does_not_allocate() {
    let ids: Vec<Vec<u8>> = (0..1000).map(|n| format!("id-{n}").into_bytes()).collect();
    let gallery = gallery_of(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let generation = gallery.open();
    let mut handles = Vec::with_capacity(1000);
    let room = handles.as_ptr();
    for _ in 0..3 {
        generation.lookup(ids.iter().map(Vec::as_slice), &mut handles);
        assert_eq!((handles.len(), handles.capacity(), handles.as_ptr()), (1000, 1000, room));
    }
}
