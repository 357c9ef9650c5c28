//! Logged calls computed again: clean as they were logged, and found out when a bit is not what it was.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ra_guard_core::kernel::Kernel;
use ra_guard_core::log::{LogError, Record};
use ra_guard_core::plan::Mode;
use ra_guard_core::replay::{Place, Replay, ReplayError};
use ra_guard_core::shard::Dtype;
use ra_guard_core::wire::Reason;

use crate::fixture::{Bench, ROWS};
use crate::scenes::scene;

#[test]
fn whatever_is_logged_replays_clean() {
    let seen = RefCell::new(BTreeMap::<u8, BTreeSet<(u8, bool)>>::new());
    let config = Config { cases: 128, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRunner::deterministic().new_rng());
    let played = runner.run(&scene(), |scene| {
        let (bench, records) = scene.play();
        let mut replay = bench.replay(scene.replaying);
        for bytes in &records {
            let record = Record::decode(bytes).expect("a record");
            let difference = replay.check(bytes).expect("plan and generation are known");
            prop_assert_eq!(difference, None, "{:?} {:?}", record.mode, record.reason);
            let ending = (record.reason as u8, record.columns.is_some());
            seen.borrow_mut().entry(scene.mode as u8).or_default().insert(ending);
        }
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
    // The scenes are worth something: every reason that a user in an arm can meet was met in every mode, and those that
    // come before as well as after scoring were met at both.
    let early = [3, 4, 5, 6, 7, 8, 9].map(|reason| (reason, false));
    let late = [(Reason::Deadline as u8, true), (Reason::NoFeatures as u8, true)];
    let met = |also: &[(u8, bool)]| early.iter().chain(&late).chain(also).copied().collect::<BTreeSet<_>>();
    let wanted =
        [(1, met(&[(0, true), (1, false)])), (2, met(&[(10, true)])), (3, met(&[(0, true)])), (4, met(&[(0, true)]))];
    assert_eq!(seen.into_inner(), BTreeMap::from(wanted));
}

/// The parts of a record of version 3 whose every bit can be computed again, by the field that names them.
fn computed(bytes: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    let record = Record::decode(bytes).expect("a record");
    let n = record.candidates;
    let pool = record.pool.map_or(0, |pool| 2 * n + pool.iter().map(<[u8]>::len).sum::<usize>());
    let vector = record.query_vector.map_or(0, |vector| vector.iter().len() * 4);
    let states = record.states.map_or(0, <[u8]>::len);
    let mut at = 104 + record.request.len() + record.experiment_key.len() + vector + pool + states;
    let mut parts = vec![
        ("cosine weight", 64..68),
        ("consistency weight", 68..72),
        ("contradiction weight", 72..76),
        ("prior weight", 76..80),
    ];
    let ranked = record.ranking.iter().len();
    let of_treatment = record.treatment_ranking.map_or(0, |positions| positions.iter().len());
    let columns = if record.columns.is_some() { 4 * n } else { 0 };
    for (field, length) in [
        ("cosine", columns),
        ("consistency", columns),
        ("contradiction", columns),
        ("prior", columns),
        ("score", columns),
        ("ranking", 2 * ranked),
        ("teams", record.teams.map_or(0, |teams| teams.as_bytes().len())),
        ("treatment ranking", 2 * of_treatment),
    ] {
        parts.push((field, at..at + length));
        at += length;
    }
    assert_eq!(at, bytes.len());
    parts.retain(|(_, part)| !part.is_empty());
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_flipped_bit_is_found_and_named(
        scene in scene(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..8), 40),
    ) {
        let (bench, records) = scene.play();
        let mut replay = bench.replay(scene.replaying);
        for (bytes, (part, place, bit)) in records.iter().cycle().zip(flips) {
            let parts = computed(bytes);
            let (field, range) = &parts[part.index(parts.len())];
            let place = range.start + place.index(range.len());
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            match replay.check(&damaged) {
                Ok(difference) => {
                    let difference = difference.expect("a difference");
                    prop_assert_eq!(difference.field, *field);
                    let index = (place - range.start) / if *field == "teams" { 1 } else if field.ends_with("ranking") { 2 } else { 4 };
                    match difference.place {
                        Place::Whole => prop_assert!(field.ends_with("weight")),
                        Place::Candidate(found) | Place::At(found) => prop_assert_eq!(found, index),
                    }
                    prop_assert_ne!(difference.found, difference.wanted);
                }
                // Positions that no candidate has and teams that do not exist are not read at all.
                Err(ReplayError::Record(LogError::BadRecord { field: found, .. })) => prop_assert_eq!(found, *field),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }

    #[test]
    fn damage_anywhere_never_panics(
        scene in scene(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 60),
    ) {
        let (bench, records) = scene.play();
        let mut replay = bench.replay(scene.replaying);
        for (bytes, (place, value)) in records.iter().cycle().zip(damage) {
            let mut damaged = bytes.clone();
            let place = place.index(damaged.len());
            damaged[place] = value;
            if let Ok(Some(difference)) = replay.check(&damaged) {
                prop_assert!(!difference.to_string().is_empty());
            }
        }
        for bytes in &records {
            prop_assert_eq!(replay.check(bytes).expect("as before"), None, "nothing is left of the damage");
        }
    }
}

fn logged(mode: Mode) -> (Bench, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::new(Dtype::I8, Kernel::detect(), Some(Bench::log(&folder)));
    bench.publish(|plan| plan.mode = mode as i32);
    bench.answer(&bench.request());
    let record = bench.records(&folder).remove(0);
    (bench, record)
}

#[test]
fn what_was_said_about_a_call_must_follow_from_it() {
    let (bench, record) = logged(Mode::Interleaving);
    let mut replay = bench.replay(Kernel::detect());
    // (offset, value, field): see FORMAT.md for what lies where.
    for (offset, value, field) in [
        (2, 1, "assigned arm"),
        (3, 2, "served arm"),
        (4, 1, "status"),
        (5, 10, "reason"),
        (5, 1, "reason"),
        (5, 8, "reason"),
        (5, 4, "status"),
        (32, b'z', "space"),
        (96, 1, "mode"),
        (96, 0, "mode"),
    ] {
        let mut damaged = record.clone();
        damaged[offset] = value;
        let difference = replay.check(&damaged).expect("a record").expect("a difference");
        assert_eq!(difference.field, field, "byte {offset}: {difference}");
    }
    let mut text = record.clone();
    let score = text.len() - 2 * ROWS - ROWS - 2 * ROWS - 4 * ROWS;
    text[score] ^= 1;
    let difference = replay.check(&text).expect("a record").expect("a difference");
    assert_eq!((difference.field, difference.place), ("score", Place::Candidate(0)));
    let text = difference.to_string();
    assert!(
        text.starts_with("score of candidate 0: found ") && text.contains("wanted") && text.contains("0x"),
        "{text}"
    );
}

#[test]
fn the_time_that_a_call_took_is_not_compared() {
    let (bench, mut record) = logged(Mode::Ab);
    let mut replay = bench.replay(Kernel::detect());
    record[98..102].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(replay.check(&record).expect("a record"), None);
    // A record of version 2 is one of version 3 whose time is unknown.
    record[98..102].fill(0);
    record[0] = 2;
    assert_eq!(replay.check(&record).expect("a record of version 2"), None);
}

#[test]
fn what_makes_it_impossible_to_tell_is_an_error() {
    let (bench, record) = logged(Mode::Ab);
    let mut replay = bench.replay(Kernel::detect());
    let refused = |replay: &mut Replay, offset: usize, value: u8| {
        let mut damaged = record.clone();
        damaged[offset] = value;
        replay.check(&damaged).expect_err("an error")
    };
    assert!(matches!(refused(&mut replay, 0, 9), ReplayError::Record(_)));
    assert!(matches!(refused(&mut replay, 16, 77), ReplayError::Plan(error) if error.variant() == "UnknownPlan"));
    assert!(
        matches!(refused(&mut replay, 24, 77), ReplayError::Generation(error) if error.variant() == "NoGeneration" || error.variant() == "MissingFile")
    );
    // The plan that was logged, under its number, and another one.
    bench.plans.borrow().iter().for_each(|sealed| replay.add_plan(sealed).expect("added twice is added once"));
    let sealed = bench.plans.borrow().last().expect("a plan").clone();
    let mut plan = ra_guard_core::plan::unseal(&sealed).expect("a plan").to_vec();
    plan.extend([4 << 3, 7]);
    let other = ra_guard_core::plan::seal(&plan).expect("a plan");
    assert_eq!(replay.add_plan(&other).expect_err("another plan").variant(), "Conflict");
    assert_eq!(replay.check(&record).expect("all is known"), None);
}

#[test]
fn records_of_many_generations_replay_in_any_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::new(Dtype::F32, Kernel::detect(), Some(Bench::log(&folder)));
    for _ in 0..6 {
        bench.answer(&bench.request());
        bench.next_generation();
    }
    let records = bench.records(&folder);
    let numbers = records.iter().map(|bytes| Record::decode(bytes).expect("a record").generation);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let mut replay = bench.replay(Kernel::detect());
    for bytes in records.iter().chain(records.iter().rev()).chain(&records) {
        assert_eq!(replay.check(bytes).expect("its generation is there"), None);
    }
}

#[test]
fn a_record_of_version_1_still_replays() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/record-v1-call.bin");
    let bytes = std::fs::read(path).expect("a committed file");
    let record = Record::decode(&bytes).expect("a record");
    assert_eq!((record.mode, record.candidates, record.ranking.iter().len()), (Some(Mode::Ab), 62, 20));
    assert!(record.columns.is_some() && record.query_vector.is_some());
    let bench = Bench::new(Dtype::F16, Kernel::detect(), None);
    for kernel in Kernel::available() {
        assert_eq!(bench.replay(kernel).check(&bytes).expect("plan and gallery of the fixture"), None);
    }
}
