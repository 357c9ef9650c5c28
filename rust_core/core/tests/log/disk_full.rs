//! A disk that fills up: candidates are dropped and counted, feedback is refused and kept.
//!
//! The limit is real: a shell sets RLIMIT_FSIZE and ignores SIGXFSZ, then becomes this test binary again.

use std::path::Path;
use std::process::Command;

use ra_guard_core::assign::Arm;
use ra_guard_core::log::{FeedbackLog, LogSettings, Writing, read_counts, read_segment, recover_folder};
use tempfile::TempDir;

use crate::support::records::{TIME, record};
use crate::{files, settings, start};

const FOLDER: &str = "RA_GUARD_TEST_FOLDER";

/// Runs a test of this module as a child that may write files of so many blocks of 512 bytes.
fn run_limited(blocks: u32, test: &str, folder: &Path) {
    let child = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("a binary"))
        .args(["--exact", &format!("disk_full::{test}"), "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .output()
        .expect("a child");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

#[test]
#[ignore = "runs as the child of candidates_are_dropped_and_counted"]
fn push_into_a_limit() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let log = start(settings(Path::new(&folder)));
    let mut errors = Vec::new();
    for arm in Arm::ALL.into_iter().cycle().take(60) {
        log.push(&record(arm)).expect("room in memory");
        errors.extend(log.flush().err());
    }
    assert!(errors.iter().all(|error| error.variant() == "DiskFull"), "{errors:?}");
    let counters = log.counters();
    assert_eq!(counters.offered.in_wire_order(), [0, 20, 20, 20]);
    let dropped: u64 = counters.dropped.in_wire_order().iter().sum();
    assert_eq!((dropped, dropped + counters.written), (errors.len() as u64, 60));
    assert!(dropped > 0 && counters.written > 0);
    std::fs::write(Path::new(&folder).join("written"), counters.written.to_string()).expect("a small file");
}

#[test]
fn candidates_are_dropped_and_counted() {
    let folder = TempDir::new().expect("a folder");
    run_limited(16, "push_into_a_limit", folder.path());
    let written = std::fs::read_to_string(folder.path().join("written")).expect("said");
    recover_folder(folder.path()).expect("recovered");
    let sealed: usize = files(folder.path(), "log").iter().map(|path| read_segment(path).expect("sealed").len()).sum();
    assert_eq!(sealed.to_string(), written);
    let (counts, writing) = read_counts(&files(folder.path(), "counts")[0]).expect("counts");
    assert_eq!((counts.offered.in_wire_order(), writing), ([0, 20, 20, 20], Writing::Gone));
}

#[test]
#[ignore = "runs as the child of nothing_is_sealed_that_could_not_be_counted"]
fn push_without_room_for_counts() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let log = start(settings(Path::new(&folder)));
    for _ in 0..10 {
        assert!(log.push(&record(Arm::Treatment)).is_err(), "not counted durably, not taken");
        assert_eq!(log.flush().expect_err("no counts").variant(), "DiskFull");
    }
    let counters = log.counters();
    assert_eq!((counters.offered.treatment, counters.dropped.treatment, counters.written), (10, 10, 0));
}

#[test]
fn nothing_is_sealed_that_could_not_be_counted() {
    let folder = TempDir::new().expect("a folder");
    run_limited(4, "push_without_room_for_counts", folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
}

#[test]
#[ignore = "runs as the child of feedback_is_refused_and_kept"]
fn append_into_a_limit() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let log = FeedbackLog::start(settings(Path::new(&folder))).expect("a log");
    let event = [7; 1000];
    let (mut acknowledged, mut refused) = (0, false);
    for time in 0..200 {
        match log.append(TIME + time, [&event[..]].into_iter()) {
            Ok(()) => match log.flush() {
                Ok(()) => acknowledged += 1,
                Err(error) => assert_eq!(error.variant(), "DiskFull"),
            },
            Err(error) => {
                assert_eq!(error.variant(), "QueueFull");
                refused = true;
            }
        }
    }
    assert!(refused && acknowledged > 0, "{acknowledged}");
    assert_eq!(log.counters().written, acknowledged);
    assert_eq!(log.close().expect_err("events are left").variant(), "DiskFull");
    std::fs::write(Path::new(&folder).join("acknowledged"), acknowledged.to_string()).expect("a small file");
}

#[test]
fn feedback_is_refused_and_kept() {
    let folder = TempDir::new().expect("a folder");
    run_limited(16, "append_into_a_limit", folder.path());
    recover_folder(folder.path()).expect("recovered");
    let sealed: usize = files(folder.path(), "log").iter().map(|path| read_segment(path).expect("sealed").len()).sum();
    let acknowledged = std::fs::read_to_string(folder.path().join("acknowledged")).expect("said");
    assert_eq!(sealed.to_string(), acknowledged);
}

#[test]
fn feedback_waits_in_memory_for_the_disk() {
    let folder = TempDir::new().expect("a folder");
    let (logs, away) = (folder.path().join("logs"), folder.path().join("away"));
    let log = FeedbackLog::start(LogSettings { segment_bytes: 100, ..settings(&logs) }).expect("a log");
    std::fs::rename(&logs, &away).expect("moved");
    for time in 0..5 {
        log.append(TIME + time, [&b"event"[..]].into_iter()).expect("room in memory");
        assert_eq!(log.flush().expect_err("nowhere to write").variant(), "Io");
        assert_eq!(log.flush().expect_err("whoever asks is told").variant(), "Io");
    }
    assert_eq!(log.counters().written, 0);
    std::fs::rename(&away, &logs).expect("back");
    log.flush().expect("on disk");
    assert_eq!(log.counters().written, 5);
    log.close().expect("sealed");
    let sealed: usize = files(&logs, "log").iter().map(|path| read_segment(path).expect("sealed").len()).sum();
    assert_eq!(sealed, 5, "once each");
}
