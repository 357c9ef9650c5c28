//! Reading candidate logs.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use ra_guard_core::log::{Record, ScoreColumns, read_segment, recover_folder};

use crate::errors::OrRaise;

/// The intact records of a segment; a torn tail ends the list.
#[pyfunction]
pub fn read_log<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let records = py.detach(|| read_segment(&path)).or_raise(py)?;
    Ok(records.iter().map(|record| PyBytes::new(py, record)).collect())
}

/// Seals the segments of writers that are gone; returns their paths and, for those refused, why.
#[pyfunction]
pub fn recover_logs(py: Python<'_>, folder: PathBuf) -> PyResult<(Vec<PathBuf>, Vec<String>)> {
    let recovered = py.detach(|| recover_folder(&folder)).or_raise(py)?;
    Ok((recovered.sealed, recovered.refused.iter().map(ToString::to_string).collect()))
}

/// One record as plain values; enum values are those of `ra_guard.v1`.
#[pyfunction]
pub fn describe_record<'py>(py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let record = Record::decode(record).or_raise(py)?;
    let described = PyDict::new(py);
    described.set_item("unix_ns", record.unix_ns)?;
    described.set_item("mode", record.mode.map_or(0, |mode| mode as u8))?;
    described.set_item("request", PyBytes::new(py, record.request))?;
    described
        .set_item("pool", record.pool.map(|pool| pool.iter().map(|id| PyBytes::new(py, id)).collect::<Vec<_>>()))?;
    described.set_item("assigned_arm", record.assigned_arm.map_or(0, |arm| arm as u8))?;
    described.set_item("served_arm", record.served_arm.map_or(0, |arm| arm as u8))?;
    described.set_item("status", record.status as u8)?;
    described.set_item("reason", record.reason as u8)?;
    described.set_item("experiment_key", record.experiment_key)?;
    described.set_item("plan_revision", record.plan_revision)?;
    described.set_item("generation", record.generation)?;
    described.set_item("space", record.space)?;
    let weights = record.weights;
    described.set_item("weights", (weights.cosine, weights.consistency, weights.contradiction, weights.prior))?;
    described.set_item("query_vector", record.query_vector.map(|vector| vector.iter().collect::<Vec<_>>()))?;
    described.set_item("states", record.states.map(|states| PyBytes::new(py, states)))?;
    if let Some(columns) = record.columns {
        for (name, column) in ScoreColumns::<()>::NAMES.into_iter().zip(columns.in_order()) {
            described.set_item(name, column.iter().collect::<Vec<_>>())?;
        }
    }
    described.set_item("ranking", record.ranking.iter().collect::<Vec<_>>())?;
    described.set_item("teams", record.teams.map(|teams| PyBytes::new(py, teams.as_bytes())))?;
    let treatment_ranking = record.treatment_ranking.map(|positions| positions.iter().collect::<Vec<_>>());
    described.set_item("treatment_ranking", treatment_ranking)?;
    Ok(described)
}
