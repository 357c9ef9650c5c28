//! `Answer`: what one Rerank call came to.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use ra_guard_core::rerank::{Answered, Outcome};

/// What one Rerank call came to. Enum values are those of `ra_guard.v1`.
#[pyclass(frozen, module = "ra_guard._core")]
pub struct Answer {
    #[pyo3(get)]
    response: Py<PyBytes>,
    #[pyo3(get)]
    cold_text: Option<String>,
    /// `None` while a text is cold: such a call is not finished.
    answered: Option<Answered>,
}

impl Answer {
    pub fn new(py: Python<'_>, outcome: Outcome, response: &[u8]) -> Answer {
        match outcome {
            Outcome::Answered(answered) => {
                Answer { response: PyBytes::new(py, response).unbind(), cold_text: None, answered: Some(answered) }
            }
            Outcome::ColdText(text) => {
                Answer { response: PyBytes::new(py, b"").unbind(), cold_text: Some(text), answered: None }
            }
        }
    }

    fn fact<T: Default>(&self, fact: impl FnOnce(&Answered) -> T) -> T {
        self.answered.as_ref().map_or_else(T::default, fact)
    }
}

macro_rules! facts {
    ($($name:ident: $type:ty = $fact:expr;)*) => {
        #[pymethods]
        impl Answer {
            /// Candidates that were looked up and lack every feature, in request order.
            #[getter]
            fn cold_ids(&self) -> Vec<String> {
                self.fact(|a| a.featureless.iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect())
            }

            #[getter]
            fn request_id(&self) -> &str {
                self.answered.as_ref().map_or("", |a| &a.request_id)
            }

            #[getter]
            fn user_id(&self) -> &str {
                self.answered.as_ref().map_or("", |a| &a.user_id)
            }

            $(#[getter]
            fn $name(&self) -> $type {
                self.fact($fact)
            })*
        }
    };
}

facts! {
    assigned_arm: u8 = |a| a.assigned.map_or(0, |arm| arm as u8);
    served_arm: u8 = |a| a.served.map_or(0, |arm| arm as u8);
    status: u8 = |a| a.status as u8;
    reason: u8 = |a| a.reason as u8;
    plan_revision: u64 = |a| a.plan_revision;
    generation: u64 = |a| a.generation;
    candidates: u32 = |a| a.counts.candidates;
    scored: u32 = |a| a.counts.scored;
    cold: u32 = |a| a.counts.cold;
    unknown: u32 = |a| a.counts.unknown;
    unlicensed: u32 = |a| a.counts.unlicensed;
    decode_ns: u32 = |a| a.stages.decode_ns;
    assign_ns: u32 = |a| a.stages.assign_ns;
    lookup_ns: u32 = |a| a.stages.lookup_ns;
    score_ns: u32 = |a| a.stages.score_ns;
    order_ns: u32 = |a| a.stages.order_ns;
    encode_ns: u32 = |a| a.stages.encode_ns;
}
