//! Shard files of any content: refused or usable, never a panic or a read out of bounds.
//!
//! An input is a list of patches to the golden shard, six bytes each: position (u32), value, and what to do with it.
//! Checksums are made to fit afterwards, or no input would get past the header; a first byte of zero leaves them as
//! they are and takes the rest of the input as the whole file.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use ra_guard_core::shard::Shard;
use ra_guard_core::shard::index::Wave;

#[path = "../../core/tests/shard/reseal.rs"]
mod reseal;

const GOLDEN: &[u8] = include_bytes!("../../../tests/vectors/shard-v1.shard");

/// The file that an input stands for.
fn file_of(input: &[u8]) -> Vec<u8> {
    let Some((0, raw)) = input.split_first() else {
        return patched(input.get(1..).unwrap_or_default());
    };
    raw.to_vec()
}

fn patched(patches: &[u8]) -> Vec<u8> {
    let mut bytes = GOLDEN.to_vec();
    for patch in patches.chunks_exact(6) {
        let position = u32::from_le_bytes([patch[0], patch[1], patch[2], patch[3]]) as usize % bytes.len();
        match patch[5] {
            0 => bytes.truncate(position.max(1)),
            1..=128 => bytes[position] = patch[4],
            _ => bytes[position] ^= patch[4],
        }
    }
    reseal::reseal(&mut bytes);
    bytes
}

/// Everything a server does with an opened shard.
fn use_all(shard: &Shard) {
    let asked: [&[u8]; 5] = [b"first", "zwölf".as_bytes(), b"\x00\xff", b"gone", b"unknown"];
    let mut wave = Wave::new();
    wave.refill(&mut asked.into_iter());
    wave.search(0, &shard.index());
    let found: Vec<usize> = wave.rows().iter().flatten().map(|(_, row)| *row as usize).collect();
    for row in found.into_iter().chain(0..shard.rows()) {
        std::hint::black_box((shard.id(row), shard.embedding(row), shard.phash(row)));
        std::hint::black_box((shard.boxes(row), shard.index().records[row].labels()));
    }
}

fuzz_target!(|input: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&file_of(input)).expect("room for a small file");
    if let Ok(shard) = Shard::open(file.path()) {
        use_all(&shard);
        // What verifies, too, may be wrong only in ways that no reader can see.
        let _ = shard.verify();
    }
});
