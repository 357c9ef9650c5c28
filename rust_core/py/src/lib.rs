//! The module `ra_guard._core`: take, detach, call, wrap. `server/ra_guard/_core.pyi` states the boundary.

// The stub documents what Python sees; the docs of the core, what it means.
#![allow(missing_docs)]

mod answer;
mod buffers;
mod engine;
mod errors;
mod feedback_log;
mod functions;
mod generation;
mod log;
mod replay;
mod time;
mod writer;

use pyo3::prelude::*;

/// What Python's allocator gives its objects: a field that wants more must be boxed.
const OBJECT_ALIGNMENT: usize = 16;
const _: () = assert!(align_of::<answer::Answer>() <= OBJECT_ALIGNMENT);
const _: () = assert!(align_of::<engine::Engine>() <= OBJECT_ALIGNMENT);
const _: () = assert!(align_of::<feedback_log::FeedbackLog>() <= OBJECT_ALIGNMENT);
const _: () = assert!(align_of::<generation::Generation>() <= OBJECT_ALIGNMENT);
const _: () = assert!(align_of::<replay::Replay>() <= OBJECT_ALIGNMENT);
const _: () = assert!(align_of::<writer::ShardWriter>() <= OBJECT_ALIGNMENT);

#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use answer::Answer;
    #[pymodule_export]
    use engine::Engine;
    #[pymodule_export]
    use errors::{CoreError, LogError, PlanError, RequestError, ShardError};
    #[pymodule_export]
    use feedback_log::FeedbackLog;
    #[pymodule_export]
    use functions::{bucket, check_plan, count_candidates, publish_manifest, seal_plan, space_fingerprint};
    #[pymodule_export]
    use generation::Generation;
    #[pymodule_export]
    use log::{describe_record, read_counts, read_feedback, read_log, read_log_columns, recover_logs};
    #[pymodule_export]
    use replay::Replay;
    #[pymodule_export]
    use writer::ShardWriter;

    use pyo3::types::PyTuple;
    use ra_guard_core::kernel::Kernel;
    use ra_guard_core::{limits, shard};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let kernels = Kernel::available();
        module.add("KERNEL", Kernel::detect().name())?;
        module.add("KERNELS", PyTuple::new(module.py(), kernels.iter().map(Kernel::name))?)?;
        module.add("FORMAT_VERSION", shard::VERSION)?;
        module.add("MAX_CANDIDATES", limits::MAX_CANDIDATES)?;
        module.add("MAX_POOL", limits::MAX_POOL)?;
        module.add("VARIANTS", errors::variants(module.py())?)
    }
}
