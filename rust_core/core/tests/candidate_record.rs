//! Candidate log records: what is written is read to the bit, and nothing else is read.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use ra_guard_core::assign::Arm;
use ra_guard_core::log::{LogError, Record, RecordFields};
use ra_guard_core::wire::{Pool, Reason, Status};
use support::records::{fields, record};

fn bits(values: impl Iterator<Item = f32>) -> Vec<u32> {
    values.map(f32::to_bits).collect()
}

/// Everything in `read` is what `written` said, to the bit.
fn assert_same(read: &Record<'_>, written: &RecordFields<'_>) {
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
    let pool = read.pool.map(|pool| pool.iter().collect::<Vec<_>>());
    assert_eq!(pool, written.pool.map(|pool| pool.iter().collect()));
}

#[test]
fn a_record_comes_back_to_the_bit() {
    let bytes = record(Arm::Treatment);
    assert_same(&Record::decode(&bytes).expect("a record"), &fields(Arm::Treatment));
    let mut pool = Pool::default();
    let bare = RecordFields {
        pool: Some(pool.fill([&b"a"[..], b"bc", b"d"]).expect("distinct ids")),
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
    let mut bytes = Vec::new();
    bare.encode(&mut bytes);
    assert_same(&Record::decode(&bytes).expect("a record"), &bare);
}

#[test]
fn a_record_that_does_not_add_up_is_refused() {
    let good = record(Arm::Treatment);
    for end in 1..good.len() {
        assert_eq!(Record::decode(&good[..end]).expect_err("cut short").variant(), "BadRecord", "{end} bytes");
    }
    // (offset, value, field): see FORMAT.md for what lies where.
    let cases = [
        (0, 0, "version"),
        (1, 0xff, "flags"),
        (2, 4, "assigned arm"),
        (3, 4, "served arm"),
        (4, 0, "status"),
        (5, 10, "reason"),
        (32, 0xff, "space"),
        (good.len() - 2, 3, "ranking"),
    ];
    for (offset, value, field) in cases {
        let mut bytes = good.clone();
        bytes[offset] = value;
        let error = Record::decode(&bytes).expect_err(field);
        assert!(matches!(error, LogError::BadRecord { field: found, .. } if found == field), "{error}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(Record::decode(&longer).expect_err("longer").to_string().contains("found 1 for end"));
    let mut newer = good;
    newer[0] = 2;
    let error = Record::decode(&newer).expect_err("newer");
    assert!(matches!(error, LogError::FutureVersion { what: "record", found: 2, supported: 1 }), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_refused(mut bytes in vec(any::<u8>(), 0..400), zeros in 0usize..96) {
        let zeros = zeros.min(bytes.len());
        bytes[..zeros].fill(0);
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert!(record.ranking.iter().all(|position| usize::from(position) < record.candidates));
        }
    }

    #[test]
    fn damaged_records_never_panic(place in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = record(Arm::Treatment);
        let place = place.index(bytes.len());
        bytes[place] = value;
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert!(record.ranking.iter().all(|position| usize::from(position) < record.candidates));
            let columns = record.columns.map(|columns| columns.in_order().map(|column| column.iter().len()));
            prop_assert!(columns.is_none_or(|lengths| lengths == [record.candidates; 5]));
        }
    }
}
