//! The data path of one process: what is in force, and what its calls share.
//!
//! An [`Engine`] holds the Plan and the Generation in force, each behind one pointer that is swapped whole, the
//! cache of prepared query texts, and the queue of the candidate log. Calls share it without waiting for each
//! other; what a call needs to write lives in its caller's [`Scratch`](crate::rerank::Scratch).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;

use crate::kernel::{Kernel, QueryVector};
use crate::limits::MAX_TEXT_BYTES;
use crate::log::CandidateLog;
use crate::plan::PlanCell;
use crate::score::PreparedQuery;
use crate::serving::Serving;
use crate::shard::{Generation, Handle, ShardError};
use crate::wire::{Embedding, RequestError};

/// Time, as a call sees it. The core reads no clock of its own.
pub trait Clock {
    /// Nanoseconds on a clock that never goes back.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since the Unix epoch.
    fn unix_ns(&self) -> u64;
}

/// A prepared text and the fingerprint of the space that its vector belongs to.
#[derive(Debug)]
pub(crate) struct CachedQuery {
    space: String,
    prepared: Arc<PreparedQuery>,
}

/// What all calls of a process share.
#[derive(Debug)]
pub struct Engine {
    /// The plan in force.
    pub plan: PlanCell,
    pub(crate) serving: ArcSwapOption<Serving>,
    pub(crate) queries: Cache<Box<str>, Arc<CachedQuery>>,
    pub(crate) log: Option<CandidateLog>,
    pub(crate) kernel: Kernel,
}

impl Engine {
    /// An engine without plan or generation: it answers every call with the baseline. `log` receives a record of
    /// every call of an enrolled user.
    pub fn new(kernel: Kernel, query_cache_entries: usize, log: Option<CandidateLog>) -> Engine {
        Engine {
            plan: PlanCell::default(),
            serving: ArcSwapOption::empty(),
            queries: Cache::new(query_cache_entries),
            log,
            kernel,
        }
    }

    /// Swaps a generation in, waits until the calls in flight have finished on the previous one, and returns the
    /// previous one's number, 0 for none.
    pub fn publish_generation(&self, generation: Arc<Generation>) -> Result<u64, ShardError> {
        let serving = Arc::new(Serving::new(generation)?);
        let Some(previous) = self.serving.swap(Some(serving)) else { return Ok(0) };
        // Who lets go last unmaps the shards, which takes milliseconds for large ones: not a call, then, but we.
        while Arc::strong_count(&previous) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(previous.generation.number())
    }

    /// The generation in force.
    pub fn generation(&self) -> Option<Arc<Generation>> {
        self.serving.load().as_ref().map(|serving| Arc::clone(&serving.generation))
    }

    /// The candidate log, where one is written.
    pub fn log(&self) -> Option<&CandidateLog> {
        self.log.as_ref()
    }

    /// The kernel that scores.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Caches a text's unit embedding for the generation in force.
    ///
    /// `embedding` is held to the same rules as one in a request: finite, of unit length, of the gallery's space
    /// and dimension.
    pub fn put_query(&self, text: &str, embedding: Embedding<'_>) -> Result<(), RequestError> {
        if text.is_empty() {
            return Err(RequestError::Missing { field: "text", allowed: "1..512 bytes" });
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(RequestError::TooLong { field: "text", found: text.len(), allowed: MAX_TEXT_BYTES });
        }
        embedding.check()?;
        // Without a gallery there is nothing that the text could be compared with.
        let Some(serving) = self.serving.load_full() else { return Ok(()) };
        let generation = &serving.generation;
        if embedding.space != generation.space_fingerprint() {
            let allowed = format!("{}, the space of the gallery", generation.space_fingerprint());
            return Err(RequestError::Space { found: embedding.space.to_owned(), allowed });
        }
        embedding.check_dim(generation.dim())?;
        let mut vector = Vec::with_capacity(embedding.dim());
        embedding.copy_to(&mut vector);
        let threshold = serving.label_threshold;
        let prepared = PreparedQuery::new(text, vector, &serving.labels, self.kernel, threshold);
        let cached = CachedQuery { space: embedding.space.to_owned(), prepared: Arc::new(prepared) };
        self.queries.insert(text.into(), Arc::new(cached));
        Ok(())
    }

    /// The prepared query of a text, if it belongs to the gallery's space and labels.
    pub(crate) fn cached_query(&self, text: &str, serving: &Serving) -> Option<Arc<PreparedQuery>> {
        let cached = self.queries.get(text)?;
        let same_space = cached.space == serving.generation.space_fingerprint();
        (same_space && cached.prepared.is_for(&serving.labels)).then(|| Arc::clone(&cached.prepared))
    }

    /// The cached embedding of a text in the space of the generation in force, `(dim,)`.
    pub fn query_embedding(&self, text: &str) -> Option<Vec<f32>> {
        let serving = self.serving.load_full()?;
        Some(self.cached_query(text, &serving)?.vector().to_vec())
    }

    /// Scores the first row that has an embedding against itself, by the serving kernel: 1 within the error of the
    /// stored type when lookup, mapping and kernel are sound. NaN without such a row.
    pub fn canary(&self) -> f32 {
        let Some(generation) = self.generation() else { return f32::NAN };
        let scorable = generation.live_rows().find(|handle| generation.record(*handle).has_embedding());
        let Some(row) = scorable else { return f32::NAN };
        let mut found = Vec::with_capacity(1);
        generation.lookup(std::iter::once(generation.id(row)), &mut found);
        match found.first() {
            Some(&handle) if handle.is_known() => self.self_cosine(&generation, handle),
            _ => f32::NAN,
        }
    }

    fn self_cosine(&self, generation: &Generation, handle: Handle) -> f32 {
        let mut query = QueryVector::default();
        query.prepare(&generation.embedding_f32(handle), generation.dtype(), generation.stride());
        let mut dot = [0.0];
        self.kernel.dot_rows(&query, 1, |_| generation.embedding(handle), &mut dot);
        dot[0] * generation.record(handle).scale
    }
}
