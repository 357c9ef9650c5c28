//! A logged call, computed again: was what a record says what the plan and the generation that it names make of its
//! request?
//!
//! The same code runs as in the call itself. What it cannot know, it takes from the record: the time, the embedding of
//! a text, and what came from outside, such as an expired lease, a passed deadline or an overload. All that follows
//! from those is computed and compared bit for bit: arm, served arm, status and reason, states, weights, columns,
//! rankings and teams. Any kernel will do, since all of them give the same bits.

mod compare;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use compare::{Difference, Place};

use crate::assign::Arm;
use crate::kernel::Kernel;
use crate::log::{LogError, Record};
use crate::plan::{Plan, PlanError, unseal};
use crate::rerank::settle;
use crate::rerank::verdict::{Lease, Verdict, check_fit, mismatches, refusal};
use crate::score::PreparedQuery;
use crate::score_buffer::ScoreBuffer;
use crate::serving::Serving;
use crate::shard::{Generation, ShardError};
use crate::wire::{Embedding, Pool, Query, Reason, Request, RequestError, RequestScratch, decode};

/// Generations that stay open: a log moves from one to the next, and a few workers' logs may be read in turn.
const OPEN_GENERATIONS: usize = 4;

/// Why a record cannot be replayed, which says nothing about whether it is right.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It is no record.
    #[error(transparent)]
    Record(#[from] LogError),
    /// Its plan was not added.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Its generation cannot be opened.
    #[error(transparent)]
    Generation(#[from] ShardError),
}

/// Replays records against the generations of one gallery. Buffers are reused from record to record.
#[derive(Debug)]
pub struct Replay {
    gallery: PathBuf,
    kernel: Kernel,
    plans: BTreeMap<String, BTreeMap<u64, Plan>>,
    /// The one used last comes last.
    generations: Vec<Arc<Serving>>,
    request: RequestScratch,
    pool: Pool,
    scores: ScoreBuffer,
}

impl Replay {
    /// Against the generations in a gallery's folder, which are opened as records name them.
    pub fn new(gallery: PathBuf, kernel: Kernel) -> Replay {
        Replay {
            gallery,
            kernel,
            plans: BTreeMap::new(),
            generations: Vec::with_capacity(OPEN_GENERATIONS),
            request: RequestScratch::default(),
            pool: Pool::default(),
            scores: ScoreBuffer::default(),
        }
    }

    /// Adds a sealed plan that records may name. Refuses another plan under a key and revision that are known.
    pub fn add_plan(&mut self, sealed: &[u8]) -> Result<(), PlanError> {
        let plan = Plan::decode(unseal(sealed)?)?;
        let revisions = self.plans.entry(plan.experiment_key.clone()).or_default();
        match revisions.get(&plan.revision) {
            Some(known) if *known != plan => {
                Err(PlanError::Conflict { key: plan.experiment_key, revision: plan.revision })
            }
            _ => {
                revisions.insert(plan.revision, plan);
                Ok(())
            }
        }
    }

    /// The first difference between a record and what is computed again; `None` when there is none.
    pub fn check(&mut self, record: &[u8]) -> Result<Option<Difference>, ReplayError> {
        let record = Record::decode(record)?;
        let serving = self.serving(record.generation)?;
        let plan = match record.plan_revision {
            0 => None,
            revision => Some(find_plan(&self.plans, record.experiment_key, revision)?),
        };
        let kernel = self.kernel;
        let Self { request, pool, scores, .. } = self;
        let request = match read_request(&record, serving.as_deref(), request, pool) {
            Ok(request) => request,
            Err(error) => return Ok(Some(Difference::of_request(&error))),
        };
        let assigned = plan.map(|plan| plan.assign(request.user_id));
        scores.begin(request.candidates.len());
        let known = Known { record: &record, request: &request, serving: serving.as_deref(), kernel };
        let reason = match known.end(plan.zip(assigned), scores) {
            Ok(reason) => reason,
            Err(difference) => return Ok(Some(difference)),
        };
        let (pooled, serving) = (record.pool.is_some(), serving.as_deref());
        let verdict = Verdict { request: &request, pooled, plan, serving, assigned, reason };
        let wanted = verdict.record(record.request, scores, record.unix_ns, record.elapsed_us);
        Ok(compare::first_difference(&record, &wanted))
    }

    /// The generation of a number, 0 for none.
    fn serving(&mut self, number: u64) -> Result<Option<Arc<Serving>>, ShardError> {
        if number == 0 {
            return Ok(None);
        }
        let found = self.generations.iter().position(|serving| serving.generation.number() == number);
        let serving = match found {
            Some(index) => self.generations.remove(index),
            None => Arc::new(Serving::new(Arc::new(Generation::open(&self.gallery, Some(number))?))?),
        };
        if self.generations.len() == OPEN_GENERATIONS {
            self.generations.remove(0);
        }
        self.generations.push(Arc::clone(&serving));
        Ok(Some(serving))
    }
}

fn find_plan<'a>(
    plans: &'a BTreeMap<String, BTreeMap<u64, Plan>>,
    key: &str,
    revision: u64,
) -> Result<&'a Plan, PlanError> {
    let found = plans.get(key).and_then(|revisions| revisions.get(&revision));
    found.ok_or_else(|| PlanError::UnknownPlan { key: key.to_owned(), revision })
}

fn read_request<'a>(
    record: &Record<'a>,
    serving: Option<&Serving>,
    scratch: &'a mut RequestScratch,
    pool: &'a mut Pool,
) -> Result<Request<'a>, RequestError> {
    let mut request = decode(record.request, scratch)?;
    if let Some(ids) = record.pool
        && record.candidates != 0
    {
        request.candidates = pool.fill(ids.iter())?;
    }
    serving.map_or(Ok(()), |serving| check_fit(&request, serving))?;
    Ok(request)
}

/// What a record and its request say about how the call went.
struct Known<'a> {
    record: &'a Record<'a>,
    request: &'a Request<'a>,
    serving: Option<&'a Serving>,
    kernel: Kernel,
}

impl Known<'_> {
    /// Steps 2 to 5 again; the reason that they end with.
    fn end(&self, standing: Option<(&Plan, Arm)>, scores: &mut ScoreBuffer) -> Result<Reason, Difference> {
        let lease = match self.record.reason {
            Reason::LeaseExpired => Lease::Expired,
            _ => Lease::Live,
        };
        let reason = match (refusal(standing, lease), standing, self.serving) {
            (Some(reason @ Reason::Control), ..) => self.outside_reason().unwrap_or(reason),
            (Some(reason), ..) => reason,
            (None, Some((plan, _)), Some(serving)) => match self.treat(plan, serving, scores)? {
                reason @ (Reason::None | Reason::Shadow) => return Ok(reason),
                reason => reason,
            },
            (None, ..) => self.outside_reason().unwrap_or(Reason::NoFeatures),
        };
        scores.keep_baseline(self.request, self.serving.map(|serving| &*serving.generation));
        Ok(reason)
    }

    /// Steps 3 to 5, as far as the call went.
    fn treat(&self, plan: &Plan, serving: &Serving, scores: &mut ScoreBuffer) -> Result<Reason, Difference> {
        if self.record.columns.is_none()
            && let Some(reason) = self.outside_reason()
        {
            self.retrace(reason, serving, scores)?;
            return Ok(reason);
        }
        if mismatches(self.request, plan, serving) {
            return Ok(Reason::ModelMismatch);
        }
        self.take_query(serving, scores)?;
        scores.look_up(self.request, &serving.generation);
        scores.score(self.request, serving, self.kernel, plan.weights_for(self.request.domain));
        Ok(match self.record.reason {
            _ if scores.counts().scored == 0 => Reason::NoFeatures,
            Reason::Deadline => Reason::Deadline,
            _ => settle(self.request, plan, scores),
        })
    }

    /// The logged reason, if it is one that only the server of that time could know.
    fn outside_reason(&self) -> Option<Reason> {
        let reason = self.record.reason;
        Reason::FROM_OUTSIDE.contains(&reason).then_some(reason)
    }

    /// A call that ended without scores. A deadline may have passed at any step, and the record shows which ones were
    /// done: a text's embedding that was taken, states that were found.
    fn retrace(&self, reason: Reason, serving: &Serving, scores: &mut ScoreBuffer) -> Result<(), Difference> {
        if reason != Reason::Deadline {
            return Ok(());
        }
        if self.record.query_vector.is_some() {
            self.take_query(serving, scores)?;
        }
        if self.record.states.is_some_and(|states| states.iter().any(|&state| state != 0)) {
            scores.look_up(self.request, &serving.generation);
        }
        Ok(())
    }

    fn take_query(&self, serving: &Serving, scores: &mut ScoreBuffer) -> Result<(), Difference> {
        let text = match self.request.query {
            Query::Embedding(embedding) => {
                scores.take_embedding(embedding);
                return Ok(());
            }
            Query::Text(text) => text,
        };
        let Some(column) = self.record.query_vector else { return Err(Difference::of_query_vector("none")) };
        let embedding = Embedding { values: column.as_bytes(), space: serving.generation.space_fingerprint() };
        let fits = embedding.check().and_then(|()| embedding.check_dim(serving.generation.dim()));
        fits.map_err(Difference::of_query_vector)?;
        let vector = column.iter().collect();
        let prepared = PreparedQuery::new(text, vector, &serving.labels, self.kernel, serving.label_threshold);
        scores.take_text(Arc::new(prepared));
        Ok(())
    }
}
