//! `Generation`: the shards in force, for serving, describing and measuring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use ra_guard_core::kernel::{Kernel, QueryVector};
use ra_guard_core::shard::{Generation as CoreGeneration, Handle};

use crate::buffers::{f32_from_le, u64_from_le};
use crate::errors::OrRaise;

/// An immutable set of mapped shards in one embedding space.
#[pyclass(frozen, module = "ra_guard._core")]
pub struct Generation(pub Arc<CoreGeneration>);

impl Generation {
    fn known_handles(&self, handles: &[u8]) -> PyResult<Vec<Handle>> {
        let handles: Vec<Handle> = u64_from_le(handles, "handles")?.into_iter().map(Handle::from_bits).collect();
        match handles.iter().find(|handle| !self.0.contains(**handle)) {
            Some(stray) => Err(PyValueError::new_err(format!(
                "handles: found {:#x}, which is no row of generation {}; take handles from lookup() on the same object",
                stray.bits(),
                self.0.number()
            ))),
            None => Ok(handles),
        }
    }
}

#[pymethods]
impl Generation {
    #[staticmethod]
    #[pyo3(signature = (gallery, number = None))]
    fn open(py: Python<'_>, gallery: PathBuf, number: Option<u64>) -> PyResult<Generation> {
        let opened = py.detach(|| CoreGeneration::open(&gallery, number)).or_raise(py)?;
        Ok(Generation(Arc::new(opened)))
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.verify()).or_raise(py)
    }

    fn populate(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.0.populate())
    }

    fn resident(&self, py: Python<'_>) -> f32 {
        py.detach(|| self.0.resident())
    }

    #[getter]
    fn number(&self) -> u64 {
        self.0.number()
    }

    #[getter]
    fn space(&self) -> &str {
        self.0.space_fingerprint()
    }

    #[getter]
    fn space_json(&self) -> &str {
        self.0.space_json()
    }

    #[getter]
    fn rows(&self) -> u64 {
        self.0.rows()
    }

    #[getter]
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.dtype().name()
    }

    #[getter]
    fn labels(&self) -> Vec<String> {
        self.0.labels().to_vec()
    }

    #[getter]
    fn domains(&self) -> Vec<String> {
        self.0.domains().to_vec()
    }

    #[getter]
    fn licences(&self) -> Vec<String> {
        self.0.licences().to_vec()
    }

    #[getter]
    fn shards(&self) -> Vec<(String, u64, u64)> {
        self.0
            .shards()
            .iter()
            .map(|shard| (file_name(shard.path()), shard.rows() as u64, shard.header().file_bytes))
            .collect()
    }

    fn lookup<'py>(&self, py: Python<'py>, ids: Vec<PyBackedBytes>) -> Bound<'py, PyBytes> {
        let mut handles = Vec::with_capacity(ids.len());
        py.detach(|| self.0.lookup(ids.iter().map(|id| id.as_ref()), &mut handles));
        let bytes: Vec<u8> = handles.iter().flat_map(|handle| handle.bits().to_le_bytes()).collect();
        PyBytes::new(py, &bytes)
    }

    fn cosines<'py>(&self, py: Python<'py>, query: &[u8], handles: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let query = f32_from_le(query, "query")?;
        if query.len() != self.0.dim() {
            let (found, wanted) = (query.len(), self.0.dim());
            return Err(PyValueError::new_err(format!(
                "query: found {found} values, wanted {wanted} as in the shards"
            )));
        }
        let handles = self.known_handles(handles)?;
        let mut dots = vec![0.0; handles.len()];
        py.detach(|| {
            let mut prepared = QueryVector::default();
            prepared.prepare(&query, self.0.dtype(), self.0.stride());
            Kernel::detect().dot_rows(&prepared, handles.len(), |i| self.0.embedding(handles[i]), &mut dots);
            for (dot, handle) in dots.iter_mut().zip(&handles) {
                *dot *= self.0.record(*handle).scale;
            }
        });
        let bytes: Vec<u8> = dots.iter().flat_map(|dot| dot.to_le_bytes()).collect();
        Ok(PyBytes::new(py, &bytes))
    }

    fn touch(&self, py: Python<'_>, handles: &[u8]) -> PyResult<u64> {
        let handles = self.known_handles(handles)?;
        Ok(py.detach(|| Kernel::detect().touch_rows(handles.len(), |i| self.0.embedding(handles[i]))))
    }

    fn ids<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> Vec<Bound<'py, PyBytes>> {
        self.0
            .live_rows()
            .skip(start)
            .take(stop.saturating_sub(start))
            .map(|handle| PyBytes::new(py, self.0.id(handle)))
            .collect()
    }

    fn embeddings<'py>(&self, py: Python<'py>, handles: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let handles = self.known_handles(handles)?;
        let mut bytes = Vec::with_capacity(handles.len() * self.0.dim() * 4);
        for handle in handles {
            bytes.extend(self.0.embedding_f32(handle).into_iter().flat_map(f32::to_le_bytes));
        }
        Ok(PyBytes::new(py, &bytes))
    }

    fn describe_row<'py>(&self, py: Python<'py>, id: &[u8]) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut handles = Vec::with_capacity(1);
        self.0.lookup(std::iter::once(id), &mut handles);
        let Some(handle) = handles.first().copied().filter(|handle| handle.is_known()) else {
            return Ok(None);
        };
        let (record, row) = (self.0.record(handle), PyDict::new(py));
        row.set_item("domain", self.0.domains().get(usize::from(record.domain)))?;
        row.set_item("licence", self.0.licences().get(usize::from(record.licence)))?;
        row.set_item("phash", self.0.phash(handle))?;
        row.set_item("has_embedding", record.has_embedding())?;
        row.set_item("has_detections", record.has_detections())?;
        let detections: Vec<_> = self
            .0
            .boxes(handle)
            .iter()
            .map(|stored| {
                let detection = stored.detection();
                let label = self.0.labels().get(usize::from(detection.label)).map_or("", String::as_str);
                let [x0, y0, x1, y1] = detection.corners;
                (label, detection.confidence, x0, y0, x1, y1)
            })
            .collect();
        row.set_item("detections", detections)?;
        Ok(Some(row))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
