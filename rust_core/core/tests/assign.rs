//! Assignment: the published cases of the hash, and what a ramp may never do.

mod support;

use proptest::prelude::*;
use ra_guard_core::assign::{Arm, BUCKETS, CONTROL_START, Seed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Oracle {
    cases: Vec<(String, String, u8, f64)>,
}

#[test]
fn passes_growthbooks_cases() {
    let oracle: Oracle = support::vectors("growthbook_hash.json");
    assert_eq!(oracle.cases.len(), 6);
    for (seed, unit, version, bucket) in oracle.cases {
        assert_eq!(version, 2);
        let found = f64::from(Seed::new(&seed, "").bucket(&unit)) / f64::from(BUCKETS);
        assert_eq!(found, bucket, "{seed} {unit}");
    }
}

#[test]
fn a_salt_follows_the_key_after_a_colon() {
    assert_eq!(Seed::new("key", "salt"), Seed::new("key:salt", ""));
    assert_ne!(Seed::new("key", "salt"), Seed::new("key", ""));
}

#[test]
fn arms_end_where_their_ranges_do() {
    let seed = Seed::new("seed", "");
    let unit_of = |bucket: u16| (0..).map(|i: u32| i.to_string()).find(|unit| seed.bucket(unit) == bucket);
    let cases = [
        (0, Arm::Treatment),
        (99, Arm::Treatment),
        (100, Arm::NotEnrolled),
        (4999, Arm::NotEnrolled),
        (5000, Arm::Control),
        (5099, Arm::Control),
        (5100, Arm::NotEnrolled),
        (9999, Arm::NotEnrolled),
    ];
    for (bucket, arm) in cases {
        let unit = unit_of(bucket).expect("some number falls into every bucket");
        assert_eq!(seed.assign(100, &unit), arm, "bucket {bucket}");
        assert_eq!(seed.assign(0, &unit), Arm::NotEnrolled);
        let full = if bucket < CONTROL_START { Arm::Treatment } else { Arm::Control };
        assert_eq!(seed.assign(CONTROL_START, &unit), full);
    }
}

#[test]
fn arms_hold_their_share() {
    let seed = Seed::new("clip-rerank", "epoch-1");
    let users = 200_000;
    let count = |arm| (0..users).filter(|user| seed.assign(500, &format!("user-{user}")) == arm).count();
    // 5 % of the users in each arm; five standard deviations of a binomial are 490.
    for arm in [Arm::Treatment, Arm::Control] {
        assert!(count(arm).abs_diff(users / 20) < 490, "{arm:?}");
    }
}

proptest! {
    #[test]
    fn raising_the_ramp_moves_nobody_between_arms(
        unit in "\\PC{1,40}", salt in "[a-z0-9]{0,8}", (low, high) in (0..=CONTROL_START, 0..=CONTROL_START),
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let seed = Seed::new("clip-rerank", &salt);
        prop_assert!(seed.bucket(&unit) < BUCKETS);
        let (before, after) = (seed.assign(low, &unit), seed.assign(high, &unit));
        prop_assert!(before == after || before == Arm::NotEnrolled, "{before:?} became {after:?}");
    }
}
