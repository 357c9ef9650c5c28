//! `Replay`: logged calls, computed again.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use ra_guard_core::replay::Replay as CoreReplay;

use crate::engine::kernel_named;
use crate::errors::OrRaise;

/// Replays candidate log records against a gallery's generations and the plans that it was given.
#[pyclass(frozen, module = "ra_guard._core")]
pub struct Replay(Mutex<CoreReplay>);

impl Replay {
    fn lock(&self) -> MutexGuard<'_, CoreReplay> {
        // A panic leaves buffers behind that the next record clears.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Replay {
    #[new]
    #[pyo3(signature = (gallery, *, kernel = None))]
    fn new(gallery: PathBuf, kernel: Option<&str>) -> PyResult<Replay> {
        Ok(Replay(Mutex::new(CoreReplay::new(gallery, kernel_named(kernel)?))))
    }

    fn add_plan(&self, py: Python<'_>, sealed: &[u8]) -> PyResult<()> {
        py.detach(|| self.lock().add_plan(sealed)).or_raise(py)
    }

    fn check(&self, py: Python<'_>, record: &[u8]) -> PyResult<Option<String>> {
        let difference = py.detach(|| self.lock().check(record)).or_raise(py)?;
        Ok(difference.map(|difference| difference.to_string()))
    }
}
