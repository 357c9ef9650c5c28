"""What is measured to decide, when, on how many, and what follows from it."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.definition.safety import Guardrail
from ra_guard.experiments.definition.table import Mistake, Positive, Share, Table, Text
from ra_guard.experiments.definition.vocabulary import (
    Finding,
    Labels,
    Outcome,
    Spending,
    SuccessRule,
    Tier,
    ValueUnit,
)

Points = Annotated[float, Strict(), Field(gt=0, le=100)]
Chance = Annotated[float, Strict(), Field(gt=0, le=1)]


class Primary(Table):
    """The metric that decides, and what counts as success."""

    metric: Literal[Metric.NDCG_AT_10]
    value_unit: ValueUnit
    labels: Labels
    propensity: Annotated[tuple[Chance, ...], Field(min_length=1, max_length=200)] | None = None
    """With clicks, and only with them: the chance that a result at rank 1, 2, ... is looked at, relative to the first.
    Ranks beyond the last have that one."""
    direction: Literal["higher_is_better"]
    success_points: Points
    expected_points: Points
    confidence_percent: Share
    """Of the two-sided interval at a planned look, adjusted for the looks before."""
    success_rule: SuccessRule

    @model_validator(mode="after")
    def _clicks_are_corrected(self) -> "Primary":
        if self.labels is Labels.CLICKS and self.propensity is None:
            raise Mistake(
                found="labels = 'clicks' without propensity",
                wanted="propensity, the chance that a result at rank 1, 2, ... is looked at, for the value beside it",
                cure="measure it by swapping neighbours; until then say [1.0, 0.5, 0.33, 0.25, 0.2], one in its rank",
            )
        if self.labels is not Labels.CLICKS and self.propensity is not None:
            raise Mistake(
                found=f"propensity with labels = '{self.labels}'", wanted="it with clicks only", cure="leave it out"
            )
        return self

    @model_validator(mode="after")
    def _success_is_expected(self) -> "Primary":
        if self.success_points > self.expected_points:
            raise Mistake(
                found=f"success_points = {self.success_points:g}, expected_points = {self.expected_points:g}",
                wanted="an expected effect that would be a success",
                cure="correct one of them",
            )
        return self


class Indicator(Table):
    """A metric that is reported with its interval and decides nothing."""

    metric: Metric
    tier: Tier
    description: Text


class Metrics(Table):
    """What is measured to decide."""

    primary: Primary
    guardrails: Annotated[tuple[Guardrail, ...], Field(min_length=1)]
    indicators: tuple[Indicator, ...]


class Sample(Table):
    """How many users the plan asks for, and what it takes them to show."""

    users: Positive
    users_per_arm: Positive
    power_percent: Share
    sd_points: Points
    """Expected spread of the primary metric between users, from which power is planned."""

    @model_validator(mode="after")
    def _two_equal_arms(self) -> "Sample":
        if self.users != 2 * self.users_per_arm:
            raise Mistake(
                found=f"{self.users} users, {self.users_per_arm} in each arm",
                wanted="two arms of the same size that make up the whole",
                cure="correct one of them",
            )
        return self


class Analysis(Table):
    """When the primary metric is looked at, in days from the launch, and what must hold before it is believed."""

    look_days: tuple[Positive, ...]
    end_day: Positive
    """The last look, at the end of this day."""
    decision_days: Positive
    """After the end: analysis and decision."""
    spending: Spending
    sample_ratio_p: Annotated[float, Strict(), Field(gt=0, lt=0.5)]
    """A chi-square p below this is a sample-ratio mismatch: nothing is decided."""
    max_crossover_percent: Annotated[float, Strict(), Field(ge=0, lt=100)]
    """Enrolled users that were seen in both arms, or served what their arm is not served, within an epoch."""

    @model_validator(mode="after")
    def _looks_ascend_to_the_end(self) -> "Analysis":
        days = (*self.look_days, self.end_day)
        if any(after <= before for before, after in pairwise(days)):
            raise Mistake(
                found=f"looks on days {', '.join(map(str, self.look_days))}, the end on day {self.end_day}",
                wanted="days that ascend to the end",
                cure="order them",
            )
        return self


class Decision(Table):
    """Which findings lead to which outcome; the first that matches, in the order of the fields."""

    roll_back_when_any: Annotated[tuple[Finding, ...], Field(min_length=1)]
    deploy_when_all: Annotated[tuple[Finding, ...], Field(min_length=1)]
    iterate_when_all: Annotated[tuple[Finding, ...], Field(min_length=1)]
    otherwise: Outcome

    @model_validator(mode="after")
    def _nothing_unsafe_is_deployed(self) -> "Decision":
        safe = {Finding.SAMPLE_RATIO_HOLDS, Finding.GUARDRAILS_HEALTHY, Finding.SUCCESS}
        if missing := safe.difference(self.deploy_when_all):
            raise Mistake(
                found=f"a deployment without {', '.join(sorted(missing))}",
                wanted=f"deploy_when_all with {', '.join(sorted(safe))}",
                cure="add what is missing",
            )
        if self.otherwise is Outcome.DEPLOY:
            raise Mistake(
                found="otherwise = 'deploy'", wanted="an outcome that needs no success", cure="say keep_running"
            )
        return self
