//! `FeedbackLog`: events that are acknowledged once they are on disk.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{IntoPyDict, PyDict};

use ra_guard_core::log::{FeedbackLog as CoreLog, LogSettings};

use crate::errors::OrRaise;

/// The feedback log of one process. Thread-safe.
#[pyclass(frozen, module = "ra_guard._core")]
pub struct FeedbackLog(CoreLog);

#[pymethods]
impl FeedbackLog {
    #[new]
    #[pyo3(signature = (*, folder, writer, queue_bytes = 8_388_608, segment_bytes = 67_108_864))]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        writer: String,
        queue_bytes: usize,
        segment_bytes: u64,
    ) -> PyResult<FeedbackLog> {
        let settings = LogSettings { folder, writer, queue_bytes, segment_bytes };
        py.detach(|| CoreLog::start(settings)).map(FeedbackLog).or_raise(py)
    }

    fn append(&self, py: Python<'_>, received_unix_ns: u64, events: Vec<PyBackedBytes>) -> PyResult<()> {
        py.detach(|| self.0.append(received_unix_ns, events.iter().map(|event| event.as_ref()))).or_raise(py)
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.flush()).or_raise(py)
    }

    fn roll(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.roll()).or_raise(py)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.close()).or_raise(py)
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = self.0.counters();
        let named = [
            ("written", counters.written),
            ("bytes", counters.bytes),
            ("segments", counters.segments),
            ("write_errors", counters.write_errors),
        ];
        named.into_py_dict(py)
    }
}
