//! Rust errors as Python exceptions: one class for each error type, the variant's name as an attribute.

use pyo3::PyTypeInfo;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use strum::VariantNames;

use ra_guard_core::log::LogError as CoreLogError;
use ra_guard_core::plan::PlanError as CorePlanError;
use ra_guard_core::replay::ReplayError;
use ra_guard_core::shard::{RowFault, ShardError as CoreShardError};
use ra_guard_core::wire::RequestError as CoreRequestError;

create_exception!(ra_guard._core, CoreError, PyException, "Base of all that the core refuses.");
create_exception!(ra_guard._core, RequestError, CoreError, "A caller's mistake in a request.");
create_exception!(ra_guard._core, ShardError, CoreError, "A shard or generation that cannot be used.");
create_exception!(ra_guard._core, PlanError, CoreError, "A plan that cannot be used.");
create_exception!(ra_guard._core, LogError, CoreError, "A candidate log that cannot be used.");

/// A core error that crosses into Python.
pub trait IntoPython {
    /// The exception, with its `variant` set.
    fn into_python(self, py: Python<'_>) -> PyErr;
}

fn raise<E: PyTypeInfo>(py: Python<'_>, variant: &'static str, message: String) -> PyErr {
    let error = PyErr::new::<E, _>(message);
    match error.value(py).setattr("variant", variant) {
        Ok(()) => error,
        Err(failed) => failed,
    }
}

macro_rules! crosses {
    ($core:ty, $python:ty) => {
        impl IntoPython for $core {
            fn into_python(self, py: Python<'_>) -> PyErr {
                raise::<$python>(py, self.variant(), self.to_string())
            }
        }
    };
}

crosses!(CoreRequestError, RequestError);
crosses!(CoreShardError, ShardError);
crosses!(CorePlanError, PlanError);
crosses!(CoreLogError, LogError);

impl IntoPython for ReplayError {
    fn into_python(self, py: Python<'_>) -> PyErr {
        match self {
            ReplayError::Record(error) => error.into_python(py),
            ReplayError::Plan(error) => error.into_python(py),
            ReplayError::Generation(error) => error.into_python(py),
        }
    }
}

/// `?` for results of the core, where the interpreter is attached.
pub trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T, E: IntoPython> OrRaise<T> for Result<T, E> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| error.into_python(py))
    }
}

/// Every variant's name by exception, so that tests can prove tables of them complete.
pub fn variants(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // A bad row goes by the name of its fault.
    let shard = CoreShardError::VARIANTS.iter().filter(|name| **name != "BadRow").chain(RowFault::VARIANTS);
    let table = PyDict::new(py);
    table.set_item("RequestError", PyTuple::new(py, CoreRequestError::VARIANTS)?)?;
    table.set_item("ShardError", PyTuple::new(py, shard.collect::<Vec<_>>())?)?;
    table.set_item("PlanError", PyTuple::new(py, CorePlanError::VARIANTS)?)?;
    table.set_item("LogError", PyTuple::new(py, CoreLogError::VARIANTS)?)?;
    Ok(table)
}
