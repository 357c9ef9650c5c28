"""What a bound's metric is, on the bound's scale, from a window of evidence. Total: every metric, every scale.

Intervals are anytime-valid, at the confidence of the primary metric, one-sided, and made only where they can change
the answer. What they are tightest at is fixed before the data: means of users at the planned users of both arms
(``sample.users``), rates and percentiles at the bound's own minimum count, from which on it is judged. Calls of one
user are alike: an interval takes them for as many independent ones as they are worth; minimum counts are of calls.

There is no value, rather than a number, below the minimum count in an arm that is looked at; where both arms are
constant, so that nothing says how far chance could have moved them; and of evidence that cannot be true.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ra_guard.evidence.contrast import ArmStatistics, Contrast, Vitals
from ra_guard.evidence.latency import upper_ms
from ra_guard.evidence.tally import Quantity
from ra_guard.experiments.definition.measures import Bound, Metric, Scale
from ra_guard.experiments.monitor.outcomes import Reading
from ra_guard.experiments.monitor.primary import NOBODY
from ra_guard.experiments.monitor.question import Asked, Question
from ra_guard.stats import anytime, effects, proportions, quantile_tests
from ra_guard.stats.outcome import Effect, Insufficient, Interval

PERCENT: Final = 100.0
P95: Final = 0.95

Histogram = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mean:
    """A metric that is a mean over users."""

    quantity: Quantity
    unit: float
    """What 1 of the quantity is in the metric's unit."""


MEANS: Final[Mapping[Metric, Mean]] = {
    Metric.NDCG_AT_10: Mean(Quantity.NDCG, 100.0),
    Metric.SATISFACTION: Mean(Quantity.RATING, 1.0),
    Metric.COMPLAINTS: Mean(Quantity.COMPLAINTS, 1.0),
    Metric.CLICK_THROUGH_RATE: Mean(Quantity.CLICK_THROUGH, PERCENT),
    Metric.QUERY_COMPLETION_RATE: Mean(Quantity.COMPLETION, PERCENT),
    Metric.CONTENT_DISCOVERY: Mean(Quantity.DISCOVERY, 1.0),
}


@dataclass(frozen=True)
class Beside:
    """What readings need beside the window; the same for all bounds of one minute."""

    alpha: float
    """1 less the confidence of the primary metric."""
    users_opt: int
    """Planned users, both arms together."""
    vitals: Vitals | None = None
    """None: nothing was heard of the replicas."""
    critical_errors: int | None = None
    """In the window; None where it is not known."""
    power: float | str | None = None
    """Percent, or why it cannot be told; None where nobody asked."""
    guardrails_unhealthy: int | None = None
    """None where nobody asked."""


def read(bound: Bound, contrast: Contrast, beside: Beside) -> Reading:
    """The reading of a requirement or an alarm."""
    if not isinstance(bound, Asked):
        raise TypeError(f"found {type(bound).__name__}, wanted a requirement or an alarm, which say on which side")
    return answer(Question.of(bound), contrast, beside)


def answer(question: Question, contrast: Contrast, beside: Beside) -> Reading:
    """The same, of a question that was made before."""
    match question.metric:
        case Metric.LATENCY_P95:
            return _latency(question, contrast, beside)
        case Metric.ERROR_RATE:
            return _errors(question, contrast, beside)
        case Metric.CRITICAL_ERRORS:
            return _critical_errors(beside)
        case Metric.HEALTH_CHECK_FAILURES:
            return _health(beside)
        case Metric.STATISTICAL_POWER:
            power = "nobody asked for it" if beside.power is None else beside.power
            return lacking(power) if isinstance(power, str) else of_experiment(power)
        case Metric.GUARDRAILS_UNHEALTHY:
            unhealthy = beside.guardrails_unhealthy
            return lacking("guardrails that were not judged") if unhealthy is None else of_experiment(unhealthy)
        case _:
            return _mean(question, contrast, beside)


def lacking(why: str) -> Reading:
    """Nothing to be read of something that is not measured by arm."""
    return Reading(None, None, None, None, 0, 0, lack=why)


def of_experiment(value: float) -> Reading:
    """Something that is not measured by arm."""
    return Reading(float(value), None, None, None, 0, 0)


# Means over users


def _mean(question: Question, contrast: Contrast, beside: Beside) -> Reading:
    metric = MEANS[question.metric]
    control, treatment = contrast.control, contrast.treatment
    if any(arm.has_broken_calls or metric.quantity in arm.broken for arm in (control, treatment)):
        return _broken(f"{metric.quantity.name.lower()} below zero, or more than there can be, for a user")
    moments = tuple(arm.means.get(metric.quantity, NOBODY) for arm in (control, treatment))
    levels = tuple(each.means[0] * metric.unit if each.n else None for each in moments)
    seen = _Seen(levels[0], levels[1], moments[0].n, moments[1].n)
    if min(seen.counts) < question.min_count:
        return seen.too_few(question.min_count, "users")
    arms = effects.mean_of(moments[0]), effects.mean_of(moments[1])
    value = _difference_of_means(question, arms, metric.unit)
    if isinstance(value, Insufficient):
        return seen.without(value)
    alternative = question.needs(value)
    if alternative is None:
        return seen.reading(value)
    compare = anytime.lift if question.scale is Scale.ADDED_PERCENT else anytime.difference
    effect = compare(*arms, users_opt=beside.users_opt, alpha=beside.alpha, alternative=alternative)
    return seen.reading(value, effect, PERCENT if question.scale is Scale.ADDED_PERCENT else metric.unit)


def _difference_of_means(
    question: Question, arms: tuple[effects.Arm, effects.Arm], unit: float
) -> float | Insufficient:
    control, treatment = arms
    if isinstance(control, Insufficient):
        return control
    if isinstance(treatment, Insufficient):
        return treatment
    if control.variance == 0 and treatment.variance == 0:
        return effects.no_variance((control, treatment))
    if question.scale is not Scale.ADDED_PERCENT:
        return (treatment.value - control.value) * unit
    relative = effects.relative_estimate(control, treatment)
    return relative if isinstance(relative, Insufficient) else relative.value * PERCENT


# Calls


def _errors(question: Question, contrast: Contrast, beside: Beside) -> Reading:
    control, treatment = contrast.control, contrast.treatment
    is_level = question.scale is Scale.PERCENT
    looked_at = (treatment,) if is_level else (control, treatment)
    if any(arm.has_broken_calls for arm in looked_at):
        return _broken("calls or errors below zero, or more errors than calls")
    seen = _Seen(_error_percent(control), _error_percent(treatment), control.calls, treatment.calls)
    if min(arm.calls for arm in looked_at) < max(question.min_count, 1):
        return seen.too_few(question.min_count, "requests")
    value = PERCENT * treatment.errors / treatment.calls
    if not is_level:
        value -= PERCENT * control.errors / control.calls
    alternative = question.needs(value)
    if alternative is None:
        return seen.reading(value)
    most = max(question.min_count, 1)
    if is_level:
        interval = proportions.rate_interval(errors_among_calls(treatment), trials_opt=most, alpha=beside.alpha)
        return seen.reading(value, interval, PERCENT)
    effect = proportions.difference(
        errors_among_calls(control),
        errors_among_calls(treatment),
        trials_opt=most,
        alpha=beside.alpha,
        alternative=alternative,
    )
    return seen.reading(value, effect, PERCENT)


def errors_among_calls(arm: ArmStatistics) -> proportions.Trials:
    """For a test of rates."""
    return proportions.Trials(arm.errors, arm.calls, design_effect=arm.error_design_effect)


def _error_percent(arm: ArmStatistics) -> float | None:
    return None if arm.has_broken_calls or not arm.calls else PERCENT * arm.errors / arm.calls


def _latency(question: Question, contrast: Contrast, beside: Beside) -> Reading:
    control, treatment = contrast.control, contrast.treatment
    if control.has_broken_calls or treatment.has_broken_calls:
        return _broken("calls below zero")
    before, after = Times(control.latency), Times(treatment.latency)
    seen = _Seen(before.p95, after.p95, before.calls, after.calls)
    if before.p95 is None or after.p95 is None or min(seen.counts) < question.min_count:
        return seen.too_few(question.min_count, "requests with a known time")
    if before.is_constant and after.is_constant:
        return seen.nothing(f"every call took {before.p95:g} ms, or every one {after.p95:g} ms")
    value = after.p95 - before.p95
    alternative = question.needs(value)
    if alternative is None:
        return seen.reading(value)
    effect = quantile_tests.difference(
        before.sample(control.latency_design_effect),
        after.sample(treatment.latency_design_effect),
        quantile=P95,
        requests_opt=max(question.min_count, 1),
        alpha=beside.alpha,
        alternative=alternative,
    )
    return seen.reading(value, effect)


class Times:
    """The times to answer of one arm, where they are known: a time of 0 stands for one that was not recorded.

    ``latency`` is an arm's histogram, ``(BUCKETS,)``. ``p95`` is in milliseconds, None without calls.
    """

    def __init__(self, latency: Histogram) -> None:
        self._counts = latency[1:]
        cumulative = np.cumsum(self._counts)
        self.calls = int(cumulative[-1])
        rank = max(1, int(np.ceil(P95 * self.calls)))
        at = int(np.searchsorted(cumulative, rank))
        self.p95 = float(upper_ms()[1 + at]) if self.calls else None
        self.is_constant = bool(self.calls) and int(self._counts[at]) == self.calls

    def sample(self, design_effect: float) -> quantile_tests.Sample:
        """For a test of quantiles."""
        return quantile_tests.sample_of_histogram(upper_ms()[1:], self._counts, design_effect=design_effect)


# Replicas


def _critical_errors(beside: Beside) -> Reading:
    if beside.vitals is None or beside.critical_errors is None:
        return lacking("nothing was heard of the replicas")
    if not beside.vitals.replicas:
        return lacking("no replica that could tell")
    if beside.critical_errors < 0:
        return _broken(f"{beside.critical_errors} critical errors")
    return of_experiment(beside.critical_errors)


def _health(beside: Beside) -> Reading:
    if beside.vitals is None:
        return lacking("nothing was heard of the replicas")
    replicas, failing = beside.vitals.replicas, beside.vitals.failing
    if not 0 <= failing <= replicas:
        return _broken(f"{failing} of {replicas} replicas failing")
    # None that fails is not health where there is none at all.
    return of_experiment(failing) if replicas else _broken("no replica is there")


# Readings


@dataclass(frozen=True)
class _Seen:
    """The arms behind a reading."""

    control: float | None
    treatment: float | None
    control_count: int
    treatment_count: int

    @property
    def counts(self) -> tuple[int, int]:
        return self.control_count, self.treatment_count

    def reading(
        self, value: float, effect: Effect | Interval | Insufficient | None = None, unit: float = 1.0
    ) -> Reading:
        """A value, and the interval of an effect in ``unit``."""
        lack = f"{effect.found}, wanted {effect.wanted}" if isinstance(effect, Insufficient) else ""
        interval = effect.interval if isinstance(effect, Effect) else effect
        interval = Interval(interval.low * unit, interval.high * unit) if isinstance(interval, Interval) else None
        return Reading(value, interval, self.control, self.treatment, *self.counts, lack=lack)

    def nothing(self, why: str) -> Reading:
        """No value, and why."""
        return Reading(None, None, self.control, self.treatment, *self.counts, lack=why)

    def too_few(self, least: int, what: str) -> Reading:
        """Fewer than the bound asks for."""
        return self.nothing(
            f"{self.control_count} {what} in control and {self.treatment_count} in treatment, wanted {least} or more"
        )

    def without(self, lack: Insufficient) -> Reading:
        """The statistics cannot say."""
        return self.nothing(f"{lack.lack}: {lack.found}, wanted {lack.wanted}")


def _broken(what: str) -> Reading:
    return Reading(None, None, None, None, 0, 0, lack=what, is_broken=True)
