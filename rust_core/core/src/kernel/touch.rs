//! The floor of every kernel: the same rows, one word of each cache line, no arithmetic to speak of.

use super::LINE_BYTES;
use super::prefetch::announce;

/// Rows read side by side, and announced ahead: the fastest without arithmetic.
const ROWS: usize = 4;
/// Up to here the CPU overlaps enough rows by itself, and announcing only costs.
const SHORT_ROW_BYTES: usize = 512;

/// Wrapping sum of the first word of every cache line of the rows `row(0)..row(n)`.
///
/// # Panics
/// When the rows differ in length.
pub(super) fn touch_rows<'a>(n: usize, row: impl Fn(usize) -> &'a [u8]) -> u64 {
    if n == 0 {
        return 0;
    }
    let stride = row(0).len();
    if stride <= SHORT_ROW_BYTES {
        return (0..n).fold(0, |sum, i| sum.wrapping_add(touch(row(i))));
    }
    let whole = n - n % ROWS;
    let block = |first: usize| -> [&'a [u8]; ROWS] { std::array::from_fn(|r| &row((first + r).min(n - 1))[..stride]) };
    let mut sum = 0u64;
    for first in (0..whole).step_by(ROWS) {
        let (rows, next) = (block(first), block(first + ROWS));
        for line in 0..stride / LINE_BYTES {
            sum = rows.iter().fold(sum, |sum, row| sum.wrapping_add(first_word(&row[line * LINE_BYTES..])));
            announce(next, line);
        }
    }
    (whole..n).fold(sum, |sum, i| sum.wrapping_add(touch(row(i))))
}

fn touch(row: &[u8]) -> u64 {
    row.chunks_exact(LINE_BYTES).fold(0, |sum, line| sum.wrapping_add(first_word(line)))
}

fn first_word(line: &[u8]) -> u64 {
    line.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}
