//! The specification in plain Rust, and the path of every CPU without a kernel of its own.

use half::f16;

use super::blocks::in_blocks;
use super::query::{ByteLine, FloatLine};
use super::{Dtype, QueryVector};

/// Dot products of `query` with the rows of `out`.
pub(super) fn dot_rows<'a>(query: &QueryVector, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
    in_blocks::<1>(query.stride(), row, out, |[row], _| {
        [match query.dtype() {
            Dtype::F32 => dot_f32(query.floats(), row),
            Dtype::F16 => dot_f16(query.floats(), row),
            Dtype::I8 => dot_i8(query.bytes(), row) as f32 * query.scale(),
        }]
    });
}

fn dot_f32(query: &[FloatLine], row: &[u8]) -> f32 {
    let (values, _) = row.as_chunks::<4>();
    dot(query, values.iter().map(|bytes| f32::from_le_bytes(*bytes)))
}

fn dot_f16(query: &[FloatLine], row: &[u8]) -> f32 {
    let (values, _) = row.as_chunks::<2>();
    dot(query, values.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()))
}

fn dot(query: &[FloatLine], mut row: impl Iterator<Item = f32>) -> f32 {
    let mut sums = [0.0f32; 16];
    for line in query {
        for (sum, (q, x)) in sums.iter_mut().zip(line.0.iter().zip(&mut row)) {
            *sum = x.mul_add(*q, *sum);
        }
    }
    fold(sums)
}

fn fold(mut sums: [f32; 16]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
    }
    sums[0]
}

fn dot_i8(query: &[ByteLine], row: &[u8]) -> i32 {
    let (lines, _) = row.as_chunks::<64>();
    let products = query.iter().zip(lines).flat_map(|(query, row)| query.0.iter().zip(row));
    products.map(|(q, x)| i32::from(*q) * i32::from(*x as i8)).sum()
}
