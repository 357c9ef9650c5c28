//! Query embeddings as bytes, checked before anything is computed from them.

use super::error::RequestError;
use crate::limits::{MAX_DIM, UNIT_LENGTH_TOLERANCE};

/// Hex digits of an embedding space's fingerprint.
const FINGERPRINT_DIGITS: usize = 32;

/// A unit vector and the space that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Embedding<'a> {
    /// `(dim,)` little-endian float32.
    pub values: &'a [u8],
    /// Fingerprint of the embedding space: 32 lower-case hex digits.
    pub space: &'a str,
}

impl Embedding<'_> {
    /// How many values there are.
    pub fn dim(&self) -> usize {
        self.values.len() / 4
    }

    /// Replaces the contents of `out` by the values.
    pub fn copy_to(&self, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.floats());
    }

    /// Refuses what is not a finite unit vector of 1..=[`MAX_DIM`] values in a well-formed space.
    pub fn check(&self) -> Result<(), RequestError> {
        let whole = self.values.len().is_multiple_of(4);
        if !whole || self.dim() == 0 || self.dim() > MAX_DIM {
            return Err(RequestError::EmbeddingLength { found: self.values.len(), dim: None });
        }
        check_fingerprint(self.space)?;
        self.check_length()
    }

    /// Refuses another number of values than the gallery's.
    pub fn check_dim(&self, dim: usize) -> Result<(), RequestError> {
        if self.values.len() == dim * 4 {
            return Ok(());
        }
        Err(RequestError::EmbeddingLength { found: self.values.len(), dim: Some(dim) })
    }

    fn check_length(&self) -> Result<(), RequestError> {
        let norm = self.norm();
        if (norm - 1.0).abs() <= f64::from(UNIT_LENGTH_TOLERANCE) {
            return Ok(());
        }
        if let Some((index, found)) = self.floats().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(RequestError::EmbeddingNotFinite { index, found });
        }
        if norm == 0.0 {
            return Err(RequestError::EmbeddingZeroNorm);
        }
        Err(RequestError::EmbeddingNotUnit { norm })
    }

    /// Euclidean length. The square of a float neither overflows nor vanishes in f64, so only zeros give 0 and only
    /// NaN or infinities give something that is not finite. Eight sums let the compiler use vector registers.
    fn norm(&self) -> f64 {
        let square = |bytes: [u8; 4]| f64::from(f32::from_le_bytes(bytes)).powi(2);
        let (values, _) = self.values.as_chunks::<4>();
        let (blocks, rest) = values.as_chunks::<8>();
        let mut sums = [0f64; 8];
        for block in blocks {
            for (sum, &value) in sums.iter_mut().zip(block) {
                *sum += square(value);
            }
        }
        let rest: f64 = rest.iter().map(|&value| square(value)).sum();
        (sums.iter().sum::<f64>() + rest).sqrt()
    }

    fn floats(&self) -> impl Iterator<Item = f32> + '_ {
        let (values, _) = self.values.as_chunks();
        values.iter().copied().map(f32::from_le_bytes)
    }
}

/// Refuses what cannot be the fingerprint of an embedding space.
pub fn check_fingerprint(space: &str) -> Result<(), RequestError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if space.len() == FINGERPRINT_DIGITS && space.bytes().all(is_digit) {
        return Ok(());
    }
    // A hostile value is not repeated at length.
    let found = space.chars().take(2 * FINGERPRINT_DIGITS).collect();
    Err(RequestError::Space { found, allowed: format!("{FINGERPRINT_DIGITS} lower-case hex digits") })
}
