//! What a candidate log owes an account of: records offered and records dropped, by arm.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::counts::{ByArm, CountsFile};
use super::error::LogError;
use super::queue::lock;
use super::record;

/// A record that is not in the log. It is counted by its arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("candidate log: found no room for a record, wanted some; it is dropped and counted, let the disk catch up")]
pub struct Dropped;

/// The accounts of one run.
#[derive(Debug)]
pub(super) struct Accounts {
    folder: PathBuf,
    writer: String,
    /// Made at the first offer: its name holds the time of the first record, and nobody here has a clock.
    counts: OnceLock<CountsFile>,
    unbegun: Mutex<Unbegun>,
    dropped: [AtomicU64; 4],
}

/// While there is no counts file.
#[derive(Debug, Default)]
struct Unbegun {
    offered: [u64; 4],
    /// Why there is none. While it stands nobody tries again: the writing thread takes it each time it comes by.
    failure: Option<LogError>,
}

impl Accounts {
    pub(super) fn new(folder: PathBuf, writer: String) -> Self {
        Self {
            folder,
            writer,
            counts: OnceLock::new(),
            unbegun: Mutex::default(),
            dropped: [const { AtomicU64::new(0) }; 4],
        }
    }

    /// Counts a record before it is queued. Refused while it could not be counted durably: a record must never be
    /// sealed that was not counted.
    pub(super) fn offer(&self, record: &[u8]) -> Result<(), Dropped> {
        let arm = arm_of(record);
        match self.counts.get() {
            Some(counts) => counts.offer(arm),
            None => self.begin(arm, record::unix_ns(record))?,
        }
        Ok(())
    }

    #[cold]
    fn begin(&self, arm: usize, unix_ns: u64) -> Result<(), Dropped> {
        let mut unbegun = lock(&self.unbegun);
        if self.counts.get().is_none() && unbegun.failure.is_none() {
            match CountsFile::create(&self.folder, &self.writer, unix_ns, unbegun.offered) {
                Ok(counts) => drop(self.counts.set(counts)),
                Err(error) => unbegun.failure = Some(error),
            }
        }
        if let Some(counts) = self.counts.get() {
            counts.offer(arm);
            return Ok(());
        }
        unbegun.offered[arm] += 1;
        Err(Dropped)
    }

    pub(super) fn count_dropped(&self, record: &[u8]) {
        self.dropped[arm_of(record)].fetch_add(1, Ordering::Relaxed);
    }

    /// Why records could not be counted since this was last asked.
    pub(super) fn take_failure(&self) -> Option<LogError> {
        match self.counts.get() {
            Some(_) => None,
            None => lock(&self.unbegun).failure.take(),
        }
    }

    /// The counts, once a record was offered.
    pub(super) fn counts(&self) -> Option<&CountsFile> {
        self.counts.get()
    }

    pub(super) fn offered(&self) -> ByArm {
        // Under the lock, so that a file made meanwhile is not missed.
        let unbegun = lock(&self.unbegun);
        ByArm::from_wire_order(self.counts.get().map_or(unbegun.offered, CountsFile::offered))
    }

    pub(super) fn dropped(&self) -> ByArm {
        ByArm::from_wire_order(self.dropped.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// Arms as `ra_guard.v1.Arm`; what is no arm counts as the last.
fn arm_of(record: &[u8]) -> usize {
    record::assigned_arm_number(record).min(3)
}
