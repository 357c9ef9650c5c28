//! Where a user stands, and what a settled call comes to: response, record and facts say the same.

use super::Answered;
use crate::assign::{Arm, ServedArm};
use crate::log::RecordFields;
use crate::plan::{Mode, Plan};
use crate::score_buffer::ScoreBuffer;
use crate::serving::Serving;
use crate::wire::{Query, Reason, Request, RequestError, ResponseFields, StageTimes, Status};

/// Whether the control plane still answers for the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    Live,
    Expired,
}

/// Why the baseline is served whatever the features say, to a user of an arm.
pub(crate) fn refusal(standing: Option<(&Plan, Arm)>, lease: Lease) -> Option<Reason> {
    let Some((plan, arm)) = standing else { return Some(Reason::LeaseExpired) };
    if plan.killed {
        return Some(Reason::Killed);
    }
    match (lease, arm, plan.mode) {
        (Lease::Expired, ..) => Some(Reason::LeaseExpired),
        (_, Arm::NotEnrolled, _) => Some(Reason::NotEnrolled),
        (_, Arm::Control, Mode::Ab) => Some(Reason::Control),
        (_, Arm::Treatment | Arm::Control, _) => None,
    }
}

/// Why a call ends before it is scored, if it does. A fault comes before being of the control arm: what both arms meet
/// must show in both, or it would pass for treatment's doing.
pub(crate) fn told(refusal: Option<Reason>, outside: Option<Reason>) -> Option<Reason> {
    match refusal {
        Some(Reason::Control) => outside.or(refusal),
        _ => refusal.or(outside),
    }
}

/// Whether the gallery's space is none of the plan's, or another one than the query's embedding.
pub(crate) fn mismatches(request: &Request<'_>, plan: &Plan, serving: &Serving) -> bool {
    let space = serving.generation.space_fingerprint();
    let asked = match request.query {
        Query::Text(_) => space,
        Query::Embedding(embedding) => embedding.space,
    };
    !plan.allows_space(space) || asked != space
}

/// Refuses names that the gallery does not know and embeddings of another length than its own, in every arm alike:
/// errors that only treatment met would bias the analysis.
pub(crate) fn check_fit(request: &Request<'_>, serving: &Serving) -> Result<(), RequestError> {
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
pub(crate) struct Verdict<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) pooled: bool,
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) serving: Option<&'a Serving>,
    pub(crate) assigned: Option<Arm>,
    pub(crate) reason: Reason,
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
    fn served(&self) -> Option<ServedArm> {
        match (self.assigned?, self.reason) {
            (Arm::NotEnrolled, _) => Some(ServedArm::NotEnrolled),
            (arm, Reason::None) => Some(match self.mode() {
                Some(Mode::Interleaving) => ServedArm::Interleaved,
                Some(Mode::Rollout) => ServedArm::Treatment,
                _ => arm.into(),
            }),
            (Arm::Treatment | Arm::Control, _) => Some(ServedArm::Control),
        }
    }

    /// `None` without a plan.
    fn mode(&self) -> Option<Mode> {
        self.plan.map(|plan| plan.mode)
    }

    pub(super) fn response<'b>(&'b self, scores: &'b ScoreBuffer) -> ResponseFields<'b> {
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

    /// `unix_ns` and `elapsed_us` are those of the record.
    pub(crate) fn record<'b>(
        &'b self,
        request: &'b [u8],
        scores: &'b ScoreBuffer,
        unix_ns: u64,
        elapsed_us: u32,
    ) -> RecordFields<'b> {
        RecordFields {
            unix_ns,
            elapsed_us,
            mode: self.mode(),
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
            teams: scores.teams(),
            treatment_ranking: scores.treatment_ranking(),
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

    pub(super) fn answered(&self, scores: &ScoreBuffer, stages: StageTimes) -> Answered {
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
