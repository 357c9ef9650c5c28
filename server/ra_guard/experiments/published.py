"""What the control plane has in force, and what it says of it: to replicas, to the store, to who asked for a change."""

import json
from dataclasses import dataclass
from datetime import datetime

from ra_guard.experiments import model
from ra_guard.experiments.control_store import Stored
from ra_guard.experiments.model import Experiment
from ra_guard.experiments.replicas import Rollout
from ra_guard.v1.plan_pb2 import SealedPlan


@dataclass(frozen=True, slots=True)
class Published:
    """What replicas are told: an experiment, and its plan as sealed bytes."""

    experiment: Experiment
    sealed: bytes
    checksum: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that is stored and published. ``before`` and ``after`` are one object when nothing had to change."""

    before: Experiment | None
    after: Experiment
    published_s: float
    """On the steady clock."""

    @property
    def lease_s(self) -> int:
        """The longest lease of an older plan that may still run."""
        return self.after.lease_s if self.before is None else self.before.lease_s


@dataclass(frozen=True, slots=True)
class Spread:
    """How a change reached the replicas."""

    rollout: Rollout
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica is told in answer to its word."""

    revision: int
    sealed: bytes | None
    """Present when the replica does not hold the plan in force."""
    halt: bool


def published(experiment: Experiment, sealed: bytes) -> Published:
    return Published(experiment, sealed, SealedPlan.FromString(sealed).checksum)


def experiment_of(stored: Stored) -> Experiment:
    return model.experiment_from(stored.definition, json.loads(stored.state))


def stored(experiment: Experiment, sealed: bytes, at: datetime) -> Stored:
    return Stored(
        key=experiment.key,
        revision=experiment.revision,
        epoch=experiment.epoch,
        definition=experiment.definition.text,
        state=json.dumps(model.state_of(experiment)),
        sealed=sealed,
        at=at,
    )
