"""Effects that reports show beside the primary metric's own: indicators of the plan, and the primary metric by domain.

All intervals here are anytime-valid, two-sided, at the confidence of the primary metric, and stand each by itself:
none is adjusted for the others, and none decides. A guardrail on the same metric has an interval of its own, which is
one-sided and made for its bound.
"""

from dataclasses import dataclass, replace
from typing import Final

from ra_guard.evidence.contrast import Contrast
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.analysis import Indicator
from ra_guard.experiments.definition.measures import MEASURES, Metric, Scale
from ra_guard.experiments.monitor.outcomes import Reading
from ra_guard.experiments.monitor.primary import alpha_of, primary_effect
from ra_guard.experiments.monitor.reading import MEANS, P95, Times, errors_among_calls
from ra_guard.reports.content import Content
from ra_guard.reports.words import insufficient
from ra_guard.stats import anytime, proportions, quantile_tests
from ra_guard.stats.effects import mean_of
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Effect, Insufficient, Interval

_PERCENT: Final = 100.0


@dataclass(frozen=True)
class Indicated:
    """An indicator of the plan and what was found, treatment against control on ``scale``."""

    indicator: Indicator
    scale: Scale
    reading: Reading


def indicators(content: Content) -> tuple[Indicated, ...]:
    """All of the plan's, over the epoch so far."""
    return tuple(
        Indicated(each, MEASURES[each.metric].scales[-1], _reading(content, each.metric))
        for each in content.definition.metrics.indicators
    )


def by_domain(content: Content) -> dict[str, Effect | Insufficient]:
    """The primary metric's effect in points in each domain, by name."""
    return {name: primary_effect(content.definition, content.domains[name]) for name in sorted(content.domains)}


def _reading(content: Content, metric: Metric) -> Reading:
    epoch, plan = content.evidence.epoch, content.definition
    if any(arm.has_broken_calls for arm in (epoch.control, epoch.treatment)):
        return replace(_nothing("counts that went below zero"), is_broken=True)
    match metric:
        case Metric.LATENCY_P95:
            return _latency(plan, epoch)
        case Metric.ERROR_RATE:
            return _errors(plan, epoch)
        case _ if metric in MEANS:
            return _mean(plan, epoch, metric)
    return _nothing("it is not measured by arm")


def _mean(plan: Definition, epoch: Contrast, metric: Metric) -> Reading:
    quantity, unit = MEANS[metric].quantity, MEANS[metric].unit
    if any(quantity in arm.broken for arm in (epoch.control, epoch.treatment)):
        return replace(_nothing(f"{quantity.name.lower()} that cannot be"), is_broken=True)
    moments = [arm.means.get(quantity, Moments.empty(1)) for arm in (epoch.control, epoch.treatment)]
    is_relative = MEASURES[metric].scales[-1] is Scale.ADDED_PERCENT
    compare = anytime.lift if is_relative else anytime.difference
    effect = compare(*map(mean_of, moments), users_opt=plan.sample.users, alpha=alpha_of(plan))
    levels = [each.means[0] * unit if each.n else None for each in moments]
    return _of(effect, _PERCENT if is_relative else unit, levels, [each.n for each in moments])


def _errors(plan: Definition, epoch: Contrast) -> Reading:
    arms = epoch.control, epoch.treatment
    control, treatment = map(errors_among_calls, arms)
    opt = plan.sample.users_per_arm
    effect = proportions.difference(control, treatment, trials_opt=opt, alpha=alpha_of(plan))
    levels = [_PERCENT * arm.errors / arm.calls if arm.calls else None for arm in arms]
    return _of(effect, _PERCENT, levels, [arm.calls for arm in arms])


def _latency(plan: Definition, epoch: Contrast) -> Reading:
    arms = epoch.control, epoch.treatment
    times = [Times(arm.latency) for arm in arms]
    samples = (each.sample(arm.latency_design_effect) for each, arm in zip(times, arms, strict=True))
    opt = plan.sample.users_per_arm
    effect = quantile_tests.difference(*samples, quantile=P95, requests_opt=opt, alpha=alpha_of(plan))
    return _of(effect, 1.0, [each.p95 for each in times], [each.calls for each in times])


def _of(effect: Effect | Insufficient, unit: float, levels: list[float | None], counts: list[int]) -> Reading:
    (control, treatment), (control_count, treatment_count) = levels, counts
    seen = Reading(None, None, control, treatment, control_count, treatment_count)
    if isinstance(effect, Insufficient):
        return replace(seen, lack=insufficient(effect))
    interval = Interval(effect.interval.low * unit, effect.interval.high * unit)
    return replace(seen, value=effect.estimate * unit, interval=interval)


def _nothing(why: str) -> Reading:
    return Reading(None, None, None, None, 0, 0, lack=why)
