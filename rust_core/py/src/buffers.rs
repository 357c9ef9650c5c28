//! Columns that cross as little-endian bytes.

use pyo3::PyResult;
use pyo3::exceptions::PyValueError;

macro_rules! column {
    ($name:ident, $type:ty) => {
        /// The values of a column; `field` names it in the error for a length that is no whole number of them.
        pub fn $name(bytes: &[u8], field: &str) -> PyResult<Vec<$type>> {
            const SIZE: usize = size_of::<$type>();
            let (values, rest) = bytes.as_chunks::<SIZE>();
            if !rest.is_empty() {
                let found = bytes.len();
                return Err(PyValueError::new_err(format!(
                    "{field}: found {found} bytes, wanted a multiple of {SIZE}"
                )));
            }
            Ok(values.iter().map(|value| <$type>::from_le_bytes(*value)).collect())
        }
    };
}

column!(f32_from_le, f32);
column!(i32_from_le, i32);
column!(u64_from_le, u64);
