//! The candidate log: segments, torn tails, damage, full queues and failing disks.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use ra_guard_core::assign::Arm;
use ra_guard_core::log::{CandidateLog, Dropped, Ending, LogError, LogSettings, Segment, read_segment, recover};
use tempfile::TempDir;

use crate::support::records::{TIME, record};
use crate::{files, settings, start};

/// An `.open` segment of three records, left behind by its writer.
fn abandoned(folder: &TempDir) -> (PathBuf, Vec<u8>) {
    let log = start(settings(folder.path()));
    for arm in Arm::ALL {
        log.push(&record(arm)).expect("room");
    }
    log.flush().expect("on disk");
    let bytes = std::fs::read(&files(folder.path(), "open")[0]).expect("a segment");
    drop(log);
    let path = files(folder.path(), "log").remove(0).with_extension("open");
    std::fs::remove_file(path.with_extension("log")).expect("sealed");
    std::fs::write(&path, &bytes).expect("written");
    (path, bytes)
}

#[test]
fn what_is_pushed_is_read_after_a_flush_and_after_sealing() {
    let folder = TempDir::new().expect("a folder");
    let log = start(settings(folder.path()));
    assert_eq!(files(folder.path(), "open").len(), 0, "no record, no segment");
    for arm in Arm::ALL {
        log.push(&record(arm)).expect("room");
    }
    log.flush().expect("on disk");
    let open = files(folder.path(), "open").remove(0);
    assert!(open.ends_with("w0-01800000000000000000-000000.open"), "{open:?}");
    assert_eq!(read_segment(&open).expect("intact"), Arm::ALL.map(record));
    let counters = log.counters();
    assert_eq!((counters.written, counters.segments, counters.write_errors), (3, 1, 0));
    assert_eq!(counters.bytes as usize, 3 * (record(Arm::Control).len() + 12));
    assert_eq!(recover(&open).expect_err("its writer is alive").variant(), "InUse");
    drop(log);
    let sealed = files(folder.path(), "log").remove(0);
    assert_eq!(read_segment(&sealed).expect("sealed"), Arm::ALL.map(record));
    let bytes = std::fs::read(&sealed).expect("a file");
    let segment = Segment::parse(&bytes).expect("a segment");
    assert_eq!((segment.created_unix_ns(), segment.writer().as_str()), (TIME, "w0"));
    assert!(files(folder.path(), "open").is_empty());
}

#[test]
fn segments_are_sealed_at_their_size() {
    let folder = TempDir::new().expect("a folder");
    let frame = record(Arm::Control).len() + 12;
    let room_for_two = 64 + 2 * frame + 20;
    let log = start(LogSettings { segment_bytes: room_for_two as u64, ..settings(folder.path()) });
    for _ in 0..5 {
        log.push(&record(Arm::Control)).expect("room");
    }
    drop(log);
    let sealed = files(folder.path(), "log");
    let records = sealed.iter().map(|path| read_segment(path).expect("sealed").len());
    assert_eq!(records.collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(std::fs::metadata(&sealed[0]).expect("a file").len() as usize, room_for_two);
}

#[test]
fn a_record_beyond_the_segment_size_gets_a_segment_of_its_own() {
    let folder = TempDir::new().expect("a folder");
    let log = start(LogSettings { segment_bytes: 1, ..settings(folder.path()) });
    log.push(&record(Arm::Control)).expect("room");
    log.push(&record(Arm::Treatment)).expect("room");
    drop(log);
    assert_eq!(files(folder.path(), "log").len(), 2);
}

#[test]
fn a_full_queue_drops_and_counts_by_arm() {
    let folder = TempDir::new().expect("a folder");
    let log = start(LogSettings { queue_bytes: 64, ..settings(folder.path()) });
    assert_eq!(log.push(&record(Arm::Treatment)), Err(Dropped));
    assert_eq!(log.push(&record(Arm::Treatment)), Err(Dropped));
    assert_eq!(log.push(&record(Arm::Control)), Err(Dropped));
    assert_eq!(log.push(&record(Arm::NotEnrolled)), Err(Dropped));
    assert_eq!(log.push(&[]), Err(Dropped));
    let counters = log.counters();
    assert_eq!(counters.dropped.in_wire_order(), [1, 1, 2, 1]);
    assert_eq!((counters.offered, counters.written), (counters.dropped, 0));
}

#[test]
fn a_failing_file_system_costs_records_and_nothing_else() {
    let folder = TempDir::new().expect("a folder");
    let inner = folder.path().join("logs");
    let log = start(settings(&inner));
    std::fs::remove_dir(&inner).expect("empty");
    assert_eq!(log.push(&record(Arm::Treatment)), Err(Dropped), "it could not be counted");
    let error = log.flush().expect_err("no folder to write to");
    assert!(matches!(error, LogError::Io { action: "create", .. }), "{error}");
    let counters = log.counters();
    assert_eq!((counters.written, counters.write_errors, counters.dropped.treatment), (0, 1, 1));
    std::fs::create_dir(&inner).expect("made again");
    log.push(&record(Arm::Control)).expect("room in memory");
    log.flush().expect("it goes on");
    assert_eq!(log.counters().written, 1);
    log.roll().expect("sealed");
    // The counts stay open where they are; a segment cannot be made.
    std::fs::rename(&inner, folder.path().join("away")).expect("moved");
    log.push(&record(Arm::NotEnrolled)).expect("room in memory");
    let error = log.flush().expect_err("no folder to write to");
    assert!(matches!(error, LogError::Io { action: "create", .. }), "{error}");
    let counters = log.counters();
    assert_eq!((counters.offered.in_wire_order(), counters.dropped.in_wire_order()), ([0, 1, 1, 1], [0, 0, 1, 1]));
}

#[test]
fn a_log_that_cannot_begin_says_why() {
    let folder = TempDir::new().expect("a folder");
    for name in ["", "a/b", "ü", &"w".repeat(33)] {
        let error = CandidateLog::start(LogSettings { writer: name.into(), ..settings(folder.path()) });
        assert_eq!(error.expect_err("no file name").variant(), "WriterName");
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let error = CandidateLog::start(settings(&file)).expect_err("a file in place of the folder");
    assert!(matches!(error, LogError::Io { action: "make the folder", .. }), "{error}");
}

#[test]
fn what_is_no_segment_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let (path, good) = abandoned(&folder);
    let refused = |bytes: &[u8]| Segment::parse(bytes).expect_err("refused").variant();
    assert_eq!(refused(b"something else"), "NotALog");
    assert_eq!(refused(&good[..63]), "TornHeader");
    assert_eq!(refused(&[]), "TornHeader");
    let changed = |offset: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[offset] = value;
        bytes
    };
    assert_eq!(refused(&changed(8, 3)), "FutureVersion");
    assert_eq!(refused(&changed(20, 1)), "Corrupt");
    let with_kind = |version: u8, kind: u8| {
        let mut bytes = good.clone();
        (bytes[8], bytes[12]) = (version, kind);
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    for (version, kind) in [(0, 0), (1, 1), (2, 2)] {
        assert_eq!(refused(&with_kind(version, kind)), "Corrupt", "version {version}, kind {kind}");
    }
    assert!(Segment::parse(&with_kind(1, 0)).is_ok(), "what version 1 wrote is read");
    std::fs::write(path.with_extension("log"), &good).expect("written");
    let error = read_segment(&path.with_extension("log")).expect_err("no end frame");
    assert!(matches!(error, LogError::Unsealed { records: 3 }), "{error}");
    assert!(matches!(read_segment(Path::new("absent.log")), Err(LogError::Io { action: "read", .. })));
}

/// Records before the end, and how it ends or why it is refused.
fn outcome(bytes: &[u8]) -> (usize, Result<Ending, &'static str>) {
    let mut records = Segment::parse(bytes).expect("the header holds").records();
    let mut count = 0;
    while let Some(next) = records.next() {
        match next {
            Ok(found) => assert_eq!(found, record(Arm::ALL[count])),
            Err(error) => {
                assert!(records.next().is_none() && records.ending().is_none(), "nothing comes after damage");
                return (count, Err(error.variant()));
            }
        }
        count += 1;
    }
    (count, Ok(records.ending().expect("it ended")))
}

#[test]
fn a_torn_tail_costs_the_record_in_it_alone() {
    let folder = TempDir::new().expect("a folder");
    let (_, bytes) = abandoned(&folder);
    let frame = record(Arm::Control).len() + 12;
    for end in 64..bytes.len() {
        let whole = (end - 64) / frame;
        let ending = if (end - 64).is_multiple_of(frame) { Ending::Open } else { Ending::Torn };
        assert_eq!(outcome(&bytes[..end]), (whole, Ok(ending)), "{end} bytes");
        let mut extended = bytes[..end].to_vec();
        extended.resize(bytes.len() + 100, 0);
        assert_eq!(outcome(&extended).1, Ok(Ending::Torn), "{end} bytes and zeros");
    }
}

#[test]
fn damage_before_the_tail_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let (_, bytes) = abandoned(&folder);
    let frame = record(Arm::Control).len() + 12;
    for place in 64..64 + 2 * frame {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            assert_eq!(outcome(&damaged), ((place - 64) / frame, Err("Corrupt")), "byte {place}");
        }
    }
}

#[test]
fn any_damage_to_a_sealed_segment_shows() {
    let folder = TempDir::new().expect("a folder");
    let (open, _) = abandoned(&folder);
    let sealed = recover(&open).expect("recovered").expect("with records");
    let bytes = std::fs::read(&sealed).expect("a segment");
    assert_eq!(outcome(&bytes), (3, Ok(Ending::Sealed)));
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x04;
        std::fs::write(&sealed, &damaged).expect("written");
        assert!(read_segment(&sealed).is_err(), "byte {place}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(outcome(&longer), (3, Err("Corrupt")));
    // Two end frames in place of one: the second counts records that are not there.
    let mut without_records = bytes[..64].to_vec();
    without_records.extend_from_slice(&bytes[bytes.len() - 20..]);
    assert_eq!(outcome(&without_records), (0, Err("Corrupt")));
}

#[test]
fn recovery_seals_what_is_intact() {
    let folder = TempDir::new().expect("a folder");
    let (open, bytes) = abandoned(&folder);
    std::fs::write(&open, &bytes[..bytes.len() - 1]).expect("written");
    let sealed = recover(&open).expect("recovered").expect("with records");
    assert_eq!(sealed, open.with_extension("log"));
    assert_eq!(read_segment(&sealed).expect("sealed"), [record(Arm::Control), record(Arm::Treatment)]);
    assert!(!open.exists());
    assert_eq!(recover(&sealed).expect_err("sealed already").variant(), "NotOpen");

    std::fs::write(&open, &bytes[..70]).expect("written");
    assert_eq!(recover(&open).expect("nothing in it"), None);
    std::fs::write(&open, &bytes[..10]).expect("written");
    assert_eq!(recover(&open).expect("nothing in it"), None);
    assert!(!open.exists());

    let mut damaged = bytes;
    damaged[100] ^= 1;
    std::fs::write(&open, &damaged).expect("written");
    assert_eq!(recover(&open).expect_err("damaged").variant(), "Corrupt");
    assert_eq!(std::fs::read(&open).expect("left as it was"), damaged);
}

#[test]
fn pushes_from_many_threads_all_arrive() {
    let folder = TempDir::new().expect("a folder");
    let log = start(LogSettings { queue_bytes: 1 << 22, segment_bytes: 20_000, ..settings(folder.path()) });
    std::thread::scope(|scope| {
        for arm in Arm::ALL {
            let (log, record) = (&log, record(arm));
            scope.spawn(move || (0..500).for_each(|_| log.push(&record).expect("room")));
        }
    });
    drop(log);
    let records: Vec<_> = files(folder.path(), "log").iter().flat_map(|f| read_segment(f).expect("sealed")).collect();
    for arm in Arm::ALL {
        let of_arm = records.iter().filter(|found| **found == record(arm));
        assert_eq!(of_arm.count(), 500);
    }
}

proptest! {
    #[test]
    fn any_frames_are_read_or_refused(tail in vec(any::<u8>(), 0..200)) {
        static SEGMENT: LazyLock<Vec<u8>> = LazyLock::new(|| abandoned(&TempDir::new().expect("a folder")).1);
        let bytes = [&SEGMENT[..], &tail].concat();
        let records: Vec<_> = Segment::parse(&bytes).expect("the header holds").records().collect();
        prop_assert!(records.iter().filter(|record| record.is_ok()).count() >= 3);
        prop_assert!(records.iter().filter(|record| record.is_err()).count() <= 1);
    }
}
