//! Logs on disk: segments, counts, feedback, columns; torn, damaged, killed, without room.

mod columns;
mod counts;
mod disk_full;
mod feedback;
mod killed;
mod segments;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use ra_guard_core::assign::Arm;
use ra_guard_core::log::{CandidateLog, LogSettings, RecordFields};

fn settings(folder: &Path) -> LogSettings {
    LogSettings { folder: folder.to_owned(), writer: "w0".into(), queue_bytes: 1 << 16, segment_bytes: 1 << 20 }
}

fn start(settings: LogSettings) -> CandidateLog {
    CandidateLog::start(settings).expect("a log")
}

/// Files with an extension, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

/// The names of files, for comparison.
fn names(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.file_name().and_then(|name| name.to_str()).expect("a plain name")).collect()
}

/// A record of a call at a time.
fn record_at(assigned_arm: Option<Arm>, unix_ns: u64) -> Vec<u8> {
    let mut record = Vec::new();
    RecordFields { unix_ns, assigned_arm, ..support::records::fields(Arm::Control) }.encode(&mut record);
    record
}
