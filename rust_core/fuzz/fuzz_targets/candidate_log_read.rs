//! Logs of any bytes: intact records, a torn tail or an error, never a panic.
//!
//! The first byte says what the rest is: a whole segment, frames behind a good header of either kind, the payload of a
//! good frame, a whole counts file, or the counts behind a good header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ra_guard_core::log::{Counts, FeedbackRecord, Kind, Record, Segment, columns_of};

/// 64 bytes that segments and counts begin with; `kind` is 0 in counts.
fn header(magic: &[u8; 8], version: u8, kind: Kind) -> Vec<u8> {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(magic);
    (bytes[8], bytes[12], bytes[24]) = (version, kind as u8, b'w');
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes.to_vec()
}

fn segment(kind: Kind, frames: &[u8]) -> Vec<u8> {
    [&header(b"RAGCLOG\n", 2, kind)[..], frames].concat()
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
    let (mut intact, mut errors) = (Vec::new(), 0);
    for record in records.by_ref() {
        match record {
            Ok(record) => intact.push(record),
            Err(_) => errors += 1,
        }
    }
    assert!(errors <= 1 && (errors == 1) != records.ending().is_some());
    assert!(records.intact_bytes() <= bytes.len());
    match segment.kind() {
        Kind::Candidates => decode_all(&intact),
        Kind::Feedback => {
            intact.iter().for_each(|payload| assert!(FeedbackRecord::decode(payload).is_ok() == (payload.len() >= 8)))
        }
    }
}

fn decode_all(records: &[&[u8]]) {
    records.iter().for_each(|record| decode(record));
    let Ok(columns) = columns_of(records) else { return };
    assert!(columns.iter().all(|column| (1..=3).contains(&column.buffers.len())));
    assert_eq!(columns[0].buffers[0].len(), 8 * records.len());
}

fn count(bytes: &[u8]) {
    let Ok(counts) = Counts::parse(bytes) else { return };
    assert_eq!(bytes.len(), 4096);
    assert!(counts.writer.chars().count() <= 32);
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
        Some((1, frames)) => read(&segment(Kind::Candidates, frames)),
        Some((2, frames)) => read(&segment(Kind::Feedback, frames)),
        Some((3, payload)) => read(&segment(Kind::Feedback, &framed(payload))),
        Some((4, file)) => count(file),
        Some((5, counts)) => {
            let mut file = [&header(b"RAGCNTS\n", 1, Kind::Candidates), counts].concat();
            file.resize(4096, 0);
            count(&file);
        }
        Some((_, payload)) => read(&segment(Kind::Candidates, &framed(payload))),
        None => read(input),
    }
});
