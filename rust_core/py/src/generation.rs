//! `Generation`: the shards in force, for serving, describing and measuring.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use zerocopy::IntoBytes;

use ra_guard_core::kernel::{Kernel, QueryVector};
use ra_guard_core::shard::{Dtype, Generation as CoreGeneration, Handle};

use crate::buffers::f32_from_le;
use crate::errors::OrRaise;

/// An immutable set of mapped shards in one embedding space.
#[pyclass(frozen, module = "ra_guard._core")]
pub struct Generation(pub Arc<CoreGeneration>);

thread_local! {
    /// The prepared query of this thread's last `cosines`: measuring must not pay for memory that serving reuses.
    static QUERY: RefCell<QueryVector> = RefCell::default();
}

impl Generation {
    /// The handles behind a column of them, each checked to be a row of this generation.
    fn known_handles<'a>(&self, handles: &'a [u8]) -> PyResult<&'a [Unaligned]> {
        let (handles, rest) = handles.as_chunks();
        if !rest.is_empty() {
            let found = handles.len() * 8 + rest.len();
            return Err(PyValueError::new_err(format!("handles: found {found} bytes, wanted a multiple of 8")));
        }
        match handles.iter().map(handle_of).find(|handle| !self.0.contains(*handle)) {
            Some(stray) => Err(PyValueError::new_err(format!(
                "handles: found {:#x}, which is no row of generation {}; take handles from lookup() on the same object",
                stray.bits(),
                self.0.number()
            ))),
            None => Ok(handles),
        }
    }
}

impl Generation {
    /// Dot products of a query with rows, times each row's scale, by the serving kernel.
    fn dot(&self, query: &[f32], handles: &[Unaligned], dots: &mut [f32]) {
        let scaled = self.0.dtype() == Dtype::I8;
        if scaled {
            // On their way while the rows are read.
            handles.iter().for_each(|handle| self.0.prefetch_record(handle_of(handle)));
        }
        QUERY.with_borrow_mut(|prepared| {
            prepared.prepare(query, self.0.dtype(), self.0.stride());
            let row = |i: usize| self.0.embedding(handle_of(&handles[i]));
            kernel().dot_rows(prepared, handles.len(), row, dots);
        });
        if scaled {
            for (dot, handle) in dots.iter_mut().zip(handles) {
                *dot *= self.0.record(handle_of(handle)).scale;
            }
        }
    }
}

/// The serving kernel, chosen once.
fn kernel() -> Kernel {
    static KERNEL: LazyLock<Kernel> = LazyLock::new(Kernel::detect);
    *KERNEL
}

/// A handle as it lies in a column.
type Unaligned = [u8; 8];

fn handle_of(bytes: &Unaligned) -> Handle {
    Handle::from_bits(u64::from_le_bytes(*bytes))
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

    #[pyo3(signature = (checked = None))]
    fn verify_checksums(&self, py: Python<'_>, checked: Option<&Generation>) -> PyResult<()> {
        py.detach(|| self.0.verify_checksums(checked.map(|generation| &*generation.0))).or_raise(py)
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

    fn lookup<'py>(&self, py: Python<'py>, ids: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyBytes>> {
        let ids = ids.iter().map(|id| Ok(id.cast_into::<PyBytes>()?)).collect::<PyResult<Vec<_>>>()?;
        let mut handles = Vec::with_capacity(ids.len());
        self.0.lookup(ids.iter().map(|id| id.as_bytes()), &mut handles);
        Ok(PyBytes::new(py, handles.as_bytes()))
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
        py.detach(|| self.dot(&query, handles, &mut dots));
        Ok(PyBytes::new(py, dots.as_bytes()))
    }

    fn touch(&self, py: Python<'_>, handles: &[u8]) -> PyResult<u64> {
        let handles = self.known_handles(handles)?;
        let row = |i: usize| self.0.embedding(handle_of(&handles[i]));
        Ok(py.detach(|| kernel().touch_rows(handles.len(), row)))
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
        let mut values = Vec::with_capacity(handles.len() * self.0.dim());
        for handle in handles.iter().map(handle_of) {
            if self.0.record(handle).has_embedding() {
                values.extend(self.0.embedding_f32(handle));
            } else {
                values.extend(std::iter::repeat_n(f32::NAN, self.0.dim()));
            }
        }
        Ok(PyBytes::new(py, values.as_bytes()))
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
