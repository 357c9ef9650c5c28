#![doc = include_str!("FORMAT.md")]
//!
//! # In memory
//!
//! [`RecordFields::encode`] makes a record, [`CandidateLog::push`] copies it into a bounded queue, and a thread writes
//! what is queued every few milliseconds. A full queue or a failing disk costs records, which are counted by arm, and
//! never time.

mod decode;
mod error;
mod queue;
mod read;
mod record;
mod recover;
mod segment;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

pub use decode::{Column, PoolIds, Positions, Record, Teams};
pub use error::LogError;
pub use queue::{Dropped, LogCounters};
pub use read::{Ending, Records, Segment, read_segment};
pub use record::{RecordFields, ScoreColumns};
pub use recover::{Recovered, recover, recover_folder};

use queue::Shared;
use segment::is_writer_name;
use writer::Writer;

/// Where and how a candidate log is written.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The folder; made when missing.
    pub folder: PathBuf,
    /// Tells the segments of several processes apart: 1..=32 characters of `A-Z a-z 0-9 _ . -`.
    pub writer: String,
    /// Memory for records on their way to the disk, taken once.
    pub queue_bytes: usize,
    /// A segment is sealed before it grows beyond this.
    pub segment_bytes: u64,
}

/// A candidate log being written. Dropping it writes what is queued and seals the segment.
#[derive(Debug)]
pub struct CandidateLog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl CandidateLog {
    /// Makes the folder and starts the thread that writes. The first segment appears with the first record.
    pub fn start(settings: LogSettings) -> Result<Self, LogError> {
        if !is_writer_name(&settings.writer) {
            return Err(LogError::WriterName { found: settings.writer });
        }
        std::fs::create_dir_all(&settings.folder).map_err(LogError::io("make the folder", &settings.folder))?;
        let shared = Arc::new(Shared::new(settings.queue_bytes));
        let writer = Writer::new(Arc::clone(&shared), settings);
        let thread = std::thread::Builder::new().name("candidate-log".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(|source| LogError::Thread { source })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a record made by [`RecordFields::encode`]. Never waits for the disk; an error is already counted.
    pub fn push(&self, record: &[u8]) -> Result<(), Dropped> {
        self.shared.push(record)
    }

    /// Blocks until everything queued so far is on disk. An error tells that records since the last flush are not.
    pub fn flush(&self) -> Result<(), LogError> {
        let Some(thread) = &self.thread else {
            return Err(LogError::WriterGone);
        };
        self.shared.flush(thread)
    }

    /// What has become of the records so far.
    pub fn counters(&self) -> LogCounters {
        self.shared.counters()
    }
}

impl Drop for CandidateLog {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A writer that panicked has nothing left to seal; its segment is recovered later.
            drop(thread.join());
        }
    }
}
