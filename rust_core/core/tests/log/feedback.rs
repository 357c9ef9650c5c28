//! The feedback log: what is appended comes back, all or none, and nobody mistakes it for candidates.

use proptest::collection::vec;
use proptest::prelude::*;
use ra_guard_core::assign::Arm;
use ra_guard_core::log::{FeedbackLog, FeedbackRecord, Kind, LogSettings, Segment, SegmentFile, recover};
use tempfile::TempDir;

use crate::support::records::{TIME, record};
use crate::{files, names, settings, start};

fn begin(settings: LogSettings) -> FeedbackLog {
    FeedbackLog::start(settings).expect("a log")
}

fn append(log: &FeedbackLog, time: u64, events: &[Vec<u8>]) -> Result<(), &'static str> {
    log.append(time, events.iter().map(Vec::as_slice)).map_err(|error| error.variant())
}

/// Times and events of all sealed segments, in order.
fn sealed(folder: &TempDir) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    for path in files(folder.path(), "log") {
        let segment = SegmentFile::read(&path).expect("a segment");
        for payload in segment.records_of(Kind::Feedback).expect("feedback") {
            let record = FeedbackRecord::decode(payload).expect("an event");
            all.push((record.received_unix_ns, record.event.to_vec()));
        }
    }
    all
}

#[test]
fn a_segment_says_what_it_holds() {
    let folder = TempDir::new().expect("a folder");
    let log = begin(settings(folder.path()));
    append(&log, TIME, &[b"one".to_vec(), b"two".to_vec()]).expect("room");
    log.flush().expect("on disk");
    let open = files(folder.path(), "open").remove(0);
    assert_eq!(recover(&open).expect_err("its writer is alive").variant(), "InUse");
    append(&log, TIME + 1, &[]).expect("nothing to do");
    log.roll().expect("sealed");
    append(&log, TIME + 2, &[b"".to_vec()]).expect("room");
    log.close().expect("sealed");
    assert_eq!(append(&log, TIME, &[b"late".to_vec()]), Err("Closed"));
    assert_eq!(log.roll().expect_err("closed").variant(), "Closed");
    let paths = files(folder.path(), "log");
    assert_eq!(names(&paths), [0, 1].map(|sequence| format!("w0-{TIME:020}-{sequence:06}.log")));
    assert!(files(folder.path(), "counts").is_empty(), "what is acknowledged is on disk: there is nothing to count");
    assert_eq!(sealed(&folder), [(TIME, b"one".to_vec()), (TIME, b"two".to_vec()), (TIME + 2, vec![])]);
    let bytes = std::fs::read(&paths[1]).expect("a file");
    let segment = Segment::parse(&bytes).expect("a segment");
    assert_eq!((segment.kind(), segment.created_unix_ns()), (Kind::Feedback, TIME + 2));
    let counters = log.counters();
    assert_eq!((counters.written, counters.segments, counters.write_errors), (3, 2, 0));
}

#[test]
fn a_reader_of_one_kind_refuses_the_other_by_name() {
    let folder = TempDir::new().expect("a folder");
    let candidates = start(settings(folder.path()));
    candidates.push(&record(Arm::Control)).expect("room");
    candidates.close().expect("sealed");
    let path = files(folder.path(), "log").remove(0);
    let error = SegmentFile::read(&path).expect("a file").records_of(Kind::Feedback).expect_err("candidates");
    assert_eq!(error.variant(), "WrongKind");
    assert!(error.to_string().contains("found a segment of candidates, wanted one of feedback"), "{error}");
    let error = FeedbackRecord::decode(&[0; 7]).expect_err("cut short");
    assert_eq!(error.variant(), "BadRecord");
}

#[test]
fn events_that_find_no_room_are_refused_together() {
    let folder = TempDir::new().expect("a folder");
    let log = begin(LogSettings { queue_bytes: 200, ..settings(folder.path()) });
    let error = log.append(TIME, [&[0; 40][..], &[0; 40]].into_iter()).expect_err("two do not fit");
    assert_eq!(error.variant(), "QueueFull");
    assert!(error.to_string().contains("found 100 bytes of its queue free, wanted 120 for 2 events"), "{error}");
    append(&log, TIME, &[vec![1; 40]]).expect("one fits");
    log.close().expect("sealed");
    assert_eq!(sealed(&folder), [(TIME, vec![1; 40])]);
}

#[test]
fn threads_that_append_and_flush_all_find_their_events() {
    let folder = TempDir::new().expect("a folder");
    let log = begin(LogSettings { queue_bytes: 1 << 20, segment_bytes: 2000, ..settings(folder.path()) });
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let log = &log;
            scope.spawn(move || {
                for round in 0..20 {
                    append(log, thread, &[vec![round], vec![round, round]]).expect("room");
                    log.flush().expect("on disk");
                }
            });
        }
    });
    log.close().expect("sealed");
    let all = sealed(&folder);
    for thread in 0..4 {
        let wanted = (0..20).flat_map(|round| [vec![round], vec![round, round]]);
        let found = all.iter().filter(|(time, _)| *time == thread).map(|(_, event)| event.clone());
        assert!(found.eq(wanted), "in order");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_appended_comes_back(
        batches in vec((any::<u64>(), vec(vec(any::<u8>(), 0..60), 0..6), 0..4u8), 0..20),
        segment_bytes in 1u64..2000,
    ) {
        let folder = TempDir::new().expect("a folder");
        let log = begin(LogSettings { segment_bytes, ..settings(folder.path()) });
        for (time, events, then) in &batches {
            append(&log, *time, events).expect("room");
            match then {
                0 => log.flush().expect("on disk"),
                1 => log.roll().expect("sealed"),
                _ => {}
            }
        }
        log.close().expect("sealed");
        let wanted = batches.iter().flat_map(|(time, events, _)| events.iter().map(|event| (*time, event.clone())));
        prop_assert_eq!(sealed(&folder), wanted.collect::<Vec<_>>());
    }
}
