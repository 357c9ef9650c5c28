//! One Rerank call, step by step.
//!
//! Every step either goes on or ends the call with the baseline and a reason; only a caller's mistake is an error.
//! Buffers live in the [`Scratch`] of the calling thread: once they have seen the largest request, a call for warm
//! candidates allocates nothing.

use std::sync::Arc;

use crate::assign::Arm;
use crate::engine::{CachedQuery, Clock, Engine};
use crate::features::{Features, Terms};
use crate::log::{Record, RecordQuery};
use crate::plan::Plan;
use crate::score::PreparedQuery;
use crate::shard::Generation;
use crate::wire::{
    Candidates, Counts, Pool, Query, Reason, Request, RequestError, RequestScratch, ResponseFields, StageTimes, Status,
    decode,
};

/// What a caller hands over.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// A serialised `RerankRequest`.
    pub request: &'a [u8],
    /// Ids that the server drew for a request without candidates, best first.
    pub pool: Option<&'a [&'a [u8]]>,
    /// On the clock's monotonic time; past it the rest of the call is not worth doing.
    pub deadline_ns: Option<u64>,
    /// Time spent before the core could start.
    pub wait_ns: u64,
}

/// What a call came to. The response's bytes are in the scratch.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Answered, counted and logged.
    Answered(Answered),
    /// The user is to be served treatment and the text has no embedding yet: see [`Engine::put_query`].
    ColdText(String),
    /// The request leaves its candidates to the server: call again with a pool of this many.
    WantsPool(usize),
}

/// The facts of a finished call.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// By the hash alone; `None` where no plan could assign.
    pub assigned: Option<Arm>,
    /// What the user is served.
    pub served: Option<Arm>,
    /// How the ranking came about.
    pub status: Status,
    /// Why it is the baseline.
    pub reason: Reason,
    /// 0 without a plan.
    pub plan_revision: u64,
    /// 0 without a generation.
    pub generation: u64,
    /// What became of the candidates.
    pub counts: Counts,
    /// Time of each step.
    pub stages: StageTimes,
    /// Candidates of treatment that lacked every feature, cold or unknown. Empty, hence free, when all are warm.
    pub featureless: Vec<Box<[u8]>>,
}

/// Buffers that a thread keeps from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    request: RequestScratch,
    pool: Pool,
    features: Features,
    response: Vec<u8>,
    record: Vec<u8>,
}

impl Scratch {
    /// The serialised `RerankResponse` of the last answered call.
    pub fn response(&self) -> &[u8] {
        &self.response
    }
}

impl Engine {
    /// Answers one call.
    pub fn rerank(
        &self,
        call: &Call<'_>,
        clock: &impl Clock,
        scratch: &mut Scratch,
    ) -> Result<Outcome, RequestError> {
        self.answer(call, None, clock, scratch)
    }

    /// Answers one call with the baseline, for a reason known outside the core. A user who would get the baseline
    /// anyway is given that reason instead.
    pub fn fall_back(
        &self,
        call: &Call<'_>,
        reason: Reason,
        clock: &impl Clock,
        scratch: &mut Scratch,
    ) -> Result<Outcome, RequestError> {
        self.answer(call, Some(reason), clock, scratch)
    }

    fn answer(
        &self,
        call: &Call<'_>,
        forced: Option<Reason>,
        clock: &impl Clock,
        scratch: &mut Scratch,
    ) -> Result<Outcome, RequestError> {
        let Scratch { request: request_scratch, pool, features, response, record } = scratch;
        let mut laps = Laps::start(clock, call);

        // 1 decode
        let mut request = decode(call.request, request_scratch)?;
        if let Some(ids) = call.pool {
            request.candidates = pool.fill(ids.iter().copied())?;
        } else if request.candidates.is_empty() {
            return Ok(Outcome::WantsPool(request.pool_size));
        }
        let generation = self.generation.load_full();
        let generation = generation.as_deref();
        if let Some(generation) = generation {
            check_names(&request, generation)?;
        }
        features.begin(request.candidates.len());
        laps.end(|stages| &mut stages.decode_ns);

        // 2 assign
        let plan = self.plan.load();
        let plan = plan.as_deref();
        let (assigned, refusal) = self.standing(plan, request.user_id, laps.lap_began_ns);
        laps.end(|stages| &mut stages.assign_ns);

        // 3 look up, 4 score, 5 order
        let ending = match (refusal.or(forced), plan, generation) {
            (Some(reason), ..) => Ending::Baseline(reason),
            (None, Some(plan), Some(generation)) => self.treat(&request, plan, generation, features, &mut laps)?,
            (None, ..) => Ending::Baseline(Reason::NoFeatures),
        };
        let reason = match ending {
            Ending::ColdText(text) => return Ok(Outcome::ColdText(text)),
            Ending::Ranked => Reason::None,
            Ending::Baseline(reason) => {
                features.keep_baseline(&request, generation);
                laps.end(|stages| &mut stages.order_ns);
                reason
            }
        };

        // 6 log + encode
        let outcome = Verdict { request: &request, pooled: call.pool.is_some(), plan, generation, assigned, reason };
        self.log(call, &outcome, features, clock, record);
        outcome.response(features).encode(response);
        laps.end(|stages| &mut stages.encode_ns);
        laps.stages.append(response);
        Ok(Outcome::Answered(outcome.answered(features, laps.stages)))
    }

    /// The user's arm, and why the baseline is served whatever the features say.
    fn standing(&self, plan: Option<&Plan>, user_id: &str, now_ns: u64) -> (Option<Arm>, Option<Reason>) {
        let Some(plan) = plan else { return (None, Some(Reason::LeaseExpired)) };
        let arm = plan.assign(user_id);
        let refusal = if plan.killed {
            Some(Reason::Killed)
        } else if !self.plan.holds_lease(plan, now_ns) {
            Some(Reason::LeaseExpired)
        } else {
            match arm {
                Arm::Treatment => None,
                Arm::Control => Some(Reason::Control),
                Arm::NotEnrolled => Some(Reason::NotEnrolled),
            }
        };
        (Some(arm), refusal)
    }

    /// Steps 3 to 5 for a user who is to be served treatment.
    fn treat(
        &self,
        request: &Request<'_>,
        plan: &Plan,
        generation: &Generation,
        features: &mut Features,
        laps: &mut Laps<'_, impl Clock>,
    ) -> Result<Ending, RequestError> {
        if !plan.allows_space(generation.space_fingerprint()) {
            return Ok(Ending::Baseline(Reason::ModelMismatch));
        }
        match request.query {
            Query::Text(text) => match self.cached_query(text, generation) {
                Some(cached) => features.take_text(cached),
                None => return Ok(Ending::ColdText(text.to_owned())),
            },
            Query::Embedding(embedding) if embedding.space != generation.space_fingerprint() => {
                return Ok(Ending::Baseline(Reason::ModelMismatch));
            }
            Query::Embedding(embedding) => {
                embedding.check_dim(generation.dim())?;
                features.take_embedding(embedding);
            }
        }
        if laps.is_late() {
            return Ok(Ending::Baseline(Reason::Deadline));
        }
        features.look_up(request, generation);
        laps.end(|stages| &mut stages.lookup_ns);
        if laps.is_late() {
            return Ok(Ending::Baseline(Reason::Deadline));
        }
        features.score(request, generation, self.kernel, plan.weights_for(request.domain));
        laps.end(|stages| &mut stages.score_ns);
        if features.counts().scored == 0 {
            return Ok(Ending::Baseline(Reason::NoFeatures));
        }
        if laps.is_late() {
            return Ok(Ending::Baseline(Reason::Deadline));
        }
        features.order(request.top_k);
        laps.end(|stages| &mut stages.order_ns);
        Ok(Ending::Ranked)
    }
}

/// How steps 3 to 5 ended.
enum Ending {
    Ranked,
    Baseline(Reason),
    ColdText(String),
}

/// Refuses names that the gallery does not know, in every arm alike.
fn check_names(request: &Request<'_>, generation: &Generation) -> Result<(), RequestError> {
    if !request.domain.is_empty() && !generation.domains().iter().any(|domain| domain == request.domain) {
        return Err(RequestError::UnknownDomain {
            found: request.domain.to_owned(),
            allowed: generation.domains().join(", "),
        });
    }
    for (field, labels) in
        [("required_labels", &request.required_labels), ("forbidden_labels", &request.forbidden_labels)]
    {
        if let Some(stray) = labels.iter().find(|label| !generation.labels().iter().any(|known| known == *label)) {
            let allowed = generation.labels().join(", ");
            return Err(RequestError::UnknownLabel { field, found: (*stray).to_owned(), allowed });
        }
    }
    Ok(())
}

/// A call whose ranking is settled.
struct Verdict<'a> {
    request: &'a Request<'a>,
    pooled: bool,
    plan: Option<&'a Plan>,
    generation: Option<&'a Generation>,
    assigned: Option<Arm>,
    reason: Reason,
}

impl<'a> Verdict<'a> {
    fn status(&self, features: &Features) -> Status {
        match self.reason {
            Reason::None if features.is_complete() => Status::Reranked,
            Reason::None => Status::Partial,
            _ => Status::Baseline,
        }
    }

    /// Treatment that fell back was served what control is served.
    fn served(&self) -> Option<Arm> {
        match (self.assigned, self.reason) {
            (Some(Arm::Treatment), Reason::None) => Some(Arm::Treatment),
            (Some(Arm::Treatment), _) => Some(Arm::Control),
            (assigned, _) => assigned,
        }
    }

    fn response<'b>(&'b self, features: &'b Features) -> ResponseFields<'b> {
        let explained = self.generation.filter(|_| self.request.explain && self.reason == Reason::None);
        ResponseFields {
            request_id: self.request.request_id,
            assigned_arm: self.assigned,
            served_arm: self.served(),
            status: self.status(features),
            reason: self.reason,
            experiment_key: self.plan.map_or("", |plan| &plan.experiment_key),
            plan_revision: self.plan.map_or(0, |plan| plan.revision),
            generation: self.generation.map_or(0, Generation::number),
            space: self.generation.map_or("", Generation::space_fingerprint),
            ranking: features.ranking(),
            pool: self.pooled.then_some(self.request.candidates),
            scores: features.ranked_scores(),
            counts: features.counts(),
            candidate_states: features.states(),
            explanation: explained.map(|generation| features.explain(generation)),
        }
    }

    fn answered(&self, features: &Features, stages: StageTimes) -> Answered {
        Answered {
            assigned: self.assigned,
            served: self.served(),
            status: self.status(features),
            reason: self.reason,
            plan_revision: self.plan.map_or(0, |plan| plan.revision),
            generation: self.generation.map_or(0, Generation::number),
            counts: features.counts(),
            stages,
            featureless: features.featureless(&self.request.candidates),
        }
    }
}

/// The time of each step, and the deadline.
struct Laps<'a, C> {
    clock: &'a C,
    deadline_ns: u64,
    lap_began_ns: u64,
    stages: StageTimes,
}

impl<'a, C: Clock> Laps<'a, C> {
    fn start(clock: &'a C, call: &Call<'_>) -> Self {
        Laps {
            clock,
            deadline_ns: call.deadline_ns.unwrap_or(u64::MAX),
            lap_began_ns: clock.monotonic_ns(),
            stages: StageTimes { wait_ns: saturate(call.wait_ns), ..StageTimes::default() },
        }
    }

    /// Ends the step that began with the end of the previous one.
    fn end(&mut self, stage: impl FnOnce(&mut StageTimes) -> &mut u32) {
        let now_ns = self.clock.monotonic_ns();
        *stage(&mut self.stages) = saturate(now_ns.saturating_sub(self.lap_began_ns));
        self.lap_began_ns = now_ns;
    }

    /// Whether the caller's deadline had passed when the last step ended.
    fn is_late(&self) -> bool {
        self.lap_began_ns > self.deadline_ns
    }
}

fn saturate(ns: u64) -> u32 {
    u32::try_from(ns).unwrap_or(u32::MAX)
}
