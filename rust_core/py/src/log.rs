//! Reading logs.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use ra_guard_core::log::{
    FeedbackRecord, Kind, LogError, Record, ScoreColumns, SegmentFile, Writing, read_columns,
    read_counts as read_core_counts, recover_folder,
};

use crate::errors::OrRaise;

/// The intact records of a segment of either kind; a torn tail ends the list.
#[pyfunction]
pub fn read_log<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let segment = py.detach(|| SegmentFile::read(&path)).or_raise(py)?;
    let records = py.detach(|| segment.records()).or_raise(py)?;
    Ok(records.into_iter().map(|record| PyBytes::new(py, record)).collect())
}

/// The intact events of a feedback segment, with the time when each arrived.
#[pyfunction]
pub fn read_feedback<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
    let segment = py.detach(|| SegmentFile::read(&path)).or_raise(py)?;
    let decode = || -> Result<Vec<_>, LogError> {
        segment.records_of(Kind::Feedback)?.into_iter().map(FeedbackRecord::decode).collect()
    };
    let records = py.detach(decode).or_raise(py)?;
    Ok(records.into_iter().map(|record| (record.received_unix_ns, PyBytes::new(py, record.event))).collect())
}

/// A candidate segment as columns, in the buffers of Apache Arrow: layout and buffers by name.
#[pyfunction]
pub fn read_log_columns<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    let columns = py.detach(|| read_columns(&path)).or_raise(py)?;
    let named = PyDict::new(py);
    // One column at a time: each is copied once and let go.
    for column in columns {
        let buffers: Vec<_> = column.buffers.into_iter().map(|buffer| PyBytes::new(py, &buffer)).collect();
        named.set_item(column.name, (column.layout, buffers))?;
    }
    Ok(named)
}

/// What a run's counts file says.
#[pyfunction]
pub fn read_counts<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    let (counts, writing) = py.detach(|| read_core_counts(&path)).or_raise(py)?;
    let (offered, said) = (PyDict::new(py), PyDict::new(py));
    for (arm, count) in
        ["unassigned", "control", "treatment", "not_enrolled"].iter().zip(counts.offered.in_wire_order())
    {
        offered.set_item(arm, count)?;
    }
    said.set_item("writer", counts.writer)?;
    said.set_item("run", counts.run)?;
    said.set_item("closed", counts.closed)?;
    said.set_item("alive", writing == Writing::Alive)?;
    said.set_item("offered", offered)?;
    Ok(said)
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
    described.set_item("elapsed_us", record.elapsed_us)?;
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
