//! Candidate log records: what is written is read to the bit, and nothing else is read.
//!
//! `RA_GUARD_WRITE_GOLDEN=1 cargo test --test candidate_record` writes the file of the current version anew.

mod support;

use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use ra_guard_core::assign::Arm;
use ra_guard_core::log::{LogError, Record, RecordFields};
use ra_guard_core::wire::{Pool, Reason, Status};
use support::records::{encoded, fields, interleaved, record, shadowed};

fn bits(values: impl Iterator<Item = f32>) -> Vec<u32> {
    values.map(f32::to_bits).collect()
}

/// Everything in `read` is what `written` said, to the bit.
fn assert_same(read: &Record<'_>, written: &RecordFields<'_>) {
    assert_eq!((read.mode, read.elapsed_us), (written.mode, written.elapsed_us));
    assert_eq!((read.unix_ns, read.request, read.candidates), (written.unix_ns, written.request, written.candidates));
    assert_eq!((read.assigned_arm, read.served_arm), (written.assigned_arm, written.served_arm));
    assert_eq!((read.status, read.reason), (written.status, written.reason));
    assert_eq!((read.experiment_key, read.space), (written.experiment_key, written.space));
    assert_eq!((read.plan_revision, read.generation), (written.plan_revision, written.generation));
    assert_eq!(read.weights, written.weights);
    let vector = read.query_vector.map_or(vec![], |vector| bits(vector.iter()));
    assert_eq!(vector, bits(written.query_vector.iter().copied()));
    assert_eq!(read.states.unwrap_or_default(), written.states);
    let columns = read.columns.map(|columns| columns.in_order().map(|column| bits(column.iter())));
    let wanted = written.columns.map(|columns| columns.in_order().map(|column| bits(column.iter().copied())));
    assert_eq!(columns, wanted);
    assert_eq!(read.ranking.iter().map(u32::from).collect::<Vec<_>>(), written.ranking);
    assert_eq!(read.teams.map_or(vec![], |teams| teams.iter().collect()), written.teams);
    let treatment = read.treatment_ranking.map_or(vec![], |positions| positions.iter().map(u32::from).collect());
    assert_eq!(treatment, written.treatment_ranking);
    let pool = read.pool.map(|pool| pool.iter().collect::<Vec<_>>());
    assert_eq!(pool, written.pool.map(|pool| pool.iter().collect()));
}

#[test]
fn a_record_comes_back_to_the_bit() {
    let bytes = record(Arm::Treatment);
    assert_same(&Record::decode(&bytes).expect("a record"), &fields(Arm::Treatment));
    for fields in [interleaved(), shadowed()] {
        let bytes = encoded(&fields);
        assert_same(&Record::decode(&bytes).expect("a record"), &fields);
    }
    let mut pool = Pool::default();
    let bare = RecordFields {
        pool: Some(pool.fill([&b"a"[..], b"bc", b"d"]).expect("distinct ids")),
        mode: None,
        assigned_arm: None,
        status: Status::Baseline,
        reason: Reason::LeaseExpired,
        experiment_key: "",
        space: "",
        query_vector: &[],
        states: &[],
        columns: None,
        ranking: &[0, 1, 2],
        ..fields(Arm::Control)
    };
    let bytes = encoded(&bare);
    assert_same(&Record::decode(&bytes).expect("a record"), &bare);
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name)
}

#[test]
fn version_1_reads_as_it_was_written() {
    let bytes = std::fs::read(golden("record-v1.bin")).expect("a committed file");
    let wanted = RecordFields { elapsed_us: 0, ..fields(Arm::Treatment) };
    assert_same(&Record::decode(&bytes).expect("a record"), &wanted);
    // Nothing that came later passes for a record of version 1.
    for (offset, value, field) in [(1, 0x10 | bytes[1], "flags"), (3, 4, "served arm"), (5, 10, "reason")] {
        let mut bytes = bytes.clone();
        bytes[offset] = value;
        let error = Record::decode(&bytes).expect_err(field);
        assert!(matches!(error, LogError::BadRecord { field: found, .. } if found == field), "{error}");
    }
}

#[test]
fn version_2_reads_as_it_was_written() {
    let bytes = std::fs::read(golden("record-v2.bin")).expect("a committed file");
    let wanted = RecordFields { elapsed_us: 0, ..interleaved() };
    assert_same(&Record::decode(&bytes).expect("a record"), &wanted);
    // Version 2 has nothing where version 3 has its elapsed time.
    for offset in 97..102 {
        let mut bytes = bytes.clone();
        bytes[offset] = 1;
        let error = Record::decode(&bytes).expect_err("zeros");
        assert!(matches!(error, LogError::BadRecord { field: "zeros", .. }), "{error}");
    }
}

#[test]
fn version_3_gives_the_committed_bytes() {
    let written = encoded(&interleaved());
    if std::env::var_os("RA_GUARD_WRITE_GOLDEN").is_some() {
        std::fs::write(golden("record-v3.bin"), &written).expect("a written file");
    }
    let committed = std::fs::read(golden("record-v3.bin")).expect("a committed file");
    assert_eq!(written, committed, "a changed record needs a new version");
}

#[test]
fn a_record_that_does_not_add_up_is_refused() {
    let good = encoded(&interleaved());
    for end in 1..good.len() {
        assert_eq!(Record::decode(&good[..end]).expect_err("cut short").variant(), "BadRecord", "{end} bytes");
    }
    // (offset, value, field): see FORMAT.md for what lies where.
    let cases = [
        (0, 0, "version"),
        (1, 0xff, "flags"),
        (2, 4, "assigned arm"),
        (3, 5, "served arm"),
        (4, 0, "status"),
        (5, 11, "reason"),
        (32, 0xff, "space"),
        (96, 5, "mode"),
        (97, 1, "zeros"),
        (good.len() - 11, 3, "ranking"),
        (good.len() - 9, 0, "teams"),
        (good.len() - 7, 3, "teams"),
        (good.len() - 2, 3, "treatment ranking"),
    ];
    for (offset, value, field) in cases {
        let mut bytes = good.clone();
        bytes[offset] = value;
        let error = Record::decode(&bytes).expect_err(field);
        assert!(matches!(error, LogError::BadRecord { field: found, .. } if found == field), "{error}");
    }
    let mut unflagged = record(Arm::Treatment);
    unflagged[102] = 1;
    let error = Record::decode(&unflagged).expect_err("unflagged");
    assert!(matches!(error, LogError::BadRecord { field: "treatment ranking", found: 1, .. }), "{error}");
    let mut longer = good.clone();
    longer.push(0);
    assert!(Record::decode(&longer).expect_err("longer").to_string().contains("found 1 for end"));
    let mut newer = good;
    newer[0] = 4;
    let error = Record::decode(&newer).expect_err("newer");
    assert!(matches!(error, LogError::FutureVersion { what: "record", found: 4, supported: 3 }), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_refused(
        mut bytes in vec(any::<u8>(), 0..400),
        zeros in 0usize..104,
        record_version in 1u8..4,
    ) {
        let zeros = zeros.min(bytes.len());
        bytes[..zeros].fill(0);
        if let Some(version) = bytes.first_mut() {
            *version = record_version;
        }
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert!(record.ranking.iter().all(|position| usize::from(position) < record.candidates));
        }
    }

    #[test]
    fn damaged_records_never_panic(place in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = encoded(&interleaved());
        let place = place.index(bytes.len());
        bytes[place] = value;
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert!(record.ranking.iter().all(|position| usize::from(position) < record.candidates));
            let columns = record.columns.map(|columns| columns.in_order().map(|column| column.iter().len()));
            prop_assert!(columns.is_none_or(|lengths| lengths == [record.candidates; 5]));
        }
    }
}
