//! A query laid out for the kernels: padded to the rows' stride, on cache-line boundaries.
//!
//! Half-precision rows meet a single-precision query, so it spans twice the rows' lines. For `i8` rows the
//! query is quantised the way rows are: symmetric, `max |q| / 127`, halves rounded away from zero.

use super::{Dtype, LINE_BYTES};

/// Sixteen values of the query: one for each running sum.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct FloatLine(pub(super) [f32; 16]);

/// Sixty-four quantised values of the query.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ByteLine(pub(super) [i8; 64]);

/// A query prepared for rows of one type and stride; reusable scratch, nothing is freed between calls.
#[derive(Debug, Clone)]
pub struct QueryVector {
    dtype: Dtype,
    stride: usize,
    floats: Vec<FloatLine>,
    bytes: Vec<ByteLine>,
    scale: f32,
    sum: i32,
}

impl Default for QueryVector {
    fn default() -> Self {
        QueryVector { dtype: Dtype::F32, stride: 0, floats: Vec::new(), bytes: Vec::new(), scale: 1.0, sum: 0 }
    }
}

impl QueryVector {
    /// Lays out `query` for rows of `dtype`, `stride` bytes apart. Allocates only while a larger query than
    /// any before comes.
    ///
    /// # Panics
    /// When `stride` is not whole cache lines, or too short for the query.
    pub fn prepare(&mut self, query: &[f32], dtype: Dtype, stride: usize) {
        assert!(stride.is_multiple_of(LINE_BYTES), "stride {stride}: want a multiple of {LINE_BYTES}");
        assert!(query.len() * dtype.bytes_per_value() <= stride, "{} values do not fit stride {stride}", query.len());
        (self.dtype, self.stride) = (dtype, stride);
        match dtype {
            Dtype::F32 | Dtype::F16 => self.lay_out_floats(query, stride / dtype.bytes_per_value() / 16),
            Dtype::I8 => self.quantise(query, stride / LINE_BYTES),
        }
    }

    fn lay_out_floats(&mut self, query: &[f32], lines: usize) {
        self.floats.clear();
        self.floats.resize(lines, FloatLine([0.0; 16]));
        for (line, values) in self.floats.iter_mut().zip(query.chunks(16)) {
            line.0[..values.len()].copy_from_slice(values);
        }
    }

    fn quantise(&mut self, query: &[f32], lines: usize) {
        let largest = query.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        self.scale = largest / 127.0;
        let steps = if self.scale > 0.0 { 127.0 / f64::from(largest) } else { 0.0 };
        self.sum = 0;
        self.bytes.clear();
        self.bytes.resize(lines, ByteLine([0; 64]));
        for (line, values) in self.bytes.iter_mut().zip(query.chunks(64)) {
            for (stored, value) in line.0.iter_mut().zip(values) {
                *stored = round_half_away(f64::from(*value) * steps);
                self.sum += i32::from(*stored);
            }
        }
    }

    /// Type of the rows that it is prepared for.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The factor of an `i8` dot product.
    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    /// Sum of the quantised values.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn sum(&self) -> i32 {
        self.sum
    }

    /// Lines of an `f32` or `f16` query.
    pub(super) fn floats(&self) -> &[FloatLine] {
        &self.floats
    }

    /// Lines of an `i8` query.
    pub(super) fn bytes(&self) -> &[ByteLine] {
        &self.bytes
    }
}

/// `f64::round` for values within an `i8`, without a call for each: what is left after truncation decides.
fn round_half_away(value: f64) -> i8 {
    let whole = value as i32;
    let rest = value - f64::from(whole);
    (whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)) as i8
}
