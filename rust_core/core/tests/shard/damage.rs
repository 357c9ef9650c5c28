//! Damaged shards: refused by name, and never a panic or a read out of bounds.

use std::path::Path;

use proptest::prelude::*;
use ra_guard_core::shard::layout::{Header, PAGE, Section};
use ra_guard_core::shard::{Dtype, Generation, Handle, Shard, ShardError};
use zerocopy::FromBytes;

use crate::fixture::{Gallery, refusal, rows, spec};
use crate::reseal::reseal;

/// A whole shard's bytes.
fn intact() -> Vec<u8> {
    let gallery = Gallery::new();
    gallery.add("a.shard", spec(9, Dtype::F16), &rows(11, 24, 9));
    std::fs::read(gallery.shard("a.shard")).unwrap()
}

fn header_of(bytes: &[u8]) -> Header {
    Header::read_from_prefix(bytes).unwrap().0
}

/// Opens and verifies a file with these bytes.
fn examine(bytes: &[u8]) -> Result<(), ShardError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Shard::open(file.path())?.verify()
}

fn first_byte(bytes: &[u8], section: Section) -> usize {
    header_of(bytes).section(section).offset as usize
}

/// An intact shard after `change`, its checksums made to fit.
fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> &'static str {
    let mut bytes = intact();
    change(&mut bytes);
    reseal(&mut bytes);
    refusal(examine(&bytes))
}

#[test]
fn cut_at_every_section_boundary() {
    let bytes = intact();
    let header = header_of(&bytes);
    let mut cuts: Vec<usize> = (0..13).chain([PAGE - 1, PAGE, bytes.len() - 1]).collect();
    for section in Section::ALL {
        let entry = header.section(section);
        cuts.extend([entry.offset as usize, (entry.offset + entry.bytes) as usize]);
    }
    for cut in cuts.into_iter().filter(|cut| *cut < bytes.len()) {
        assert_eq!(refusal(examine(&bytes[..cut])), "Truncated", "cut at {cut}");
    }
    assert_eq!(refusal(examine(&bytes)), "accepted");
    assert_eq!(refusal(examine(&[&bytes[..], b"\0"].concat())), "TrailingBytes");
}

#[test]
fn files_of_another_kind_or_time() {
    assert_eq!(refusal(examine(b"PK\x03\x04 a zip file, not a shard")), "NotAShard");
    assert_eq!(refusal(examine(b"RAGSHARE")), "NotAShard");
    let with_version = |version: u32| {
        let mut bytes = intact();
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        refusal(examine(&bytes))
    };
    assert_eq!(with_version(0), "PastVersion");
    assert_eq!(with_version(1), "accepted");
    assert_eq!(with_version(2), "FutureVersion");
    assert_eq!(with_version(u32::MAX), "FutureVersion");
}

#[test]
fn a_flipped_bit_in_every_section_is_named() {
    let bytes = intact();
    for section in Section::ALL {
        let entry = *header_of(&bytes).section(section);
        for at in [entry.offset, entry.offset + entry.bytes / 2, entry.offset + entry.bytes - 1] {
            let mut flipped = bytes.clone();
            flipped[at as usize] ^= 0x10;
            match examine(&flipped).expect_err("a flipped bit is seen") {
                ShardError::ChecksumMismatch { section: named, .. } => assert_eq!(named, section.name()),
                other => panic!("{}: {other}", section.name()),
            }
        }
    }
}

#[test]
fn headers_that_lie() {
    let header_field =
        |offset: usize, value: &[u8]| resealed(|bytes| bytes[offset..offset + value.len()].copy_from_slice(value));
    assert_eq!(header_field(24, &23u64.to_le_bytes()), "OutOfBounds", "rows");
    assert_eq!(header_field(24, &u64::MAX.to_le_bytes()), "OutOfBounds", "rows");
    assert_eq!(header_field(32, &25u64.to_le_bytes()), "OutOfBounds", "deleted rows");
    assert_eq!(header_field(40, &63u64.to_le_bytes()), "OutOfBounds", "index slots");
    assert_eq!(header_field(40, &16u64.to_le_bytes()), "OutOfBounds", "index slots");
    assert_eq!(header_field(48, &0u32.to_le_bytes()), "OutOfBounds", "dim");
    assert_eq!(header_field(48, &5000u32.to_le_bytes()), "OutOfBounds", "dim");
    assert_eq!(header_field(52, &128u32.to_le_bytes()), "OutOfBounds", "stride");
    assert_eq!(header_field(56, &5000u32.to_le_bytes()), "OutOfBounds", "labels");
    assert_eq!(header_field(60, &[4]), "OutOfBounds", "dtype");
    assert_eq!(header_field(64, &[0; 16]), "Inconsistent", "space");
    assert_eq!(header_field(80, &2u32.to_le_bytes()), "OutOfBounds", "kind");
    assert_eq!(header_field(88, &4097u64.to_le_bytes()), "OutOfBounds", "offset off the page");
    assert_eq!(header_field(88, &0u64.to_le_bytes()), "OutOfBounds", "offset in the header");
    assert_eq!(header_field(88, &(u64::MAX - 4095).to_le_bytes()), "OutOfBounds", "offset beyond the file");
    assert_eq!(header_field(96, &u64::MAX.to_le_bytes()), "OutOfBounds", "bytes");
}

#[test]
fn sections_that_contradict_each_other() {
    let byte = |section: Section, at: usize, value: u8| {
        resealed(|bytes| {
            let first = first_byte(bytes, section);
            bytes[first + at] = value;
        })
    };
    assert_eq!(byte(Section::IdOffsets, 0, 1), "Inconsistent");
    assert_eq!(byte(Section::IdOffsets, 8, 0), "Inconsistent");
    assert_eq!(byte(Section::IdOffsets, 15, 0xff), "Inconsistent");
    assert_eq!(byte(Section::BoxOffsets, 0, 1), "Inconsistent");
    assert_eq!(byte(Section::BoxOffsets, 7, 0xff), "Inconsistent");
    assert_eq!(byte(Section::Boxes, 0, 200), "Inconsistent");
    assert_eq!(byte(Section::Records, 4, 9), "Inconsistent", "licence");
    assert_eq!(byte(Section::Records, 5, 9), "Inconsistent", "domain");
    assert_eq!(byte(Section::Records, 6, 15), "Inconsistent", "label count");
    assert_eq!(byte(Section::Records, 7, 4), "Inconsistent", "tombstone");
    assert_eq!(byte(Section::LabelEmbeddings, 3, 0x7f), "Inconsistent");
    assert_eq!(byte(Section::Labels, 0, b'{'), "Inconsistent");
    assert_eq!(byte(Section::Domains, 0, b' '), "Inconsistent");
    assert_eq!(byte(Section::Licences, 1, 0xff), "Inconsistent");
    assert_eq!(byte(Section::Space, 2, b'X'), "Inconsistent");
    let free_every_slot = |bytes: &mut Vec<u8>| {
        let entry = *header_of(bytes).section(Section::Index);
        bytes[entry.offset as usize..][..entry.bytes as usize].fill(0xff);
    };
    assert_eq!(resealed(free_every_slot), "Inconsistent");
    let swap_two_ids = |bytes: &mut Vec<u8>| {
        // Both ids have ten bytes: every offset still fits, only the index leads astray.
        let first = first_byte(bytes, Section::Ids);
        let (a, b) = bytes[first..first + 20].split_at_mut(10);
        a.swap_with_slice(b);
    };
    assert_eq!(resealed(swap_two_ids), "Inconsistent");
    assert_eq!(resealed(|bytes| bytes[PAGE * 2 - 1] = 1), "Inconsistent", "padding");
}

/// Everything a server does with a row, on a file that was opened and not verified.
fn use_all(gallery: &Path) -> Result<usize, ShardError> {
    let generation = Generation::open(gallery, None)?;
    let ids: Vec<Vec<u8>> = (0..48).map(|n| format!("image-{n:04}").into_bytes()).collect();
    let mut handles = Vec::new();
    generation.lookup(ids.iter().map(Vec::as_slice), &mut handles);
    let all = (0..generation.shards()[0].rows() as u32).map(|row| Handle::new(0, row));
    let mut touched = 0;
    for handle in handles.into_iter().filter(|handle| handle.is_known()).chain(all) {
        assert!(generation.contains(handle));
        let record = generation.record(handle);
        touched += record.labels().len() + generation.embedding(handle).len() + generation.id(handle).len();
        touched += generation.boxes(handle).iter().filter(|stored| stored.detection().confidence > 0.5).count();
        touched += generation.phash(handle) as usize & 1;
    }
    Ok(touched + generation.live_rows().count())
}

/// Writes the manifest that goes with a damaged shard: damage must be met by the reader of the shard itself.
fn publish_bytes(gallery: &Gallery, bytes: &[u8]) -> Result<usize, ShardError> {
    std::fs::write(gallery.shard("a.shard"), bytes).unwrap();
    gallery.publish(&["a.shard"])?;
    use_all(gallery.path())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bit_goes_unseen(at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let mut bytes = intact();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(examine(&bytes).is_err(), "bit {} of byte {}", bit, at);
    }

    /// Random bytes in random places, checksums made to fit: whatever opens can be used without a panic.
    #[test]
    fn hostile_files_do_no_harm(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..14, any::<u8>()), 1..40),
    ) {
        let mut bytes = intact();
        let header = header_of(&bytes);
        for (place, part, value) in changes {
            // As often in the header as in each section, the small ones included.
            let (start, length) = match Section::ALL.get(part) {
                Some(section) => (header.section(*section).offset, header.section(*section).bytes),
                None => (16, 592 - 16),
            };
            bytes[start as usize + place.index(length as usize)] = value;
        }
        reseal(&mut bytes);
        let gallery = Gallery::new();
        if let Err(error) = publish_bytes(&gallery, &bytes) {
            prop_assert!(["OutOfBounds", "Inconsistent", "Truncated", "TrailingBytes"].contains(&error.variant()), "{}", error);
        }
    }

    /// Only the parts that lookups follow, so that most files open.
    #[test]
    fn hostile_indexes_find_nothing_wrong(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..6, any::<u8>()), 1..200),
    ) {
        use Section::{BoxOffsets, Boxes, IdOffsets, Ids, Index, Records};
        let mut bytes = intact();
        let header = header_of(&bytes);
        for (place, part, value) in changes {
            let entry = header.section([Index, Ids, IdOffsets, Records, BoxOffsets, Boxes][part]);
            bytes[entry.offset as usize + place.index(entry.bytes as usize)] = value;
        }
        reseal(&mut bytes);
        let gallery = Gallery::new();
        prop_assert!(publish_bytes(&gallery, &bytes).is_ok());
    }
}
