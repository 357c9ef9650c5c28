//! A page of counters in a mapped file: the one place of this folder with `unsafe`.
//!
//! A store to the page is in the kernel's memory at once, so it outlives the process, SIGKILL included, for the price of
//! an addition. The file is written in full before it is mapped: a hole would be filled at the first store, and a full
//! disk would end the process then. Who cuts the file short ends the process, as with every mapped file.

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use memmap2::MmapRaw;

/// Bytes of the file.
pub(super) const PAGE_BYTES: usize = 4096;
const WORDS: usize = PAGE_BYTES / size_of::<AtomicU64>();

/// A file of [`PAGE_BYTES`], shared with whoever reads it.
#[derive(Debug)]
pub(super) struct CounterPage {
    map: MmapRaw,
}

impl CounterPage {
    /// Maps a file of [`PAGE_BYTES`] that is open for reading and writing.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        let map = MmapRaw::map_raw(file)?;
        if map.len() != PAGE_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { map })
    }

    /// The 64-bit word at an index below `PAGE_BYTES / 8`.
    pub(super) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS);
        // SAFETY: the mapping is page-aligned, PAGE_BYTES long (checked in `map`), readable, writable and lives as long
        // as the returned reference; the index is in bounds. This process touches the page through atomics alone.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) }
    }
}
