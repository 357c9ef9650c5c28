"""Effects that reports show beside the primary metric's own: indicators of the plan, and the primary metric by domain.

All intervals here are anytime-valid and stand each by itself: none is adjusted for the others, and none decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.latency import quantile_ms
from ra_guard.evidence.tally import Quantity
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.analysis import Indicator
from ra_guard.experiments.definition.measures import MEASURES, Metric, Scale
from ra_guard.experiments.monitor.outcomes import Reading
from ra_guard.reports.content import Content
from ra_guard.reports.words import insufficient
from ra_guard.stats import anytime
from ra_guard.stats.effects import mean_of
from ra_guard.stats.outcome import Effect, Insufficient, Interval, Lack

_USER_MEANS: Final[Mapping[Metric, tuple[Quantity, float]]] = {
    Metric.NDCG_AT_10: (Quantity.NDCG, 100.0),
    Metric.SATISFACTION: (Quantity.RATING, 1.0),
    Metric.COMPLAINTS: (Quantity.COMPLAINTS, 1.0),
    Metric.CLICK_THROUGH_RATE: (Quantity.CLICK_THROUGH, 100.0),
    Metric.QUERY_COMPLETION_RATE: (Quantity.COMPLETION, 100.0),
    Metric.CONTENT_DISCOVERY: (Quantity.DISCOVERY, 1.0),
}
"""What is a mean over users: the quantity, and how many of the metric's units one of its own is."""


@dataclass(frozen=True)
class Indicated:
    """An indicator of the plan and what was found, on ``scale``."""

    indicator: Indicator
    scale: Scale
    reading: Reading


def indicators(content: Content) -> tuple[Indicated, ...]:
    """All of the plan's, over the epoch so far."""
    return tuple(
        _indicated(content, each) for each in content.definition.metrics.indicators if MEASURES[each.metric].scales
    )


def by_domain(content: Content) -> dict[str, Effect | Insufficient]:
    """The primary metric's effect in points in each domain, by name."""
    return {name: primary(content.definition, content.domains[name]) for name in sorted(content.domains)}


def primary(definition: Definition, contrast: Contrast) -> Effect | Insufficient:
    """The primary metric's effect in points."""
    return _between(definition, contrast, Metric.NDCG_AT_10)


def _indicated(content: Content, indicator: Indicator) -> Indicated:
    """A guardrail on the same metric and scale has read it already, and a report says one number once."""
    metric = indicator.metric
    scale = MEASURES[metric].scales[-1]
    for judged in content.assessment.guardrails:
        if judged.requirement.metric is metric and judged.requirement.scale is scale:
            return Indicated(indicator, scale, judged.reading)
    contrast = content.evidence.epoch
    if metric in _USER_MEANS:
        return Indicated(indicator, scale, _mean_reading(content.definition, contrast, metric))
    return Indicated(indicator, scale, _call_reading(contrast, metric))


def _mean_reading(definition: Definition, contrast: Contrast, metric: Metric) -> Reading:
    quantity, factor = _USER_MEANS[metric]
    control, treatment = contrast.control.means.get(quantity), contrast.treatment.means.get(quantity)
    effect = _between(definition, contrast, metric)
    known = effect if isinstance(effect, Effect) else None
    return Reading(
        value=known.estimate if known else None,
        interval=known.interval if known else None,
        control=control.means[0] * factor if control and control.n else None,
        treatment=treatment.means[0] * factor if treatment and treatment.n else None,
        control_count=control.n if control else 0,
        treatment_count=treatment.n if treatment else 0,
        lack="" if isinstance(effect, Effect) else insufficient(effect),
    )


def _between(definition: Definition, contrast: Contrast, metric: Metric) -> Effect | Insufficient:
    quantity, factor = _USER_MEANS[metric]
    if quantity not in contrast.control.means or quantity not in contrast.treatment.means:
        return Insufficient(
            Lack.TOO_FEW, "no user with a value in an arm", f"{anytime.LEAST_USERS} or more in each arm"
        )
    arms = mean_of(contrast.control.means[quantity]), mean_of(contrast.treatment.means[quantity])
    alpha = 1 - definition.metrics.primary.confidence_percent / 100
    if MEASURES[metric].scales[-1] is Scale.ADDED_PERCENT:
        return _times(anytime.lift(*arms, users_opt=definition.sample.users, alpha=alpha), 100.0)
    return _times(anytime.difference(*arms, users_opt=definition.sample.users, alpha=alpha), factor)


def _times(effect: Effect | Insufficient, factor: float) -> Effect | Insufficient:
    if isinstance(effect, Insufficient):
        return effect
    interval = Interval(effect.interval.low * factor, effect.interval.high * factor)
    return Effect(
        effect.estimate * factor, interval, effect.p_value, effect.alpha, effect.null * factor, effect.alternative
    )


def _call_reading(contrast: Contrast, metric: Metric) -> Reading:
    """Of a metric of calls that no guardrail asks for: the levels and their difference, without an interval."""
    control, treatment = (_call_level(arm, metric) for arm in (contrast.control, contrast.treatment))
    value = None if control is None or treatment is None else treatment - control
    return Reading(
        value=value,
        interval=None,
        control=control,
        treatment=treatment,
        control_count=contrast.control.calls,
        treatment_count=contrast.treatment.calls,
        lack="" if value is not None else "no calls in an arm",
    )


def _call_level(arm: ArmStatistics, metric: Metric) -> float | None:
    if metric is Metric.LATENCY_P95:
        return quantile_ms(arm.latency, 0.95)
    if metric is Metric.ERROR_RATE:
        return 100 * arm.errors / arm.calls if arm.calls else None
    return None
