//! Runs, rolling, and the counts that outlive the process.

use proptest::collection::vec;
use proptest::prelude::*;
use ra_guard_core::assign::Arm;
use ra_guard_core::log::{ByArm, Counts, LogSettings, Record, Writing, read_counts, read_segment, recover_folder};
use tempfile::TempDir;

use crate::support::records::{TIME, record};
use crate::{files, names, record_at, settings, start};

const ARMS: [Option<Arm>; 4] = [None, Some(Arm::Control), Some(Arm::Treatment), Some(Arm::NotEnrolled)];

fn by_arm([unassigned, control, treatment, not_enrolled]: [u64; 4]) -> ByArm {
    ByArm { unassigned, control, treatment, not_enrolled }
}

#[test]
fn all_segments_of_a_run_carry_the_time_of_its_first_record() {
    let folder = TempDir::new().expect("a folder");
    let log = start(settings(folder.path()));
    log.roll().expect("nothing to seal");
    assert!(files(folder.path(), "log").is_empty());
    for later in 0..3 {
        log.push(&record_at(Some(Arm::Control), TIME + later)).expect("room");
        log.roll().expect("sealed");
        log.roll().expect("nothing to seal");
        assert_eq!(files(folder.path(), "log").len() as u64, later + 1);
    }
    log.close().expect("sealed");
    let sealed = files(folder.path(), "log");
    let wanted = [0, 1, 2].map(|sequence| format!("w0-{TIME:020}-{sequence:06}.log"));
    assert_eq!(names(&sealed), wanted);
    assert_eq!(names(&files(folder.path(), "counts")), [format!("w0-{TIME:020}.counts")]);
    for (later, path) in sealed.iter().enumerate() {
        let bytes = std::fs::read(path).expect("a file");
        let created = ra_guard_core::log::Segment::parse(&bytes).expect("a segment").created_unix_ns();
        assert_eq!(created, TIME + later as u64, "the header keeps the segment's own time");
    }
}

#[test]
fn a_run_never_takes_the_name_of_another() {
    let folder = TempDir::new().expect("a folder");
    for run in 0..3 {
        let log = start(settings(folder.path()));
        log.push(&record_at(Some(Arm::Control), TIME)).expect("room");
        log.close().expect("sealed");
        assert_eq!(files(folder.path(), "counts").len(), run + 1);
        assert_eq!(files(folder.path(), "log").len(), run + 1);
    }
    let (last, _) = read_counts(&files(folder.path(), "counts")[2]).expect("counts");
    assert_eq!(last.run, TIME + 2);
}

#[test]
fn counts_say_what_was_offered_and_whether_the_writer_lives() {
    let folder = TempDir::new().expect("a folder");
    let log = start(settings(folder.path()));
    assert!(files(folder.path(), "counts").is_empty(), "no record, no run");
    let offered = [1, 4, 2, 3];
    for (arm, count) in ARMS.into_iter().zip(offered) {
        (0..count).for_each(|_| log.push(&record_at(arm, TIME)).expect("room"));
    }
    let path = files(folder.path(), "counts").remove(0);
    let wanted = Counts { writer: "w0".into(), run: TIME, closed: false, offered: by_arm(offered) };
    assert_eq!(read_counts(&path).expect("counts"), (wanted.clone(), Writing::Alive));
    assert_eq!(log.counters().offered, wanted.offered);
    log.close().expect("sealed");
    let closed = Counts { closed: true, ..wanted };
    assert_eq!(read_counts(&path).expect("counts").0, closed);
    assert!(log.push(&record(Arm::Control)).is_err(), "closed");
    assert_eq!(log.flush().expect_err("closed").variant(), "Closed");
    log.close().expect("nothing to do");
    let late = Counts { offered: by_arm([1, 5, 2, 3]), ..closed };
    assert_eq!(
        read_counts(&path).expect("counts"),
        (late.clone(), Writing::Alive),
        "what comes too late is counted, too"
    );
    drop(log);
    assert_eq!(read_counts(&path).expect("counts"), (late, Writing::Gone));
    let before = std::fs::read(&path).expect("a file");
    recover_folder(folder.path()).expect("recovered");
    assert_eq!(std::fs::read(&path).expect("a file"), before, "recovery leaves counts alone");
}

#[test]
fn what_is_no_counts_file_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let log = start(settings(folder.path()));
    log.push(&record(Arm::Control)).expect("room");
    let good = std::fs::read(files(folder.path(), "counts").remove(0)).expect("a file");
    let refused = |bytes: &[u8]| Counts::parse(bytes).expect_err("refused").variant();
    assert_eq!(refused(b"something else"), "NotCounts");
    for end in [0, 8, 64, 4095] {
        assert_eq!(refused(&good[..end]), "TornCounts");
    }
    assert_eq!(refused(&[&good[..], b"\0"].concat()), "Corrupt");
    for place in 0..64 {
        for bit in 0..8 {
            let mut damaged = good.clone();
            damaged[place] ^= 1 << bit;
            let wanted = match place {
                0..8 => "NotCounts",
                8..12 if damaged[8..12] != [0; 4] => "FutureVersion",
                _ => "Corrupt",
            };
            assert_eq!(refused(&damaged), wanted, "byte {place}");
        }
    }
    let absent = read_counts(&folder.path().join("absent.counts")).expect_err("absent");
    assert_eq!(absent.variant(), "Io");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push(usize),
    Flush,
    Roll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![8 => (0..4usize).prop_map(Step::Push), 1 => Just(Step::Flush), 1 => Just(Step::Roll)];
    vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_offered_is_sealed_or_dropped(steps in steps(), half in 100usize..4000, segment_bytes in 1u64..4000) {
        let folder = TempDir::new().expect("a folder");
        let log = start(LogSettings { queue_bytes: 2 * half, segment_bytes, ..settings(folder.path()) });
        let (mut offered, mut dropped, mut kept) = ([0; 4], [0; 4], Vec::new());
        for (time, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(arm) => {
                    let record = record_at(ARMS[arm], TIME + time as u64);
                    offered[arm] += 1;
                    match log.push(&record) {
                        Ok(()) => kept.push(record),
                        Err(_) => dropped[arm] += 1,
                    }
                }
                Step::Flush => log.flush().expect("on disk"),
                Step::Roll => {
                    log.roll().expect("sealed");
                    prop_assert!(files(folder.path(), "open").is_empty());
                }
            }
        }
        log.close().expect("sealed");
        let counters = log.counters();
        drop(log);
        prop_assert_eq!((counters.offered, counters.dropped), (by_arm(offered), by_arm(dropped)));
        let sealed: Vec<_> = files(folder.path(), "log").iter().flat_map(|f| read_segment(f).expect("sealed")).collect();
        prop_assert!(files(folder.path(), "log").iter().all(|f| !read_segment(f).expect("sealed").is_empty()));
        prop_assert_eq!(&sealed, &kept, "in order");
        for path in files(folder.path(), "counts") {
            let (counts, writing) = read_counts(&path).expect("counts");
            prop_assert_eq!((counts.offered, counts.closed, writing), (by_arm(offered), true, Writing::Gone));
            let first = Record::decode(sealed.first().unwrap_or(&record_at(None, counts.run))).expect("a record").unix_ns;
            prop_assert!(counts.run <= first, "the first record that was offered names the run");
        }
    }

    #[test]
    fn any_bytes_are_counts_or_refused(bytes in vec(any::<u8>(), 0..5000), has_magic in any::<bool>()) {
        let bytes = if has_magic { [b"RAGCNTS\n", &bytes[..]].concat() } else { bytes };
        prop_assert!(Counts::parse(&bytes).is_err(), "nobody guesses a CRC");
    }
}
