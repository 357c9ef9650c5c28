//! The data path of one process: what is in force, and the lengths that its buffers grow to.
//!
//! An [`Engine`] holds the Plan and the Generation in force, each behind one pointer that is swapped whole, the
//! cache of prepared query texts, and the candidate log. Calls share it without a lock; what a call needs to write
//! lives in its caller's [`Scratch`], which stops growing once it has seen the largest request.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;

use crate::kernel::{Kernel, QueryVector};
use crate::limits::MAX_TEXT_BYTES;
use crate::log::CandidateLog;
use crate::plan::PlanCell;
use crate::score::{Expectation, PreparedQuery, Scores};
use crate::shard::{Generation, Handle};
use crate::wire::RequestScratch;
use crate::wire::RequestError;

/// Time, as a call sees it. The core reads no clock of its own.
pub trait Clock {
    /// Nanoseconds on a clock that never goes back.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since the Unix epoch.
    fn unix_ns(&self) -> u64;
}
