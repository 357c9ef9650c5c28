//! Announcing reads to the memory system.
//!
//! The second-level cache is the target: on the measured machine asking for the first level, or past the
//! caches, was slower than not asking at all.

use super::LINE_BYTES;

/// Asks for line `line` of each row to be in the second-level cache soon. Reads nothing.
#[inline(always)]
pub(super) fn announce<const ROWS: usize>(rows: [&[u8]; ROWS], line: usize) {
    for row in rows {
        announce_address(row.as_ptr().wrapping_add(line * LINE_BYTES));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn announce_address(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: every x86-64 CPU has SSE, and a prefetch never faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn announce_address(_: *const u8) {}
