"""What is done to whom: arms, score weights, and the stages of the ramp."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from ra_guard.experiments.allocation import CONTROL_ORIGIN
from ra_guard.experiments.definition.measures import Requirement
from ra_guard.experiments.definition.table import Mistake, Number, Positive, Table, Text
from ra_guard.experiments.definition.vocabulary import Approval, Order, Watch

Weight = Annotated[float, Strict(), Field(ge=0)]
Domain = Annotated[str, Field(min_length=1, max_length=32)]


class Weights(Table):
    """Weights of the four score terms, each finite and 0 or more; see rust_core/core/src/score/SCORE.md."""

    cosine: Weight
    consistency: Weight
    contradiction: Weight
    prior: Weight


class WeightsByDomain(Table):
    """``domain`` holds the weights of a gallery domain; ``default`` applies everywhere else."""

    default: Weights
    domain: Mapping[Domain, Weights] = {}


class Arm(Table):
    """One arm: the first of its buckets and what its users are served. It grows upwards with the ramp."""

    description: Text
    serves: Order
    from_percent: Number


class TreatmentArm(Arm):
    """Buckets [0, r)."""

    serves: Literal[Order.RERANKED]


class ControlArm(Arm):
    """Buckets [50 %, 50 % + r)."""

    serves: Literal[Order.BASELINE]


class Arms(Table):
    """The two arms. Their origins are those of the data path, which computes arms from the ramp alone."""

    treatment: TreatmentArm
    control: ControlArm

    @model_validator(mode="after")
    def _origins_of_the_data_path(self) -> "Arms":
        found = self.treatment.from_percent, self.control.from_percent
        if found != (0.0, CONTROL_ORIGIN / 100):
            raise Mistake(
                found=f"treatment from {found[0]:g} % and control from {found[1]:g} %",
                wanted=f"treatment from 0 % and control from {CONTROL_ORIGIN / 100:g} %, where every replica has them",
                cure="write those",
            )
        return self


class Stage(Table):
    """One step of the ramp: the share of users in each arm, for how long, under whose eyes, and on what it goes on."""

    percent: Number
    """Users in each arm: at 50 everyone is enrolled, half in treatment and half in control."""
    hold_hours: Positive | None = None
    """The least time at this stage; absent for the last one, which is held until the analysis ends."""
    monitoring: Watch
    approval: Approval
    gates: Annotated[tuple[Requirement, ...], Field(min_length=1)]
    """What this stage must show before the ramp leaves it upwards, measured since the ramp came to it."""

    @property
    def ramp_bp(self) -> int:
        """The share in hundredths of a percent."""
        return round(self.percent * 100)
