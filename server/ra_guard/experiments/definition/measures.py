"""Metrics and bounds: what can be measured, which bounds make sense for it, and what it takes to cross one.

A bound carries its unit, and whether it is a level or a comparison of arms, in the field's name. `MEASURES` says which
of these fit a metric, which direction is good, and what a minimum count counts; a table that asks for
anything else is refused, so that no gate, trigger or alert can be written that never fires or always does.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Annotated

from pydantic import Field, Strict, model_validator

from ra_guard.experiments.definition.table import Count, Mistake, Positive, Table


class Metric(StrEnum):
    """What is measured. Arms are the assigned ones; a value of a user is the mean over the user's requests."""

    NDCG_AT_10 = "ndcg_at_10"
    """nDCG of the ten results served on top: linear gain, log2 discount, the ideal order over all judged candidates
    of the request. A request with none relevant is left out and counted. Mean over users, times 100."""
    LATENCY_P95 = "latency_p95"
    """95th percentile of the time from a Rerank request to its answer, as the server sees it."""
    ERROR_RATE = "error_rate"
    """Share of Rerank calls that end in an error that is not the caller's, or in the baseline in place of what the
    arm is served because of a deadline, overload or an internal cause."""
    CRITICAL_ERRORS = "critical_errors"
    """Answers INTERNAL or DATA_LOSS, workers that crashed, and generations refused as damaged."""
    SATISFACTION = "satisfaction"
    """Mean of the ratings of 1..5 stars that users gave. Mean over users who rated."""
    COMPLAINTS = "complaints"
    """Complaints for each enrolled user."""
    CLICK_THROUGH_RATE = "click_through_rate"
    """Share of requests with at least one click. Mean over users."""
    QUERY_COMPLETION_RATE = "query_completion_rate"
    """Share of requests whose user did not ask again within five minutes, or clicked before. Mean over users."""
    CONTENT_DISCOVERY = "content_discovery"
    """Different images that a user clicked. Mean over users."""
    STATISTICAL_POWER = "statistical_power"
    """Chance of success at the planned end if the effect is the expected one, from the enrolment and spread so far."""
    HEALTH_CHECK_FAILURES = "health_check_failures"
    """Replicas whose health check says that they do not serve."""
    GUARDRAILS_UNHEALTHY = "guardrails_unhealthy"
    """Guardrails that do not hold, or of which it cannot be told."""


class Scale(StrEnum):
    """What the number of a bound is; also the end of the field's name. "Added" is treatment less control."""

    POINTS = "points"
    """Added points of nDCG times 100."""
    ADDED_MS = "added_ms"
    PERCENT = "percent"
    """The level itself: in treatment, or of the experiment."""
    ADDED_PERCENTAGE_POINTS = "added_percentage_points"
    """1 % in control and 2 % in treatment are 1 added percentage point."""
    ADDED_PERCENT = "added_percent"
    """Relative to control: 1 % in control and 2 % in treatment are 100 added percent."""
    ADDED_STARS = "added_stars"
    COUNT = "count"


class Better(Enum):
    """Which direction is good."""

    HIGHER = "higher"
    LOWER = "lower"


class Counted(Enum):
    """What a minimum count counts."""

    REQUESTS = "requests"
    USERS = "users"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Measure:
    """What may be asked of a metric."""

    better: Better
    scales: tuple[Scale, ...]
    counted: Counted


MEASURES = {
    Metric.NDCG_AT_10: Measure(Better.HIGHER, (Scale.POINTS,), Counted.USERS),
    Metric.LATENCY_P95: Measure(Better.LOWER, (Scale.ADDED_MS,), Counted.REQUESTS),
    Metric.ERROR_RATE: Measure(Better.LOWER, (Scale.PERCENT, Scale.ADDED_PERCENTAGE_POINTS), Counted.REQUESTS),
    Metric.CRITICAL_ERRORS: Measure(Better.LOWER, (Scale.COUNT,), Counted.NOTHING),
    Metric.SATISFACTION: Measure(Better.HIGHER, (Scale.ADDED_STARS,), Counted.USERS),
    Metric.COMPLAINTS: Measure(Better.LOWER, (Scale.ADDED_PERCENT,), Counted.USERS),
    Metric.CLICK_THROUGH_RATE: Measure(Better.HIGHER, (Scale.ADDED_PERCENTAGE_POINTS,), Counted.USERS),
    Metric.QUERY_COMPLETION_RATE: Measure(Better.HIGHER, (Scale.ADDED_PERCENTAGE_POINTS,), Counted.USERS),
    Metric.CONTENT_DISCOVERY: Measure(Better.HIGHER, (Scale.ADDED_PERCENT,), Counted.USERS),
    Metric.STATISTICAL_POWER: Measure(Better.HIGHER, (Scale.PERCENT,), Counted.NOTHING),
    Metric.HEALTH_CHECK_FAILURES: Measure(Better.LOWER, (Scale.COUNT,), Counted.NOTHING),
    Metric.GUARDRAILS_UNHEALTHY: Measure(Better.LOWER, (Scale.COUNT,), Counted.NOTHING),
}


class Comparison(StrEnum):
    """How a value stands to a bound."""

    ABOVE = "above"
    BELOW = "below"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"

    @property
    def towards(self) -> Better:
        """The direction in which it holds."""
        return Better.HIGHER if self in {Comparison.ABOVE, Comparison.AT_LEAST} else Better.LOWER


class Evidence(StrEnum):
    """What decides whether a comparison holds. Intervals are anytime-valid, at the confidence of the primary metric."""

    OBSERVED = "observed"
    """The value itself. Chance crosses bounds too: how often is what the minimum count settles."""
    PROVEN = "proven"
    """The whole interval lies on that side of the bound."""
    NOT_REFUTED = "not_refuted"
    """It holds until the whole interval lies on the other side."""


class Bound(Table):
    """A metric and one bound for it, in a unit that fits the metric."""

    metric: Metric
    evidence: Evidence
    bound_points: Annotated[float, Strict(), Field(ge=-100, le=100)] | None = None
    bound_added_ms: Annotated[float, Strict(), Field(ge=0, le=60_000)] | None = None
    bound_percent: Annotated[float, Strict(), Field(ge=0, le=100)] | None = None
    bound_added_percentage_points: Annotated[float, Strict(), Field(ge=-100, le=100)] | None = None
    bound_added_percent: Annotated[float, Strict(), Field(ge=-100, le=10_000)] | None = None
    bound_added_stars: Annotated[float, Strict(), Field(ge=-4, le=4)] | None = None
    bound_count: Count | None = None
    min_requests: Positive | None = None
    """In each arm that is looked at: with fewer there is no value, and a value that is missing passes nothing."""
    min_users: Positive | None = None
    """As ``min_requests``, for what is a mean over users."""

    @property
    def measure(self) -> Measure:
        """What may be asked of the metric."""
        return MEASURES[self.metric]

    @property
    def scale(self) -> Scale:
        """The unit of the bound."""
        return next(scale for scale in Scale if getattr(self, f"bound_{scale}") is not None)

    @property
    def bound(self) -> float:
        """The number of the bound, on its scale."""
        return float(getattr(self, f"bound_{self.scale}"))

    @property
    def min_count(self) -> int:
        """The least number of what the metric counts; 0 where it counts nothing."""
        return self.min_requests or self.min_users or 0

    @model_validator(mode="after")
    def _unit_fits_the_metric(self) -> "Bound":
        given = [scale for scale in Scale if getattr(self, f"bound_{scale}") is not None]
        if len(given) != 1 or given[0] not in self.measure.scales:
            raise Mistake(
                found=f"{self.metric} with {' and '.join(f'bound_{scale}' for scale in given) or 'no bound'}",
                wanted=" or ".join(f"bound_{scale}" for scale in self.measure.scales),
                cure="give that one",
            )
        return self

    @model_validator(mode="after")
    def _evidence_fits_the_metric(self) -> "Bound":
        if self.measure.counted is Counted.NOTHING and self.evidence is not Evidence.OBSERVED:
            raise Mistake(
                found=f"{self.metric} with evidence = '{self.evidence}'",
                wanted="evidence = 'observed'",
                cure="it has no interval",
            )
        return self

    @model_validator(mode="after")
    def _count_fits_the_metric(self) -> "Bound":
        given = [word for word in ("min_requests", "min_users") if getattr(self, word) is not None]
        wanted = [] if self.measure.counted is Counted.NOTHING else [f"min_{self.measure.counted.value}"]
        if given != wanted:
            raise Mistake(
                found=f"{self.metric} with {' and '.join(given) or 'no minimum count'}",
                wanted=wanted[0] if wanted else "no minimum count",
                cure="say how few are too few to judge" if wanted else "leave it out",
            )
        return self


class Requirement(Bound):
    """A bound that is to be kept: ``must_be`` points where the metric is good."""

    must_be: Comparison

    @model_validator(mode="after")
    def _towards_good(self) -> "Requirement":
        if self.must_be.towards is not self.measure.better:
            raise Mistake(
                found=f"{self.metric} must_be = '{self.must_be}'",
                wanted=f"a bound that keeps it {self.measure.better.value}",
                cure="turn the comparison round",
            )
        return self


class Alarm(Bound):
    """A bound that is not to be crossed: ``when`` points where the metric is bad.

    A reading is taken every minute. The alarm fires when each reading of the last ``for_minutes`` crosses the bound;
    a reading that does not resets it.
    """

    when: Comparison
    over_minutes: Positive | None = None
    """How far back a reading looks; absent: to the start of the epoch."""
    for_minutes: Annotated[int, Strict(), Field(ge=0, le=7 * 24 * 60)]
    """0: the first reading that crosses the bound is enough."""
    coverage_percent: Annotated[float, Strict(), Field(gt=0, le=100)] | None = None
    """Share of the minutes of ``for_minutes`` that must have a reading; with fewer it cannot be told."""

    @model_validator(mode="after")
    def _towards_bad(self) -> "Alarm":
        if self.when.towards is self.measure.better:
            raise Mistake(
                found=f"{self.metric} when = '{self.when}'",
                wanted=f"a bound that it crosses by being less {self.measure.better.value}",
                cure="turn the comparison round",
            )
        if self.evidence is Evidence.NOT_REFUTED:
            raise Mistake(
                found="evidence = 'not_refuted' of an alarm",
                wanted="observed or proven",
                cure="an alarm needs something that speaks for it",
            )
        return self

    @model_validator(mode="after")
    def _coverage_of_a_span(self) -> "Alarm":
        if (self.coverage_percent is None) is not (self.for_minutes == 0):
            raise Mistake(
                found=f"for_minutes = {self.for_minutes} {'without' if self.for_minutes else 'with'} coverage_percent",
                wanted="coverage_percent where for_minutes is above 0, and only there",
                cure="say which share of the readings must be there" if self.for_minutes else "leave it out",
            )
        return self
