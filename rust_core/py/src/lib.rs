//! The module `ra_guard._core`.
use pyo3::prelude::*;

#[pymodule]
mod _core {}
