//! One Rerank call, step by step.
//!
//! Every step either goes on or ends the call with the baseline and a reason; only a caller's mistake is an error.
//! Buffers live in the [`Scratch`] of the calling thread: once they have seen the largest request, a call for warm
//! candidates allocates nothing.

use crate::assign::Arm;
use crate::engine::{Clock, Engine};
use crate::log::RecordFields;
use crate::plan::{InForce, Plan};
use crate::score_buffer::ScoreBuffer;
use crate::serving::Serving;
use crate::wire::{
    Counts, Pool, Query, Reason, Request, RequestError, RequestScratch, ResponseFields, StageTimes, Status, decode,
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
        let (assigned, refusal) = standing(in_force, request.user_id, laps.lap_began_ns);
        laps.end(|stages| &mut stages.assign_ns);

        // 3 look up, 4 score, 5 order
        let ending = match (refusal.or(forced), plan, serving) {
            (Some(reason), ..) => Ending::Baseline(reason),
            (None, Some(plan), Some(serving)) => self.treat(&request, plan, serving, scores, &mut laps),
            (None, ..) => Ending::Baseline(Reason::NoFeatures),
        };
        let reason = match ending {
            Ending::ColdText(text) => return Ok(Outcome::ColdText(text)),
            Ending::Ranked => Reason::None,
            Ending::Baseline(reason) => {
                scores.keep_baseline(&request, serving.map(|serving| &*serving.generation));
                laps.end(|stages| &mut stages.order_ns);
                reason
            }
        };

        // 6 log + encode
        let verdict = Verdict { request: &request, pooled: call.pool.is_some(), plan, serving, assigned, reason };
        verdict.response(scores).encode(response);
        self.record(&verdict.record(call.request, scores, clock.unix_ns()), record);
        laps.end(|stages| &mut stages.encode_ns);
        laps.stages.append(response);
        Ok(Outcome::Answered(verdict.answered(scores, laps.stages)))
    }

    /// Steps 3 to 5 for a user who is to be served treatment.
    fn treat(
        &self,
        request: &Request<'_>,
        plan: &Plan,
        serving: &Serving,
        scores: &mut ScoreBuffer,
        laps: &mut Laps<'_, impl Clock>,
    ) -> Ending {
        let generation = &*serving.generation;
        if !plan.allows_space(generation.space_fingerprint()) {
            return Ending::Baseline(Reason::ModelMismatch);
        }
        match request.query {
            Query::Text(text) => match self.cached_query(text, serving) {
                Some(cached) => scores.take_text(cached),
                None => return Ending::ColdText(text.to_owned()),
            },
            Query::Embedding(embedding) if embedding.space != generation.space_fingerprint() => {
                return Ending::Baseline(Reason::ModelMismatch);
            }
            Query::Embedding(embedding) => scores.take_embedding(embedding),
        }
        if laps.is_late() {
            return Ending::Baseline(Reason::Deadline);
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
        scores.order(request.top_k);
        laps.end(|stages| &mut stages.order_ns);
        if request.explain {
            scores.collect_explanation(generation);
        }
        Ending::Ranked
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

/// The user's arm, and why the baseline is served whatever the features say.
fn standing(in_force: Option<&InForce>, user_id: &str, now_ns: u64) -> (Option<Arm>, Option<Reason>) {
    let Some(in_force) = in_force else { return (None, Some(Reason::LeaseExpired)) };
    let arm = in_force.plan.assign(user_id);
    let refusal = if in_force.plan.killed {
        Some(Reason::Killed)
    } else if !in_force.holds_lease(now_ns) {
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

/// How steps 3 to 5 ended.
enum Ending {
    Ranked,
    Baseline(Reason),
    ColdText(String),
}

/// Refuses names that the gallery does not know and embeddings of another length than its own, in every arm alike:
/// errors that only treatment met would bias the analysis.
fn check_fit(request: &Request<'_>, serving: &Serving) -> Result<(), RequestError> {
    let generation = &*serving.generation;
    if !request.domain.is_empty() && !generation.domains().iter().any(|domain| domain == request.domain) {
        return Err(RequestError::UnknownDomain {
            found: request.domain.to_owned(),
            allowed: generation.domains().join(", "),
        });
    }
    if let Query::Embedding(embedding) = request.query
        && embedding.space == generation.space_fingerprint()
    {
        embedding.check_dim(generation.dim())?;
    }
    for (field, labels) in
        [("required_labels", &request.required_labels), ("forbidden_labels", &request.forbidden_labels)]
    {
        if let Some(stray) = labels.iter().find(|label| serving.labels.id(label).is_none()) {
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
    serving: Option<&'a Serving>,
    assigned: Option<Arm>,
    reason: Reason,
}

impl<'a> Verdict<'a> {
    fn status(&self, scores: &ScoreBuffer) -> Status {
        match self.reason {
            Reason::None if scores.is_complete() => Status::Reranked,
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

    fn response<'b>(&'b self, scores: &'b ScoreBuffer) -> ResponseFields<'b> {
        let explained = self.serving.filter(|_| self.request.explain && self.reason == Reason::None);
        ResponseFields {
            request_id: self.request.request_id,
            assigned_arm: self.assigned,
            served_arm: self.served(),
            status: self.status(scores),
            reason: self.reason,
            experiment_key: self.plan.map_or("", |plan| &plan.experiment_key),
            plan_revision: self.plan.map_or(0, |plan| plan.revision),
            generation: self.generation(),
            space: self.space(),
            ranking: scores.ranking(),
            pool: self.pooled.then_some(self.request.candidates),
            scores: scores.ranked_scores(),
            counts: scores.counts(),
            candidate_states: scores.states(),
            explanation: explained.map(|serving| scores.explanation(&serving.generation)),
        }
    }

    fn record<'b>(&'b self, request: &'b [u8], scores: &'b ScoreBuffer, unix_ns: u64) -> RecordFields<'b> {
        RecordFields {
            unix_ns,
            request,
            candidates: self.request.candidates.len(),
            pool: self.pooled.then_some(self.request.candidates),
            assigned_arm: self.assigned,
            served_arm: self.served(),
            status: self.status(scores),
            reason: self.reason,
            experiment_key: self.plan.map_or("", |plan| &plan.experiment_key),
            plan_revision: self.plan.map_or(0, |plan| plan.revision),
            generation: self.generation(),
            space: self.space(),
            weights: scores.weights(),
            query_vector: scores.text_vector(),
            states: scores.states(),
            columns: scores.columns(),
            ranking: scores.ranking(),
        }
    }

    /// 0 without one.
    fn generation(&self) -> u64 {
        self.serving.map_or(0, |serving| serving.generation.number())
    }

    /// Empty without a generation.
    fn space(&self) -> &'a str {
        self.serving.map_or("", |serving| serving.generation.space_fingerprint())
    }

    fn answered(&self, scores: &ScoreBuffer, stages: StageTimes) -> Answered {
        Answered {
            request_id: self.request.request_id.into(),
            user_id: self.request.user_id.into(),
            assigned: self.assigned,
            served: self.served(),
            status: self.status(scores),
            reason: self.reason,
            plan_revision: self.plan.map_or(0, |plan| plan.revision),
            generation: self.generation(),
            counts: scores.counts(),
            stages,
            featureless: scores.featureless(&self.request.candidates),
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
