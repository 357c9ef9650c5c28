//! The candidate log: records of calls, accounted for by arm.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::accounts::{Accounts, Dropped};
use super::counts::ByArm;
use super::error::LogError;
use super::segment::{FRAME_HEADER_BYTES, append_frame};
use super::thread::{LogSettings, WritingThread};
use super::writer::{Duty, Wish};

/// A candidate log being written. Dropping it writes what is queued and seals the segment.
#[derive(Debug)]
pub struct CandidateLog {
    accounts: Arc<Accounts>,
    thread: WritingThread,
}

/// What has become of the records so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounters {
    /// Records offered, by arm.
    pub offered: ByArm,
    /// Records that found no room in the queue or could not be written, by arm.
    pub dropped: ByArm,
    /// Records handed to the file system.
    pub written: u64,
    /// Their bytes, with their frames.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Failures of the file system.
    pub write_errors: u64,
}

impl CandidateLog {
    /// Makes the folder and starts the thread that writes. Files appear with the first record.
    pub fn start(settings: LogSettings) -> Result<Self, LogError> {
        let accounts = Arc::new(Accounts::new(settings.folder.clone(), settings.writer.clone()));
        let thread = WritingThread::start(settings, "candidate-log", Duty::Account(Arc::clone(&accounts)))?;
        Ok(Self { accounts, thread })
    }

    /// Counts a record made by [`RecordFields::encode`](super::RecordFields::encode) and queues it. Never waits for the
    /// disk, save that the first call of a run creates the counts file; an error is already counted.
    pub fn push(&self, record: &[u8]) -> Result<(), Dropped> {
        let queued = self.accounts.offer(record).and_then(|()| self.queue(record));
        queued.inspect_err(|_| self.accounts.count_dropped(record))
    }

    fn queue(&self, record: &[u8]) -> Result<(), Dropped> {
        if record.is_empty() {
            return Err(Dropped);
        }
        let bytes = FRAME_HEADER_BYTES + record.len();
        self.thread.queue.append(bytes, |frames| append_frame(frames, &[record])).map_err(|_| Dropped)
    }

    /// Blocks until everything queued so far is on disk. An error tells that records since the last flush are not.
    pub fn flush(&self) -> Result<(), LogError> {
        self.thread.wait_for(Wish::OnDisk)
    }

    /// Blocks until everything queued so far is in a sealed segment; none is made where there is nothing to seal.
    pub fn roll(&self) -> Result<(), LogError> {
        self.thread.wait_for(Wish::Sealed)
    }

    /// Writes and seals what is queued, marks the counts closed, and takes nothing more: later records are counted as
    /// offered and dropped. An error tells that the counts are not closed.
    pub fn close(&self) -> Result<(), LogError> {
        self.thread.close()
    }

    /// What has become of the records so far.
    pub fn counters(&self) -> LogCounters {
        let tallies = &self.thread.queue.tallies;
        LogCounters {
            offered: self.accounts.offered(),
            dropped: self.accounts.dropped(),
            written: tallies.written.load(Ordering::Relaxed),
            bytes: tallies.bytes.load(Ordering::Relaxed),
            segments: tallies.segments.load(Ordering::Relaxed),
            write_errors: tallies.write_errors.load(Ordering::Relaxed),
        }
    }
}
