//! A writer killed in the middle of its work: what its counts say and what recovery finds add up.
//!
//! The writer is this test binary, started again with a folder in its environment.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ra_guard_core::assign::Arm;
use ra_guard_core::log::{FeedbackLog, FeedbackRecord, LogSettings, Record, Writing};
use ra_guard_core::log::{read_counts, read_segment, recover_folder};
use tempfile::TempDir;

use crate::support::records::TIME;
use crate::{files, record_at, settings, start};

const FOLDER: &str = "RA_GUARD_TEST_FOLDER";
const KILLS: u64 = 30;

/// Three threads push, one for each arm, and say so after each record.
#[test]
#[ignore = "runs as the child of counts_add_up_after_sigkill"]
fn push_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let small = LogSettings { queue_bytes: 1 << 14, segment_bytes: 6000, ..settings(Path::new(&folder)) };
    let log = start(small);
    std::thread::scope(|scope| {
        for arm in Arm::ALL {
            let log = &log;
            scope.spawn(move || {
                for count in 1u64.. {
                    // Drops are part of the test: the queue is small.
                    let _ = log.push(&record_at(Some(arm), TIME + count));
                    eprintln!("{} {count}", arm as u8);
                }
            });
        }
    });
}

/// Starts a child, reads `lines` lines, kills it, and returns all that it said.
fn kill_after(lines: usize, test: &str, folder: &Path) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("a binary"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut all = Vec::new();
    let mut next = |all: &mut Vec<String>| {
        let mut line = String::new();
        said.read_line(&mut line).expect("text");
        // The last line may be cut short.
        let whole = line.ends_with('\n');
        all.extend(whole.then(|| line.trim_end().to_owned()));
        whole
    };
    while all.len() < lines {
        assert!(next(&mut all), "the child lives until it is killed: {all:?}");
    }
    child.kill().expect("killed");
    while next(&mut all) {}
    child.wait().expect("reaped");
    all
}

#[test]
fn counts_add_up_after_sigkill() {
    let (mut sealed_in_all, mut lost_in_all) = (0, 0);
    for kill in 0..KILLS {
        let folder = TempDir::new().expect("a folder");
        let said = kill_after(1 + (kill * kill * 7) as usize, "killed::push_until_killed", folder.path());
        let recovered = recover_folder(folder.path()).expect("recovered");
        assert!(recovered.refused.is_empty(), "{:?}", recovered.refused);
        let (counts, writing) = read_counts(&files(folder.path(), "counts")[0]).expect("counts");
        assert_eq!((counts.closed, writing), (false, Writing::Gone));
        assert!(files(folder.path(), "open").is_empty());
        let records: Vec<_> =
            files(folder.path(), "log").iter().flat_map(|f| read_segment(f).expect("sealed")).collect();
        for (arm, offered) in Arm::ALL.into_iter().zip(&counts.offered.in_wire_order()[1..]) {
            let told = said.iter().rev().find_map(|line| line.strip_prefix(&format!("{} ", arm as u8)));
            let told = told.map_or(0, |count| count.parse::<u64>().expect("a number"));
            // Killed between counting and saying so: one more.
            assert!((told..=told + 1).contains(offered), "told {told}, counted {offered}");
            let decoded = records.iter().map(|record| Record::decode(record).expect("a record"));
            let sealed: Vec<_> = decoded.filter(|r| r.assigned_arm == Some(arm)).map(|r| r.unix_ns - TIME).collect();
            let distinct: BTreeSet<_> = sealed.iter().copied().collect();
            assert_eq!(distinct.len(), sealed.len(), "nothing is sealed twice");
            assert!(
                distinct.iter().all(|count| (1..=*offered).contains(count)),
                "nothing is sealed that was not offered"
            );
            sealed_in_all += sealed.len() as u64;
            lost_in_all += offered - sealed.len() as u64;
        }
    }
    println!("{sealed_in_all} sealed, {lost_in_all} lost in {KILLS} kills");
    assert!(sealed_in_all > 0 && lost_in_all > 0);
}

/// Appends, flushes, and only then says so.
#[test]
#[ignore = "runs as the child of what_was_flushed_survives_sigkill"]
fn acknowledge_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let log = FeedbackLog::start(LogSettings { segment_bytes: 600, ..settings(Path::new(&folder)) }).expect("a log");
    for count in 1u64.. {
        log.append(TIME + count, [&count.to_le_bytes()[..]; 3].into_iter()).expect("room");
        log.flush().expect("on disk");
        eprintln!("ok {count}");
    }
}

#[test]
fn what_was_flushed_survives_sigkill() {
    for kill in 0..10 {
        let folder = TempDir::new().expect("a folder");
        let said = kill_after(1 + 13 * kill, "killed::acknowledge_until_killed", folder.path());
        assert!(recover_folder(folder.path()).expect("recovered").refused.is_empty());
        let acknowledged: u64 =
            said.last().and_then(|line| line.strip_prefix("ok ")).expect("a line").parse().expect("n");
        let segments = files(folder.path(), "log");
        let payloads: Vec<_> = segments.iter().flat_map(|path| read_segment(path).expect("sealed")).collect();
        let counts = payloads.iter().map(|payload| FeedbackRecord::decode(payload).expect("an event"));
        let counts: Vec<_> = counts.map(|record| record.received_unix_ns - TIME).collect();
        assert!(counts.is_sorted());
        for count in 1..=acknowledged {
            assert_eq!(counts.iter().filter(|found| **found == count).count(), 3, "{count} of {acknowledged}");
        }
    }
}
