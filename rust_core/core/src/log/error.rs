//! Why a log cannot be written or read: one variant per cause.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::wire::RequestError;

/// A log that cannot be written or read. Clones, because all who wait for one write are told why it failed.
#[derive(Debug, Clone, Error, strum::IntoStaticStr, strum::VariantNames)]
pub enum LogError {
    /// Not a segment.
    #[error("log: found another kind of file, wanted one that starts with RAGCLOG; check the path")]
    NotALog,
    /// Not a counts file.
    #[error("log counts: found another kind of file, wanted one that starts with RAGCNTS; check the path")]
    NotCounts,
    /// A counts file without a whole page.
    #[error("log counts: found {found} bytes, wanted 4096; no record was offered to this run")]
    TornCounts {
        /// Bytes found.
        found: usize,
    },
    /// A segment without a whole header.
    #[error("log: found {found} bytes, wanted a header of 64; nothing was written to this segment")]
    TornHeader {
        /// Bytes found.
        found: usize,
    },
    /// Written by a newer build.
    #[error("log: found {what} version {found}, wanted at most {supported}; read it with a newer build")]
    FutureVersion {
        /// "format", "record" or "counts".
        what: &'static str,
        /// Version found.
        found: u32,
        /// Newest version that this build reads.
        supported: u32,
    },
    /// A segment of the other kind.
    #[error("log: found a segment of {found}, wanted one of {wanted}; read it as what it is")]
    WrongKind {
        /// Kind found.
        found: &'static str,
        /// Kind asked for.
        wanted: &'static str,
    },
    /// Bytes that no crash explains.
    #[error("log: found {what} at byte {offset}; damaged: restore the file, or keep the records before it")]
    Corrupt {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A sealed segment without its end.
    #[error("log: found {records} records and no end frame, wanted one in a .log file; cut short: restore it")]
    Unsealed {
        /// Intact records found.
        records: u64,
    },
    /// A record whose parts do not add up.
    #[error("log record: found {found} for {field}, wanted {wanted}")]
    BadRecord {
        /// The part.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it may hold.
        wanted: &'static str,
    },
    /// A record whose request is not one.
    #[error(
        "log: found record {record} with a request that is refused: {source}; read it with the build that wrote it"
    )]
    BadRequest {
        /// Records before it.
        record: u64,
        /// Why.
        source: RequestError,
    },
    /// More than a column can hold.
    #[error("log: found {found} values in one column of a segment, wanted at most 2147483647; write smaller segments")]
    TooLarge {
        /// Values or bytes found.
        found: u64,
    },
    /// Recovery of a segment that its writer still holds.
    #[error("log: found {path} locked by its writer, wanted one left behind; let the writer seal it")]
    InUse {
        /// The segment.
        path: PathBuf,
    },
    /// Recovery of something else than an open segment.
    #[error("log: found {path}, wanted a segment that ends in .open; sealed ones need no recovery")]
    NotOpen {
        /// The path.
        path: PathBuf,
    },
    /// A writer name that cannot be part of a file name.
    #[error("log writer: found {found:?}, wanted 1..32 characters of A-Z a-z 0-9 _ . -")]
    WriterName {
        /// The name.
        found: String,
    },
    /// No room for events.
    #[error("log: found {free} bytes of its queue free, wanted {wanted} for {events} events; send them again later")]
    QueueFull {
        /// Events refused.
        events: usize,
        /// Bytes that they take.
        wanted: usize,
        /// Bytes that are free.
        free: usize,
    },
    /// The log was closed.
    #[error("log: found it closed, wanted it open; what was queued before is on disk, start a new one for more")]
    Closed,
    /// The writing thread ended early.
    #[error("log: found its writer gone, wanted it running; restart the process and report the fault")]
    WriterGone,
    /// The writing thread could not be started.
    #[error("log: cannot start its writer: {source}")]
    Thread {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// No space left.
    #[error(
        "log: found no space to {action} {path}; make room: candidates are dropped and counted, feedback is refused"
    )]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("log: cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

impl LogError {
    /// The variant's name.
    pub fn variant(&self) -> &'static str {
        self.into()
    }

    /// Turns the system's error into this one, told what was tried on which file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { action, path: path.to_owned() }
            }
            _ => Self::Io { action, path: path.to_owned(), source: Arc::new(source) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Causes that no test can bring about: a system out of threads, a fault in the writing thread.
    #[test]
    fn failures_of_the_system_are_named() {
        let thread = LogError::Thread { source: Arc::new(io::ErrorKind::WouldBlock.into()) };
        assert_eq!((thread.variant(), LogError::WriterGone.variant()), ("Thread", "WriterGone"));
        assert!(thread.to_string().contains("cannot start its writer"), "{thread}");
        let quota = LogError::io("write", Path::new("a.open"))(io::ErrorKind::QuotaExceeded.into());
        assert!(matches!(&quota, LogError::DiskFull { action: "write", .. }), "{quota}");
    }
}
