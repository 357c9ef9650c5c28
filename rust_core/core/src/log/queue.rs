//! The bounded queue between calls and the writing thread.
//!
//! Two buffers of half the memory each: calls append to one while the thread writes the other, and swapping them is
//! all that either waits for. Calls never wake the thread; it looks by itself every few milliseconds, which saves
//! each call the 20-40 us of a wake-up across cores.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::error::LogError;
use super::record;
use super::segment::{FRAME_HEADER_BYTES, append_frame};

/// A record that found no room. It is counted by its arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("candidate log: the queue is full; the record is dropped and counted")]
pub struct Dropped;

/// What has become of the records so far. Dropped: found no room in the queue, or could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounters {
    /// Records handed to the file system.
    pub written: u64,
    /// Records lost of users in control.
    pub dropped_control: u64,
    /// Records lost of users in treatment.
    pub dropped_treatment: u64,
    /// Records lost of users in neither arm.
    pub dropped_not_enrolled: u64,
    /// Records lost of calls without a plan to assign by.
    pub dropped_unassigned: u64,
    /// Bytes of the records handed to the file system, with their frames.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Failures of the file system.
    pub write_errors: u64,
}

/// Lost records by assigned arm: unassigned, control, treatment, not enrolled.
type ByArm = [AtomicU64; 4];

/// What calls and the writing thread share.
#[derive(Debug)]
pub(super) struct Shared {
    queued: Mutex<Vec<u8>>,
    half_bytes: usize,
    dropped: ByArm,
    pub(super) written: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) write_errors: AtomicU64,
    stopping: AtomicBool,
    flushes: Mutex<Flushes>,
    flushed: Condvar,
}

#[derive(Debug, Default)]
struct Flushes {
    requested: u64,
    done: u64,
    error: Option<LogError>,
}

impl Shared {
    pub(super) fn new(queue_bytes: usize) -> Self {
        let half_bytes = queue_bytes / 2;
        Self {
            queued: Mutex::new(touched_buffer(half_bytes)),
            half_bytes,
            dropped: ByArm::default(),
            written: AtomicU64::default(),
            bytes: AtomicU64::default(),
            segments: AtomicU64::default(),
            write_errors: AtomicU64::default(),
            stopping: AtomicBool::default(),
            flushes: Mutex::default(),
            flushed: Condvar::default(),
        }
    }

    /// The writing thread's buffer, to swap against the other.
    pub(super) fn second_buffer(&self) -> Vec<u8> {
        touched_buffer(self.half_bytes)
    }

    pub(super) fn push(&self, record: &[u8]) -> Result<(), Dropped> {
        let mut queued = lock(&self.queued);
        if record.is_empty() || self.half_bytes - queued.len() < FRAME_HEADER_BYTES + record.len() {
            drop(queued);
            self.count_dropped(record);
            return Err(Dropped);
        }
        append_frame(&mut queued, record);
        Ok(())
    }

    /// Takes all that is queued; `empty` becomes the buffer that calls append to.
    pub(super) fn take(&self, empty: &mut Vec<u8>) {
        std::mem::swap(&mut *lock(&self.queued), empty);
    }

    pub(super) fn count_dropped(&self, record: &[u8]) {
        let arm = record::assigned_arm_number(record).min(self.dropped.len() - 1);
        self.dropped[arm].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> LogCounters {
        let [unassigned, control, treatment, not_enrolled] = &self.dropped;
        LogCounters {
            written: self.written.load(Ordering::Relaxed),
            dropped_control: control.load(Ordering::Relaxed),
            dropped_treatment: treatment.load(Ordering::Relaxed),
            dropped_not_enrolled: not_enrolled.load(Ordering::Relaxed),
            dropped_unassigned: unassigned.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            write_errors: self.write_errors.load(Ordering::Relaxed),
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until the thread has written what was queued before this call.
    pub(super) fn flush(&self, thread: &JoinHandle<()>) -> Result<(), LogError> {
        let mut flushes = lock(&self.flushes);
        flushes.requested += 1;
        let ticket = flushes.requested;
        thread.thread().unpark();
        while flushes.done < ticket {
            if thread.is_finished() {
                return Err(LogError::WriterGone);
            }
            let waited = self.flushed.wait_timeout(flushes, Duration::from_millis(100));
            flushes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        flushes.error.take().map_or(Ok(()), Err)
    }

    /// The latest flush asked for, when it is not done yet.
    pub(super) fn requested_flush(&self) -> Option<u64> {
        let flushes = lock(&self.flushes);
        (flushes.requested > flushes.done).then_some(flushes.requested)
    }

    pub(super) fn complete_flush(&self, ticket: u64, error: Option<LogError>) {
        let mut flushes = lock(&self.flushes);
        flushes.done = ticket;
        flushes.error = error;
        self.flushed.notify_all();
    }
}

/// What a lock guards here is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty buffer whose pages are in memory already: a call must not meet their first faults.
fn touched_buffer(bytes: usize) -> Vec<u8> {
    let mut buffer = vec![1; bytes];
    buffer.clear();
    buffer
}
