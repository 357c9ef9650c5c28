"""What replicas are told of an experiment: its plan, sealed.

The core has the last word on what a plan may say, and it is asked before anything is stored.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from ra_guard import _core
from ra_guard.experiments.definition.treatment import Weights
from ra_guard.experiments.definition.vocabulary import Mode
from ra_guard.experiments.errors import PlanRefused
from ra_guard.experiments.model import Experiment
from ra_guard.v1 import plan_pb2, rerank_pb2

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


_MODES = {
    Mode.AB: plan_pb2.MODE_AB,
    Mode.SHADOW: plan_pb2.MODE_SHADOW,
    Mode.INTERLEAVING: plan_pb2.MODE_INTERLEAVING,
    Mode.ROLLOUT: plan_pb2.MODE_ROLLOUT,
}


def plan_of(experiment: Experiment) -> plan_pb2.Plan:
    """What a replica needs to know of an experiment."""
    definition = experiment.definition
    return plan_pb2.Plan(
        revision=experiment.revision,
        experiment_key=experiment.key,
        salt=experiment.salt,
        ramp_bp=experiment.ramp_bp,
        killed=experiment.killed,
        lease_s=definition.lease_s,
        default_weights=_weights(definition.weights.default),
        domain_weights=[
            plan_pb2.DomainWeights(domain=domain, weights=_weights(weights))
            for domain, weights in sorted(definition.weights.domain.items())
        ],
        spaces=definition.spaces,
        mode=_MODES[definition.mode],
        epoch=experiment.epoch,
        feedback_window_s=definition.feedback_window_s,
        retention_days=definition.retention_days,
    )


def _weights(weights: Weights) -> rerank_pb2.Weights:
    return rerank_pb2.Weights(
        cosine=weights.cosine,
        consistency=weights.consistency,
        contradiction=weights.contradiction,
        prior=weights.prior,
    )


def seal(experiment: Experiment) -> bytes:
    """The experiment as a SealedPlan. Raises PlanRefused when the core finds it malformed."""
    try:
        return _core.seal_plan(plan_of(experiment).SerializeToString(deterministic=True))
    except _core.PlanError as cause:
        raise PlanRefused(
            found=f"a plan that the core refuses ({cause})",
            wanted="a plan that it accepts",
            cure="correct the value named",
        ) from cause
