//! Walks the rows of a call in blocks, and names the rows to announce during each block.

/// Calls `block(rows, next)` for every `B` rows and writes the dot products that it returns; `next` are the
/// rows of the block after it. Past the end both repeat the last row: a block is always full, and since a
/// row's bits do not depend on its neighbours the surplus results are simply dropped.
///
/// Inlined into a function that enables the CPU features, so that `block` is compiled with them.
///
/// # Panics
/// When a row is not `stride` bytes long: the kernels read exactly that much.
#[inline(always)]
pub(super) fn in_blocks<'a, const B: usize>(
    stride: usize,
    row: impl Fn(usize) -> &'a [u8],
    out: &mut [f32],
    block: impl Fn([&'a [u8]; B], [&'a [u8]; B]) -> [f32; B],
) {
    let Some(last) = out.len().checked_sub(1) else {
        return;
    };
    let take = |first: usize| -> [&'a [u8]; B] {
        std::array::from_fn(|r| {
            let row = row((first + r).min(last));
            assert!(row.len() == stride, "row of {} bytes: the query is prepared for {stride}", row.len());
            row
        })
    };
    let mut rows = take(0);
    for (i, out) in out.chunks_mut(B).enumerate() {
        let next = take((i + 1) * B);
        out.copy_from_slice(&block(rows, next)[..out.len()]);
        rows = next;
    }
}
