//! `Engine`: the data path of one process.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{IntoPyDict, PyBytes, PyDict};

use ra_guard_core::engine::{Clock, Engine as CoreEngine};
use ra_guard_core::kernel::Kernel;
use ra_guard_core::log::{CandidateLog, LogError, LogSettings};
use ra_guard_core::rerank::{Call, Outcome, Scratch};
use ra_guard_core::wire::{Embedding, Reason, RequestError};

use crate::answer::Answer;
use crate::errors::OrRaise;
use crate::generation::Generation;
use crate::time::SystemClock;

thread_local! {
    /// One set of buffers for each handler thread; threads are bounded, so the buffers are.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The data path of one process: plan and generation in force, query cache, candidate log.
#[pyclass(frozen, module = "ra_guard._core")]
pub struct Engine(Box<CoreEngine>);

impl Engine {
    /// Runs one call on this thread's buffers, with the interpreter detached.
    fn run<'py>(
        &self,
        request: &Bound<'py, PyBytes>,
        pool: Option<&[PyBackedBytes]>,
        deadline_ns: Option<u64>,
        wait_ns: u64,
        call: impl Fn(&CoreEngine, &Call<'_>, &mut Scratch) -> Result<Outcome, RequestError> + Sync,
    ) -> PyResult<Answer> {
        let py = request.py();
        let pool: Option<Vec<&[u8]>> = pool.map(|ids| ids.iter().map(|id| id.as_ref()).collect());
        let input = Call { request: request.as_bytes(), pool: pool.as_deref(), deadline_ns, wait_ns };
        let outcome = py.detach(|| SCRATCH.with_borrow_mut(|scratch| call(&self.0, &input, scratch))).or_raise(py)?;
        SCRATCH.with_borrow(|scratch| Ok(Answer::new(py, outcome, scratch.response())))
    }

    /// Waits for the candidate log, where there is one, with the interpreter detached.
    fn with_log(&self, py: Python<'_>, wait: fn(&CandidateLog) -> Result<(), LogError>) -> PyResult<()> {
        py.detach(|| self.0.log().map_or(Ok(()), wait)).or_raise(py)
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, query_cache_entries, log_dir = None, log_queue_bytes = 8_388_608, log_segment_bytes = 67_108_864, log_writer = "0", kernel = None))]
    fn new(
        py: Python<'_>,
        query_cache_entries: usize,
        log_dir: Option<PathBuf>,
        log_queue_bytes: usize,
        log_segment_bytes: u64,
        log_writer: &str,
        kernel: Option<&str>,
    ) -> PyResult<Engine> {
        let kernel = kernel_named(kernel)?;
        let settings = |folder| LogSettings {
            folder,
            writer: log_writer.to_owned(),
            queue_bytes: log_queue_bytes,
            segment_bytes: log_segment_bytes,
        };
        let log = log_dir.map(|folder| CandidateLog::start(settings(folder))).transpose().or_raise(py)?;
        Ok(Engine(Box::new(CoreEngine::new(kernel, query_cache_entries, log))))
    }

    #[pyo3(signature = (request, deadline_ns = None, wait_ns = 0))]
    fn rerank(&self, request: &Bound<'_, PyBytes>, deadline_ns: Option<u64>, wait_ns: u64) -> PyResult<Answer> {
        self.run(request, None, deadline_ns, wait_ns, |engine, call, scratch| {
            engine.rerank(call, &SystemClock, scratch)
        })
    }

    #[pyo3(signature = (request, pool, deadline_ns = None, wait_ns = 0))]
    fn rerank_pool(
        &self,
        request: &Bound<'_, PyBytes>,
        pool: Vec<PyBackedBytes>,
        deadline_ns: Option<u64>,
        wait_ns: u64,
    ) -> PyResult<Answer> {
        self.run(request, Some(&pool), deadline_ns, wait_ns, |engine, call, scratch| {
            engine.rerank(call, &SystemClock, scratch)
        })
    }

    #[pyo3(signature = (request, reason, pool = None, wait_ns = 0))]
    fn fall_back(
        &self,
        request: &Bound<'_, PyBytes>,
        reason: u8,
        pool: Option<Vec<PyBackedBytes>>,
        wait_ns: u64,
    ) -> PyResult<Answer> {
        let found = reason;
        let reason = Reason::from_wire(reason).filter(|reason| Reason::FROM_OUTSIDE.contains(reason));
        let reason = reason.ok_or_else(|| {
            let wanted = Reason::FROM_OUTSIDE.map(|reason| format!("{} ({reason:?})", reason as u8)).join(", ");
            PyValueError::new_err(format!("reason: found {found}, wanted one of {wanted}"))
        })?;
        self.run(request, pool.as_deref(), None, wait_ns, |engine, call, scratch| {
            engine.fall_back(call, reason, &SystemClock, scratch)
        })
    }

    fn put_query(&self, py: Python<'_>, text: &str, space: &str, embedding: &[u8]) -> PyResult<()> {
        py.detach(|| self.0.put_query(text, Embedding { values: embedding, space })).or_raise(py)
    }

    fn query_embedding<'py>(&self, py: Python<'py>, text: &str) -> Option<Bound<'py, PyBytes>> {
        let values = self.0.query_embedding(text)?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        Some(PyBytes::new(py, &bytes))
    }

    #[pyo3(signature = (sealed, contact_ns = None))]
    fn publish_plan(&self, py: Python<'_>, sealed: &[u8], contact_ns: Option<u64>) -> PyResult<u64> {
        self.0.plan.publish(sealed, contact(contact_ns)).or_raise(py)
    }

    fn restore_plan(&self, py: Python<'_>, sealed: &[u8]) -> PyResult<u64> {
        self.0.plan.restore(sealed).or_raise(py)
    }

    #[pyo3(signature = (revision, contact_ns = None))]
    fn renew_lease(&self, revision: u64, contact_ns: Option<u64>) -> bool {
        self.0.plan.renew(revision, contact(contact_ns))
    }

    fn revoke_lease(&self) {
        self.0.plan.revoke(SystemClock.monotonic_ns());
    }

    fn plan_revision(&self) -> u64 {
        self.0.plan.revision()
    }

    fn plan_age_s(&self) -> Option<f64> {
        self.0.plan.age_ns(SystemClock.monotonic_ns()).map(|age_ns| age_ns as f64 / 1e9)
    }

    fn publish_generation(&self, py: Python<'_>, generation: &Generation) -> PyResult<u64> {
        let opened = Arc::clone(&generation.0);
        py.detach(|| self.0.publish_generation(opened)).or_raise(py)
    }

    fn generation(&self) -> Option<Generation> {
        self.0.generation().map(Generation)
    }

    fn canary(&self, py: Python<'_>) -> f32 {
        py.detach(|| self.0.canary())
    }

    fn log_counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = self.0.log().map(CandidateLog::counters).unwrap_or_default();
        let (offered, dropped) = (counters.offered, counters.dropped);
        let named = [
            ("offered_unassigned", offered.unassigned),
            ("offered_control", offered.control),
            ("offered_treatment", offered.treatment),
            ("offered_not_enrolled", offered.not_enrolled),
            ("dropped_unassigned", dropped.unassigned),
            ("dropped_control", dropped.control),
            ("dropped_treatment", dropped.treatment),
            ("dropped_not_enrolled", dropped.not_enrolled),
            ("written", counters.written),
            ("bytes", counters.bytes),
            ("segments", counters.segments),
            ("write_errors", counters.write_errors),
        ];
        named.into_py_dict(py)
    }

    fn flush_log(&self, py: Python<'_>) -> PyResult<()> {
        self.with_log(py, CandidateLog::flush)
    }

    fn roll_log(&self, py: Python<'_>) -> PyResult<()> {
        self.with_log(py, CandidateLog::roll)
    }

    fn close_log(&self, py: Python<'_>) -> PyResult<()> {
        self.with_log(py, CandidateLog::close)
    }
}

/// When a contact was made: now, unless told. A time to come would stretch the lease.
fn contact(told_ns: Option<u64>) -> u64 {
    let now_ns = SystemClock.monotonic_ns();
    told_ns.map_or(now_ns, |told_ns| told_ns.min(now_ns))
}

/// The kernel of a name, or the best one that this CPU runs.
pub fn kernel_named(name: Option<&str>) -> PyResult<Kernel> {
    match name {
        None => Ok(Kernel::detect()),
        Some(name) => Kernel::named(name).ok_or_else(|| unknown_kernel(name)),
    }
}

fn unknown_kernel(name: &str) -> PyErr {
    let names: Vec<_> = Kernel::available().iter().map(Kernel::name).collect();
    PyValueError::new_err(format!("kernel: found {name:?}, this CPU runs {}", names.join(", ")))
}
