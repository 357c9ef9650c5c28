//! AVX2 with FMA and F16C: a row's sixteen sums are two registers of eight.
//!
//! Eight sums are in flight at a time (four rows), as many as keep both multiply-add units busy without
//! spilling the sixteen registers.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::blocks::in_blocks;
use super::prefetch::announce;
use super::query::{ByteLine, FloatLine};
use super::{Dtype, LINE_BYTES, QueryVector};

const ROWS: usize = 4;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Avx2> {
        let found =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        found.then_some(Avx2(()))
    }

    #[inline]
    pub(super) fn dot_rows<'a>(self, query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
        // SAFETY: `self` exists only where the features do.
        unsafe { dot_rows(query, row, out) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_rows<'a>(query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
    let stride = query.stride();
    // SAFETY (all three): `in_blocks` checks every row against the stride, and `QueryVector` keeps exactly the
    // lines that the stride asks for.
    match query.dtype() {
        Dtype::F32 => in_blocks::<ROWS>(stride, row, out, |rows, next| {
            // SAFETY: as above.
            unsafe { dot_f32(query.floats(), rows, next) }
        }),
        Dtype::F16 => in_blocks::<ROWS>(stride, row, out, |rows, next| {
            // SAFETY: as above.
            unsafe { dot_f16(query.floats(), rows, next) }
        }),
        Dtype::I8 => in_blocks::<ROWS>(stride, row, out, |rows, next| {
            // SAFETY: as above.
            unsafe { dot_i8(query.bytes(), rows, next) }.map(|dot| dot as f32 * query.scale())
        }),
    }
}

/// # Safety
/// Every row holds as many cache lines as `query`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dot_f32(query: &[FloatLine], rows: [&[u8]; ROWS], next: [&[u8]; ROWS]) -> [f32; ROWS] {
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for (line, q) in query.iter().enumerate() {
        let q = halves(q);
        for (sums, row) in sums.iter_mut().zip(rows) {
            for half in 0..2 {
                // SAFETY: inside line `line` of the row, by the caller's promise; unaligned loads.
                let x = unsafe { _mm256_loadu_ps(row.as_ptr().add(line * LINE_BYTES + half * 32).cast()) };
                sums[half] = _mm256_fmadd_ps(x, q[half], sums[half]);
            }
        }
        announce(next, line);
    }
    from_fn(|r| fold(sums[r]))
}

/// # Safety
/// Every row holds half as many cache lines as `query`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dot_f16(query: &[FloatLine], rows: [&[u8]; ROWS], next: [&[u8]; ROWS]) -> [f32; ROWS] {
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for (line, q) in query.iter().enumerate() {
        let q = halves(q);
        for (sums, row) in sums.iter_mut().zip(rows) {
            for half in 0..2 {
                // SAFETY: inside the row, by the caller's promise; unaligned loads.
                let x = unsafe { _mm_loadu_si128(row.as_ptr().add(line * 32 + half * 16).cast()) };
                sums[half] = _mm256_fmadd_ps(_mm256_cvtph_ps(x), q[half], sums[half]);
            }
        }
        if line % 2 == 0 {
            announce(next, line / 2);
        }
    }
    from_fn(|r| fold(sums[r]))
}

/// # Safety
/// Every row holds as many cache lines as `query`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dot_i8(query: &[ByteLine], rows: [&[u8]; ROWS], next: [&[u8]; ROWS]) -> [i32; ROWS] {
    let mut sums = [_mm256_setzero_si256(); ROWS];
    for (line, q) in query.iter().enumerate() {
        for part in 0..4 {
            // SAFETY: a quarter of the query's line; unaligned loads.
            let q = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(q.0.as_ptr().add(part * 16).cast()) });
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: inside line `line` of the row, by the caller's promise; unaligned loads.
                let x = unsafe { _mm_loadu_si128(row.as_ptr().add(line * LINE_BYTES + part * 16).cast()) };
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(x), q));
            }
        }
        announce(next, line);
    }
    from_fn(|r| fold_i32(sums[r]))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves(line: &FloatLine) -> [__m256; 2] {
    // SAFETY: sixteen values, on a 64-byte boundary.
    unsafe { [_mm256_load_ps(line.0.as_ptr()), _mm256_load_ps(line.0.as_ptr().add(8))] }
}

/// Sixteen sums to one, by the tree of the specification.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold([low, high]: [__m256; 2]) -> f32 {
    fold_eight(_mm256_add_ps(low, high))
}

/// Eight sums to one, by the tree of the specification.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold_eight(sums: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fold_i32(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b1110>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
}
