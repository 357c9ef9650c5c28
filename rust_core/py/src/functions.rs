//! Functions of the module that need no engine.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use ra_guard_core::assign::Seed;
use ra_guard_core::engine::Clock;
use ra_guard_core::{plan, shard, wire};

use crate::errors::OrRaise;
use crate::time::SystemClock;

/// Writes the next generation's manifest and points CURRENT at it.
#[pyfunction]
pub fn publish_manifest(py: Python<'_>, gallery: PathBuf, shards: Vec<String>) -> PyResult<u64> {
    let created_unix_s = SystemClock.unix_ns() / 1_000_000_000;
    py.detach(|| shard::publish_manifest(&gallery, &shards, created_unix_s)).or_raise(py)
}

/// How many candidates a serialised RerankRequest names; 0 for bytes that are no message.
#[pyfunction]
pub fn count_candidates(request: &[u8]) -> usize {
    wire::count_candidates(request)
}

/// 32 hex digits over the canonical JSON of an embedding space.
#[pyfunction]
pub fn space_fingerprint(space_json: &str) -> String {
    shard::space_fingerprint(space_json)
}

/// GrowthBook hash version 2, 0..9999 of 10000.
#[pyfunction]
pub fn bucket(seed: &str, unit: &str) -> u16 {
    Seed::new(seed, "").bucket(unit)
}

/// Validates a serialised Plan and wraps it as a SealedPlan.
#[pyfunction]
pub fn seal_plan<'py>(py: Python<'py>, plan: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let sealed = plan::seal(plan).or_raise(py)?;
    Ok(PyBytes::new(py, &sealed))
}

/// The serialised Plan inside a SealedPlan, once checksum and contents hold.
#[pyfunction]
pub fn check_plan<'py>(py: Python<'py>, sealed: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let plan = plan::unseal(sealed).or_raise(py)?;
    plan::Plan::decode(plan).or_raise(py)?;
    Ok(PyBytes::new(py, plan))
}
