//! Mapped files: the one place of this folder with `unsafe`.
//!
//! Assumes that a published file is never modified, only unlinked: shards are written under a temporary name,
//! synced, and renamed once. A file that is cut short while mapped ends the process with SIGBUS, as it does every
//! program that maps files; that is why nothing here ever maps a file that is still being written.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Advice, Mmap};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::shard::layout::PAGE;

/// A whole file, mapped read-only.
#[derive(Debug)]
pub struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// Maps the file as long as it is now. Reads nothing.
    pub fn open(file: &File) -> io::Result<Mapping> {
        // SAFETY: the mapping is private to readers and the file is write-once (see the module's assumption), so
        // the bytes behind the returned slices do not change while they are borrowed.
        Ok(Mapping { map: unsafe { Mmap::map(file)? } })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Touches every page with the CPU, so that no call meets a page fault; returns the bytes walked.
    ///
    /// Asking the kernel to populate is not enough: on virtual machines the first touch by the CPU of a page that
    /// was read from disk can cost microseconds even after it.
    ///
    /// Asked before the first touch, a kernel whose file system knows large folios reads and maps the file in pages of
    /// 2 MiB, which spares random rows most of their page walks; every process that maps the file shares them.
    pub fn populate(&self) -> u64 {
        // Advice only: where the kernel does not know it, the walk does all the work.
        for advice in [Advice::HugePage, Advice::Sequential, Advice::PopulateRead] {
            let _ = self.map.advise(advice);
        }
        for page in self.map.chunks(PAGE) {
            std::hint::black_box(page[0]);
        }
        // From here on candidates are random rows: reading ahead would only evict useful pages.
        let _ = self.map.advise(Advice::Random);
        self.map.len() as u64
    }

    /// Pages in memory and pages in all.
    pub fn resident_pages(&self) -> (u64, u64) {
        /// Pages asked about at once: 1 GiB of mapping, 256 KiB of answers.
        const WINDOW: usize = 1 << 18;
        let mut states = vec![0u8; WINDOW];
        let mut resident = 0;
        for window in self.map.chunks(WINDOW * PAGE) {
            let pages = window.len().div_ceil(PAGE);
            // SAFETY: the window starts on a page of a live mapping (the map is page-aligned and WINDOW * PAGE a
            // multiple of the page size), and `states` holds a byte for each of its pages.
            let answer =
                unsafe { libc::mincore(window.as_ptr().cast_mut().cast(), window.len(), states.as_mut_ptr().cast()) };
            if answer == 0 {
                resident += states[..pages].iter().filter(|state| **state & 1 != 0).count() as u64;
            }
        }
        (resident, self.map.len().div_ceil(PAGE) as u64)
    }
}

/// A typed section of a mapping: a slice that keeps its file mapped.
///
/// Checking size and alignment once, here, makes an access on the hot path one bounds check.
#[derive(Debug)]
pub struct Column<T> {
    start: NonNull<T>,
    len: usize,
    _mapping: Arc<Mapping>,
}

// SAFETY: a column is a shared, immutable view, as `&[T]` is; it owns a share of the mapping behind it.
unsafe impl<T: Sync> Send for Column<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Column<T> {}

impl<T: FromBytes + Immutable + KnownLayout> Column<T> {
    /// The items in a byte range; `None` when the range leaves the file, cuts an item or is misaligned.
    pub fn new(mapping: &Arc<Mapping>, range: Range<usize>) -> Option<Column<T>> {
        let bytes = mapping.bytes().get(range)?;
        let items = <[T]>::ref_from_bytes(bytes).ok()?;
        Some(Column { start: NonNull::from(items).cast(), len: items.len(), _mapping: Arc::clone(mapping) })
    }
}

impl<T> Deref for Column<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `start` and `len` come from a slice of the mapping, checked for bounds, size, alignment and valid
        // bit patterns in `new`; the mapping lives at least as long as `self` and never moves or changes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

/// Asks for the cache line of `items[index]`, into the second-level cache: it has room for many more requests in
/// flight than the first. Out of range is harmless and does nothing useful.
#[inline(always)]
pub fn prefetch<T>(items: &[T], index: usize) {
    prefetch_line(items.as_ptr().wrapping_add(index).cast());
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_line(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: prefetching is a hint that never faults, whatever the address; SSE is part of x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(address) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch_line(_address: *const i8) {}
