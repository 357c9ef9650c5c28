//! The bounded queue between those who append and the writing thread.
//!
//! Two buffers of half the memory each: callers append to one while the thread writes the other, and swapping them is
//! all that either waits for. Calls never wake the thread; it looks by itself every few milliseconds, which saves
//! each call the 20-40 us of a wake-up across cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// There is no room for what was to be queued, or nothing is taken any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Bytes that are free until the thread comes by.
    Full { free: usize },
    /// Closed.
    Closed,
}

/// What the thread found in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// More may come.
    Running,
    /// The queue was closed before: these are the last.
    Last,
}

/// What callers and the writing thread share.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    half_bytes: usize,
    pub(super) tallies: Tallies,
}

#[derive(Debug)]
struct Waiting {
    frames: Vec<u8>,
    closed: bool,
}

/// What the writing thread has done so far.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) written: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) write_errors: AtomicU64,
}

impl Tallies {
    pub(super) fn written(&self, records: u64, bytes: usize) {
        self.written.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new(queue_bytes: usize) -> Self {
        let half_bytes = queue_bytes / 2;
        let waiting = Waiting { frames: touched_buffer(half_bytes), closed: false };
        Self { waiting: Mutex::new(waiting), half_bytes, tallies: Tallies::default() }
    }

    /// The writing thread's buffer, to swap against the other.
    pub(super) fn second_buffer(&self) -> Vec<u8> {
        touched_buffer(self.half_bytes)
    }

    /// Appends frames of `bytes` bytes in all, or none of them.
    pub(super) fn append(&self, bytes: usize, append: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        let mut waiting = lock(&self.waiting);
        let free = self.half_bytes - waiting.frames.len();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        if bytes > free {
            return Err(Refused::Full { free });
        }
        append(&mut waiting.frames);
        debug_assert_eq!(waiting.frames.len() + free - bytes, self.half_bytes);
        Ok(())
    }

    /// Takes all that is queued; `empty` becomes the buffer that callers append to.
    pub(super) fn take(&self, empty: &mut Vec<u8>) -> Taken {
        let mut waiting = lock(&self.waiting);
        std::mem::swap(&mut waiting.frames, empty);
        if waiting.closed { Taken::Last } else { Taken::Running }
    }

    /// From here on nothing is taken in.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.waiting).closed
    }
}

/// What a lock guards here is whole between any two statements, so a panic elsewhere does not spoil it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty buffer whose pages are in memory already: a call must not meet their first faults.
fn touched_buffer(bytes: usize) -> Vec<u8> {
    let mut buffer = vec![1; bytes];
    buffer.clear();
    buffer
}
