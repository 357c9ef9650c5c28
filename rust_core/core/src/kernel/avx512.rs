//! AVX-512: a row's sixteen sums are one register. With VNNI the bytes of `i8` rows multiply four at a time.
//!
//! VNNI multiplies unsigned by signed bytes. Flipping a row byte's sign bit adds 128 to it, so the sum comes
//! out too large by 128 times the sum of the query, which is known beforehand.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::blocks::in_blocks;
use super::prefetch::announce;
use super::query::{ByteLine, FloatLine};
use super::{Dtype, LINE_BYTES, QueryVector};

/// Rows that are read side by side, and announced ahead: the best or within 4 % of it for every type, among
/// 4 to 16 rows side by side and 4 to 48 ahead.
const ROWS: usize = 8;

/// Proof that the CPU has AVX-512 F and BW.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512(());

/// Proof that the CPU has AVX-512 F, BW and VNNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512Vnni(());

impl Avx512 {
    pub(super) fn new() -> Option<Avx512> {
        let found = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        found.then_some(Avx512(()))
    }

    #[inline]
    pub(super) fn dot_rows<'a>(self, query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
        // SAFETY: `self` exists only where the features do.
        unsafe {
            match query.dtype() {
                Dtype::F32 => f32_rows(query, row, out),
                Dtype::F16 => f16_rows(query, row, out),
                Dtype::I8 => i8_rows(query, row, out),
            }
        }
    }
}

impl Avx512Vnni {
    pub(super) fn new() -> Option<Avx512Vnni> {
        (Avx512::new().is_some() && is_x86_feature_detected!("avx512vnni")).then_some(Avx512Vnni(()))
    }

    #[inline]
    pub(super) fn dot_rows<'a>(self, query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
        // SAFETY: `self` exists only where the features do.
        unsafe {
            match query.dtype() {
                Dtype::F32 => f32_rows(query, row, out),
                Dtype::F16 => f16_rows(query, row, out),
                Dtype::I8 => i8_rows_vnni(query, row, out),
            }
        }
    }
}

// In the four walks below `in_blocks` checks every row against the stride, and `QueryVector` keeps exactly
// the lines that the stride asks for: this is what their SAFETY notes refer to.

#[target_feature(enable = "avx512f,avx512bw")]
fn f32_rows<'a>(query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
    in_blocks::<ROWS>(query.stride(), row, out, |rows, next| {
        // SAFETY: rows and query are as long as the stride says.
        unsafe { dot_f32(query.floats(), rows, next) }
    });
}

#[target_feature(enable = "avx512f,avx512bw")]
fn f16_rows<'a>(query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
    in_blocks::<ROWS>(query.stride(), row, out, |rows, next| {
        // SAFETY: rows and query are as long as the stride says.
        unsafe { dot_f16(query.floats(), rows, next) }
    });
}

#[target_feature(enable = "avx512f,avx512bw")]
fn i8_rows<'a>(query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
    in_blocks::<ROWS>(query.stride(), row, out, |rows, next| {
        // SAFETY: rows and query are as long as the stride says.
        unsafe { dot_i8(query.bytes(), rows, next) }.map(|dot| dot as f32 * query.scale())
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn i8_rows_vnni<'a>(query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
    let surplus = 128 * query.sum();
    in_blocks::<ROWS>(query.stride(), row, out, |rows, next| {
        // SAFETY: rows and query are as long as the stride says.
        unsafe { dot_i8_vnni(query.bytes(), rows, next) }.map(|dot| (dot - surplus) as f32 * query.scale())
    });
}

/// # Safety
/// Every row holds as many cache lines as `query`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn dot_f32(query: &[FloatLine], rows: [&[u8]; ROWS], next: [&[u8]; ROWS]) -> [f32; ROWS] {
    let mut sums = [_mm512_setzero_ps(); ROWS];
    for (line, q) in query.iter().enumerate() {
        let q = load(q);
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: line `line` of the row, by the caller's promise; an unaligned load.
            let x = unsafe { _mm512_loadu_ps(row.as_ptr().add(line * LINE_BYTES).cast()) };
            *sum = _mm512_fmadd_ps(x, q, *sum);
        }
        announce(next, line);
    }
    from_fn(|r| fold(sums[r]))
}

/// # Safety
/// Every row holds half as many cache lines as `query`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn dot_f16(query: &[FloatLine], rows: [&[u8]; ROWS], next: [&[u8]; ROWS]) -> [f32; ROWS] {
    let mut sums = [_mm512_setzero_ps(); ROWS];
    for (line, [q_low, q_high]) in query.as_chunks::<2>().0.iter().enumerate() {
        let (q_low, q_high) = (load(q_low), load(q_high));
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: line `line` of the row, by the caller's promise; an unaligned load.
            let (low, high) = unsafe {
                let line = row.as_ptr().add(line * LINE_BYTES);
                (_mm256_loadu_si256(line.cast()), _mm256_loadu_si256(line.add(32).cast()))
            };
            *sum = _mm512_fmadd_ps(_mm512_cvtph_ps(low), q_low, *sum);
            *sum = _mm512_fmadd_ps(_mm512_cvtph_ps(high), q_high, *sum);
        }
        announce(next, line);
    }
    from_fn(|r| fold(sums[r]))
}

/// # Safety
/// Every row holds as many cache lines as `query`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn dot_i8(query: &[ByteLine], rows: [&[u8]; ROWS], next: [&[u8]; ROWS]) -> [i32; ROWS] {
    let mut sums = [_mm512_setzero_si512(); ROWS];
    for (line, q) in query.iter().enumerate() {
        for half in 0..2 {
            // SAFETY: half of the query's line; unaligned loads.
            let q = _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(q.0.as_ptr().add(half * 32).cast()) });
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: inside line `line` of the row, by the caller's promise; an unaligned load.
                let x = unsafe { _mm256_loadu_si256(row.as_ptr().add(line * LINE_BYTES + half * 32).cast()) };
                *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(_mm512_cvtepi8_epi16(x), q));
            }
        }
        announce(next, line);
    }
    sums.map(|sum| _mm512_reduce_add_epi32(sum))
}

/// Dot products of `query` with every row's bytes plus 128.
///
/// # Safety
/// Every row holds as many cache lines as `query`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_i8_vnni(query: &[ByteLine], rows: [&[u8]; ROWS], next: [&[u8]; ROWS]) -> [i32; ROWS] {
    let sign = _mm512_set1_epi8(i8::MIN);
    let mut sums = [_mm512_setzero_si512(); ROWS];
    for (line, q) in query.iter().enumerate() {
        // SAFETY: the query's line, on a 64-byte boundary.
        let q = unsafe { _mm512_load_si512(q.0.as_ptr().cast()) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: line `line` of the row, by the caller's promise; an unaligned load.
            let x = unsafe { _mm512_loadu_si512(row.as_ptr().add(line * LINE_BYTES).cast()) };
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(x, sign), q);
        }
        announce(next, line);
    }
    sums.map(|sum| _mm512_reduce_add_epi32(sum))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(line: &FloatLine) -> __m512 {
    // SAFETY: sixteen values, on a 64-byte boundary.
    unsafe { _mm512_load_ps(line.0.as_ptr()) }
}

/// Sixteen sums to one, by the tree of the specification.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn fold(sums: __m512) -> f32 {
    let low = _mm512_castps512_ps256(sums);
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums)));
    let eight = _mm256_add_ps(low, high);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}
