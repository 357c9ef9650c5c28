//! One Rerank call, step by step.
//!
//! Every step either goes on or ends the call with the baseline and a reason; only a caller's mistake is an error.
//! Buffers live in the [`Scratch`] of the calling thread: once they have seen the largest request, a call for warm
//! candidates allocates nothing.

mod laps;
pub(crate) mod verdict;

use crate::assign::{Arm, ServedArm};
use crate::engine::{Clock, Engine};
use crate::log::RecordFields;
use crate::plan::{Mode, Plan};
use crate::score_buffer::ScoreBuffer;
use crate::serving::Serving;
use crate::wire::{Counts, Pool, Query, Reason, Request, RequestError, RequestScratch, StageTimes, Status, decode};
use laps::Laps;
use verdict::{Lease, Verdict, check_fit, mismatches, refusal, told};

/// What a caller hands over.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// A serialised `RerankRequest`.
    pub request: &'a [u8],
    /// Ids that the server drew for a request without candidates, best first.
    pub pool: Option<&'a [&'a [u8]]>,
    /// On the clock's monotonic time; past it the rest of the call is not worth doing.
    pub deadline_ns: Option<u64>,
    /// Time since the request arrived, spent before the core could start.
    pub wait_ns: u64,
}

/// What a call came to. The response's bytes are in the scratch.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Answered, counted and logged.
    Answered(Answered),
    /// The call is to be scored and the text has no embedding yet: see [`Engine::put_query`].
    ColdText(String),
}

/// The facts of a finished call.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The request's.
    pub request_id: Box<str>,
    /// The request's.
    pub user_id: Box<str>,
    /// By the hash alone; `None` where no plan could assign.
    pub assigned: Option<Arm>,
    /// What the user is served.
    pub served: Option<ServedArm>,
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
    /// Candidates that were looked up and lacked every feature, cold or unknown. Empty, hence free, when all are warm.
    pub featureless: Vec<Box<[u8]>>,
}

/// Buffers that a thread keeps from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    request: RequestScratch,
    pool: Pool,
    scores: ScoreBuffer,
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
    pub fn rerank(&self, call: &Call<'_>, clock: &impl Clock, scratch: &mut Scratch) -> Result<Outcome, RequestError> {
        self.answer(call, None, clock, scratch)
    }

    /// Answers one call with the baseline, for a reason of [`Reason::FROM_OUTSIDE`]. A call that the plan keeps from both
    /// arms, killed, without a lease or not enrolled, says that instead.
    pub fn fall_back(
        &self,
        call: &Call<'_>,
        reason: Reason,
        clock: &impl Clock,
        scratch: &mut Scratch,
    ) -> Result<Outcome, RequestError> {
        debug_assert!(Reason::FROM_OUTSIDE.contains(&reason), "{reason:?} is for the core to find");
        self.answer(call, Some(reason), clock, scratch)
    }

    fn answer(
        &self,
        call: &Call<'_>,
        forced: Option<Reason>,
        clock: &impl Clock,
        scratch: &mut Scratch,
    ) -> Result<Outcome, RequestError> {
        let Scratch { request: request_scratch, pool, scores, response, record } = scratch;
        let mut laps = Laps::start(clock, call);

        // 1 decode
        let mut request = decode(call.request, request_scratch)?;
        match call.pool {
            Some(ids) if !ids.is_empty() => request.candidates = pool.fill(ids.iter().copied())?,
            None if forced.is_none() && request.candidates.is_empty() => return Err(RequestError::NoCandidates),
            _ => {}
        }
        let serving = self.serving.load_full();
        let serving = serving.as_deref();
        if let Some(serving) = serving {
            check_fit(&request, serving)?;
        }
        scores.begin(request.candidates.len());
        laps.end(|stages| &mut stages.decode_ns);

        // 2 assign
        let in_force = self.plan.load();
        let in_force = in_force.as_deref();
        let plan = in_force.map(|in_force| &in_force.plan);
        let assigned = plan.map(|plan| plan.assign(request.user_id));
        let lease = match in_force {
            Some(in_force) if in_force.holds_lease(laps.lap_began_ns) => Lease::Live,
            _ => Lease::Expired,
        };
        let refusal = refusal(plan.zip(assigned), lease);
        laps.end(|stages| &mut stages.assign_ns);
        // Asked here, before the arms part: late is late in both.
        let outside = forced.or(laps.is_late().then_some(Reason::Deadline));

        // 3 look up, 4 score, 5 order
        let ending = match (told(refusal, outside), plan, serving) {
            (Some(reason), ..) => Ending::Baseline(reason),
            (None, Some(plan), Some(serving)) => self.treat(&request, plan, serving, scores, &mut laps),
            (None, ..) => Ending::Baseline(Reason::NoFeatures),
        };
        let reason = match ending {
            Ending::ColdText(text) => return Ok(Outcome::ColdText(text)),
            Ending::Settled(reason) => reason,
            Ending::Baseline(reason) => {
                scores.keep_baseline(&request, serving.map(|serving| &*serving.generation));
                laps.end(|stages| &mut stages.order_ns);
                reason
            }
        };

        // 6 log + encode
        let verdict = Verdict { request: &request, pooled: call.pool.is_some(), plan, serving, assigned, reason };
        verdict.response(scores).encode(response);
        self.record(&verdict.record(call.request, scores, clock.unix_ns(), laps.elapsed_us()), record);
        laps.end(|stages| &mut stages.encode_ns);
        laps.stages.append(response);
        Ok(Outcome::Answered(verdict.answered(scores, laps.stages)))
    }

    /// Steps 3 to 5 for a user whose call is scored: of the treatment arm, or of either where both are.
    fn treat(
        &self,
        request: &Request<'_>,
        plan: &Plan,
        serving: &Serving,
        scores: &mut ScoreBuffer,
        laps: &mut Laps<'_, impl Clock>,
    ) -> Ending {
        let generation = &*serving.generation;
        if mismatches(request, plan, serving) {
            return Ending::Baseline(Reason::ModelMismatch);
        }
        match request.query {
            Query::Text(text) => match self.cached_query(text, serving) {
                Some(cached) => scores.take_text(cached),
                None => return Ending::ColdText(text.to_owned()),
            },
            Query::Embedding(embedding) => scores.take_embedding(embedding),
        }
        scores.look_up(request, generation);
        laps.end(|stages| &mut stages.lookup_ns);
        if laps.is_late() {
            return Ending::Baseline(Reason::Deadline);
        }
        scores.score(request, serving, self.kernel, plan.weights_for(request.domain));
        laps.end(|stages| &mut stages.score_ns);
        if scores.counts().scored == 0 {
            return Ending::Baseline(Reason::NoFeatures);
        }
        if laps.is_late() {
            return Ending::Baseline(Reason::Deadline);
        }
        let reason = settle(request, plan, scores);
        laps.end(|stages| &mut stages.order_ns);
        if request.explain && reason == Reason::None {
            scores.collect_explanation(generation);
        }
        Ending::Settled(reason)
    }

    /// Queues the record of an enrolled user's call. Everyone else is outside the analysis.
    fn record(&self, fields: &RecordFields<'_>, record: &mut Vec<u8>) {
        let Some(log) = self.log() else { return };
        if matches!(fields.assigned_arm, Some(Arm::Treatment | Arm::Control)) {
            fields.encode(record);
            // A full queue is counted by arm where it happens; the call goes on.
            let _: Result<(), crate::log::Dropped> = log.push(record);
        }
    }
}

/// Step 5: the order that the mode serves, and why that is the baseline where it is.
pub(crate) fn settle(request: &Request<'_>, plan: &Plan, scores: &mut ScoreBuffer) -> Reason {
    scores.order(request.top_k);
    match plan.mode {
        Mode::Ab | Mode::Rollout => Reason::None,
        Mode::Shadow => {
            scores.withhold(request.top_k);
            Reason::Shadow
        }
        Mode::Interleaving => {
            scores.interleave(request.top_k, plan.coins(request.request_id));
            Reason::None
        }
    }
}

/// How steps 3 to 5 ended.
enum Ending {
    Settled(Reason),
    Baseline(Reason),
    ColdText(String),
}
