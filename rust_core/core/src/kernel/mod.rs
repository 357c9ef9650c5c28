//! Dot products of one query with many embedding rows.
//!
//! The order of the additions is the specification, so every kernel gives the same bits, for any number of
//! rows and whatever block a row falls into:
//!
//! - `f32` and `f16` rows: sixteen sums, sum `j` a chain of fused multiply-adds over the elements `j`,
//!   `j + 16`, `j + 32`, ... in that order, starting from zero. The sums are then folded in four steps:
//!   `s[i] += s[i + 8]`, `+ 4`, `+ 2`, `+ 1`. Half precision converts to single precision exactly.
//! - `i8` rows: the integer dot product, exact, converted to `f32` once and multiplied by the query's scale.
//!
//! `scalar` is that specification in plain Rust. Sixteen sums are one AVX-512 register or two AVX registers,
//! so the vector kernels follow it without moving a value. Rows are padded with zeros to whole cache lines:
//! padding adds `0 * 0` to a sum, which changes nothing.
//!
//! Against exact arithmetic the error of a row of `n` values is at most `gamma(n / 16 + 4) * sum |q_j x_j|`
//! with `gamma(k) = k u / (1 - k u)` and `u = 2^-24` (Higham 2002, section 3.1: a chain of `n / 16` fused
//! operations, then four additions).
//!
//! A [`Kernel`] is the proof that the CPU can run it: made once, copied freely, never detected again.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod prefetch;
mod query;
mod scalar;
#[cfg(test)]
mod tests;
mod touch;

pub use crate::shard::Dtype;
pub use query::QueryVector;

/// Bytes of a cache line. A row's stride is a multiple of it.
pub const LINE_BYTES: usize = 64;

/// One implementation that this CPU can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Variant);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(avx512::Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Scalar,
}

impl Kernel {
    /// The best kernel of this CPU.
    pub fn detect() -> Kernel {
        Self::available()[0]
    }

    /// Every kernel that this CPU can run, best first; the scalar one is always last.
    pub fn available() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(avx512::Avx512Vnni::new().map(Variant::Avx512Vnni));
            kernels.extend(avx512::Avx512::new().map(Variant::Avx512));
            kernels.extend(avx2::Avx2::new().map(Variant::Avx2));
        }
        kernels.push(Variant::Scalar);
        kernels.into_iter().map(Kernel).collect()
    }

    /// The kernel of that name, if this CPU can run it.
    pub fn named(name: &str) -> Option<Kernel> {
        Self::available().into_iter().find(|kernel| kernel.name() == name)
    }

    /// `avx512-vnni`, `avx512`, `avx2` or `scalar`.
    pub fn name(&self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Variant::Avx512Vnni(_) => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Variant::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Variant::Avx2(_) => "avx2",
            Variant::Scalar => "scalar",
        }
    }

    /// Dot products of `query` with the rows `row(0)..row(n)`, before each row's own scale, into `out[..n]`.
    ///
    /// `row` is called more than once for an index: rows are announced to the memory system ahead of use.
    ///
    /// # Panics
    /// When a row is not exactly as long as the stride that `query` was prepared for, or `out` is shorter
    /// than `n`.
    #[inline]
    pub fn dot_rows<'a>(&self, query: &QueryVector, n: usize, row: impl Fn(usize) -> &'a [u8], out: &mut [f32]) {
        let out = &mut out[..n];
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Variant::Avx512Vnni(kernel) => kernel.dot_rows(query, row, out),
            #[cfg(target_arch = "x86_64")]
            Variant::Avx512(kernel) => kernel.dot_rows(query, row, out),
            #[cfg(target_arch = "x86_64")]
            Variant::Avx2(kernel) => kernel.dot_rows(query, row, out),
            Variant::Scalar => scalar::dot_rows(query, row, out),
        }
    }

    /// Reads one word of every cache line of the same rows and returns the wrapping sum: the time that any kernel must
    /// spend on memory.
    ///
    /// # Panics
    /// When the rows differ in length.
    pub fn touch_rows<'a>(&self, n: usize, row: impl Fn(usize) -> &'a [u8]) -> u64 {
        touch::touch_rows(n, row)
    }
}
