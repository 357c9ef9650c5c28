//! `ShardWriter`: columns of Python's making into a sealed shard.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use ra_guard_core::detection::Detection;
use ra_guard_core::shard::{Dtype, Row, ShardSpec, ShardWriter as CoreWriter};

use crate::buffers::{f32_from_le, i32_from_le, u64_from_le};
use crate::errors::OrRaise;

/// Writes one shard: temporary file, fsync, rename.
#[pyclass(frozen, module = "ra_guard._core")]
pub struct ShardWriter {
    dim: usize,
    /// `None` once finished. Boxed, since the hasher inside wants 64-byte alignment, which Python does not give its
    /// objects.
    writer: Mutex<Option<Box<CoreWriter>>>,
}

#[pymethods]
impl ShardWriter {
    #[new]
    #[pyo3(signature = (path, *, dim, dtype, space_json, labels, label_embeddings, domains, licences))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a constructor")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        dim: usize,
        dtype: &str,
        space_json: String,
        labels: Vec<String>,
        label_embeddings: &[u8],
        domains: Vec<String>,
        licences: Vec<String>,
    ) -> PyResult<ShardWriter> {
        let label_embeddings = f32_from_le(label_embeddings, "label_embeddings")?;
        let dtype = Dtype::parse(dtype).ok_or_else(|| {
            PyValueError::new_err(format!("dtype: found {dtype:?}, wanted \"f32\", \"f16\" or \"i8\""))
        })?;
        let spec = ShardSpec { dim, dtype, space_json, labels, label_embeddings, domains, licences };
        let writer = CoreWriter::create(&path, spec).or_raise(py)?;
        Ok(ShardWriter { dim, writer: Mutex::new(Some(Box::new(writer))) })
    }

    #[pyo3(signature = (ids, *, embeddings, domains, licences, phashes, detection_counts, detections))]
    #[expect(clippy::too_many_arguments, reason = "one keyword argument for each column")]
    fn append(
        &self,
        py: Python<'_>,
        ids: Vec<PyBackedBytes>,
        embeddings: &[u8],
        domains: &[u8],
        licences: &[u8],
        phashes: &[u8],
        detection_counts: &[u8],
        detections: &[u8],
    ) -> PyResult<()> {
        let columns = Columns {
            ids: &ids,
            embeddings: f32_from_le(embeddings, "embeddings")?,
            domains,
            licences,
            phashes: u64_from_le(phashes, "phashes")?,
            detection_counts: i32_from_le(detection_counts, "detection_counts")?,
            detections: detections_from_le(detections)?,
        };
        columns.check(self.dim)?;
        py.detach(|| self.with_open(|writer| writer.append(&columns.rows(self.dim))))?.or_raise(py)
    }

    /// Adds tombstones: ids of older shards that are unknown from now on.
    fn delete(&self, py: Python<'_>, ids: Vec<PyBackedBytes>) -> PyResult<()> {
        let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_ref()).collect();
        self.with_open(|writer| writer.delete(&ids))?.or_raise(py)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(finished)?;
        let written = py.detach(|| writer.finish()).or_raise(py)?;
        Ok((written.rows, written.bytes))
    }
}

impl ShardWriter {
    fn with_open<T>(&self, use_it: impl FnOnce(&mut CoreWriter) -> T) -> PyResult<T> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_deref_mut().map(use_it).ok_or_else(finished)
    }
}

fn finished() -> PyErr {
    PyValueError::new_err("found a finished shard, wanted an open one; write further rows to a new shard")
}

/// The columns of one batch, still of any length.
struct Columns<'a> {
    ids: &'a [PyBackedBytes],
    embeddings: Vec<f32>,
    domains: &'a [u8],
    licences: &'a [u8],
    phashes: Vec<u64>,
    detection_counts: Vec<i32>,
    detections: Vec<Detection>,
}

impl Columns<'_> {
    fn check(&self, dim: usize) -> PyResult<()> {
        let rows = self.ids.len();
        let detections = self.detection_counts.iter().map(|count| (*count).max(0) as usize).sum();
        for (column, found, wanted) in [
            ("embeddings", self.embeddings.len(), rows * dim),
            ("domains", self.domains.len(), rows),
            ("licences", self.licences.len(), rows),
            ("phashes", self.phashes.len(), rows),
            ("detection_counts", self.detection_counts.len(), rows),
            ("detections", self.detections.len(), detections),
        ] {
            if found != wanted {
                return Err(PyValueError::new_err(format!(
                    "{column}: found {found} values, wanted {wanted} for {rows} ids of dim {dim}"
                )));
            }
        }
        Ok(())
    }

    /// An embedding of nothing but NaN stands for none; one with a NaN in it is a bad row, which the core names.
    fn rows(&self, dim: usize) -> Vec<Row<'_>> {
        let mut rest = self.detections.as_slice();
        (0..self.ids.len())
            .map(|i| {
                let embedding = &self.embeddings[i * dim..(i + 1) * dim];
                let absent = embedding.iter().all(|value| value.is_nan());
                let detections = usize::try_from(self.detection_counts[i]).ok().map(|count| {
                    let (mine, others) = rest.split_at(count);
                    rest = others;
                    mine
                });
                Row {
                    id: self.ids[i].as_ref(),
                    domain: self.domains[i],
                    licence: self.licences[i],
                    phash: self.phashes[i],
                    embedding: (!absent).then_some(embedding),
                    detections,
                }
            })
            .collect()
    }
}

fn detections_from_le(bytes: &[u8]) -> PyResult<Vec<Detection>> {
    let values = f32_from_le(bytes, "detections")?;
    let (rows, rest) = values.as_chunks::<6>();
    if !rest.is_empty() {
        let found = values.len();
        return Err(PyValueError::new_err(format!("detections: found {found} values, wanted six for each box")));
    }
    rows.iter()
        .map(|&[label, confidence, x0, y0, x1, y1]| {
            if label.fract() != 0.0 || !(0.0..65536.0).contains(&label) {
                return Err(PyValueError::new_err(format!(
                    "detections: found label {label}, wanted a label's position"
                )));
            }
            Ok(Detection { label: label as u16, confidence, corners: [x0, y0, x1, y1] })
        })
        .collect()
}
