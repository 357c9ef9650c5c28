//! Candidate log segments of any bytes: intact records, a torn tail or an error, never a panic.
//!
//! The first byte says what the rest is: a whole file, frames behind a good header, or the payload of a good frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ra_guard_core::log::{Record, Segment};

fn with_header(frames: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 64];
    bytes[..9].copy_from_slice(b"RAGCLOG\n\x01");
    bytes[24] = b'w';
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    [&bytes[..], frames].concat()
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let header = [length, !length, crc32fast::hash(payload)].map(u32::to_le_bytes);
    [header.as_flattened(), payload].concat()
}

fn read(bytes: &[u8]) {
    let Ok(segment) = Segment::parse(bytes) else { return };
    assert!(segment.writer().chars().count() <= 32);
    let mut records = segment.records();
    let mut errors = 0;
    for record in records.by_ref() {
        match record {
            Ok(record) => decode(record),
            Err(_) => errors += 1,
        }
    }
    assert!(errors <= 1 && (errors == 1) != records.ending().is_some());
    assert!(records.intact_bytes() <= bytes.len());
}

fn decode(record: &[u8]) {
    let Ok(record) = Record::decode(record) else { return };
    assert!(record.ranking.iter().all(|position| usize::from(position) < record.candidates));
    if let Some(columns) = record.columns {
        assert!(columns.in_order().iter().all(|column| column.iter().len() == record.candidates));
    }
    if let Some(pool) = record.pool {
        assert_eq!(pool.iter().count(), record.candidates);
    }
}

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((0, file)) => read(file),
        Some((1, frames)) => read(&with_header(frames)),
        Some((_, payload)) => read(&with_header(&framed(payload))),
        None => read(input),
    }
});
