//! The feedback log: events that are acknowledged only once they are on disk.

use std::sync::atomic::Ordering;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::error::LogError;
use super::queue::Refused;
use super::segment::{FRAME_HEADER_BYTES, append_frame};
use super::thread::{LogSettings, WritingThread};
use super::writer::{Duty, Wish};

/// Bytes of a payload before its event.
const PREFIX_BYTES: usize = size_of::<U64>();

/// A feedback log being written. Dropping it writes what is queued and seals the segment.
#[derive(Debug)]
pub struct FeedbackLog {
    thread: WritingThread,
}

/// What has become of the events so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedbackCounters {
    /// Events on disk.
    pub written: u64,
    /// Their bytes, with their frames.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Failures of the file system.
    pub write_errors: u64,
}

impl FeedbackLog {
    /// Makes the folder and starts the thread that writes. The first segment appears with the first event.
    pub fn start(settings: LogSettings) -> Result<Self, LogError> {
        Ok(Self { thread: WritingThread::start(settings, "feedback-log", Duty::Keep)? })
    }

    /// Queues events that arrived together, all or none. They are safe once [`flush`](Self::flush) has returned.
    pub fn append<'e>(
        &self,
        received_unix_ns: u64,
        events: impl ExactSizeIterator<Item = &'e [u8]> + Clone,
    ) -> Result<(), LogError> {
        let received = U64::new(received_unix_ns);
        let count = events.len();
        let wanted = events.clone().map(|event| FRAME_HEADER_BYTES + PREFIX_BYTES + event.len()).sum();
        let queued = self.thread.queue.append(wanted, |frames| {
            events.for_each(|event| append_frame(frames, &[received.as_bytes(), event]));
        });
        queued.map_err(|refused| match refused {
            Refused::Full { free } => LogError::QueueFull { events: count, wanted, free },
            Refused::Closed => LogError::Closed,
        })
    }

    /// Blocks until everything queued so far is on disk. After an error it is still in memory and tried again; whoever
    /// waits for it asks once more.
    pub fn flush(&self) -> Result<(), LogError> {
        self.thread.wait_for(Wish::OnDisk)
    }

    /// Blocks until everything queued so far is in a sealed segment; none is made where there is nothing to seal.
    pub fn roll(&self) -> Result<(), LogError> {
        self.thread.wait_for(Wish::Sealed)
    }

    /// Writes and seals what is queued, and takes nothing more. An error tells that something did not reach the disk,
    /// or was not sealed.
    pub fn close(&self) -> Result<(), LogError> {
        self.thread.close()
    }

    /// What has become of the events so far.
    pub fn counters(&self) -> FeedbackCounters {
        let tallies = &self.thread.queue.tallies;
        FeedbackCounters {
            written: tallies.written.load(Ordering::Relaxed),
            bytes: tallies.bytes.load(Ordering::Relaxed),
            segments: tallies.segments.load(Ordering::Relaxed),
            write_errors: tallies.write_errors.load(Ordering::Relaxed),
        }
    }
}

/// One event of a feedback segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackRecord<'a> {
    /// When the event arrived.
    pub received_unix_ns: u64,
    /// The serialised `FeedbackEvent`, verbatim.
    pub event: &'a [u8],
}

impl<'a> FeedbackRecord<'a> {
    /// Reads the payload of a frame.
    pub fn decode(payload: &'a [u8]) -> Result<Self, LogError> {
        let Some((received, event)) = payload.split_first_chunk() else {
            let found = payload.len() as u64;
            return Err(LogError::BadRecord { field: "feedback", found, wanted: "8 bytes of time and an event" });
        };
        Ok(Self { received_unix_ns: u64::from_le_bytes(*received), event })
    }
}

/// The time of a payload, 0 for one cut short.
pub(super) fn unix_ns(payload: &[u8]) -> u64 {
    FeedbackRecord::decode(payload).map_or(0, |record| record.received_unix_ns)
}
