"""How a definition is read aloud: metrics, bounds, spans of time.

One wording for packages, reports, alerts and the ledger.
"""

from collections.abc import Mapping
from typing import Final

from ra_guard.experiments.definition.measures import (
    Alarm,
    Bound,
    Comparison,
    Counted,
    Evidence,
    Metric,
    Requirement,
    Scale,
)

NAMES: Final[Mapping[Metric, str]] = {
    Metric.NDCG_AT_10: "nDCG@10",
    Metric.LATENCY_P95: "latency P95",
    Metric.ERROR_RATE: "error rate",
    Metric.CRITICAL_ERRORS: "critical errors",
    Metric.SATISFACTION: "satisfaction",
    Metric.COMPLAINTS: "complaints",
    Metric.CLICK_THROUGH_RATE: "click-through rate",
    Metric.QUERY_COMPLETION_RATE: "query completion rate",
    Metric.CONTENT_DISCOVERY: "content discovery",
    Metric.STATISTICAL_POWER: "statistical power",
    Metric.HEALTH_CHECK_FAILURES: "health check failures",
    Metric.GUARDRAILS_UNHEALTHY: "unhealthy guardrails",
}
_COMPARISONS: Final[Mapping[Comparison, str]] = {
    Comparison.ABOVE: "above",
    Comparison.BELOW: "below",
    Comparison.AT_LEAST: "at least",
    Comparison.AT_MOST: "at most",
}
_EVIDENCE: Final[Mapping[Evidence, str]] = {
    Evidence.OBSERVED: "as observed",
    Evidence.PROVEN: "proven by the whole interval",
    Evidence.NOT_REFUTED: "not refuted by the interval",
}
_ADDED: Final[Mapping[Scale, tuple[str, str]]] = {
    Scale.POINTS: ("point", "points"),
    Scale.ADDED_MS: ("ms", "ms"),
    Scale.ADDED_PERCENTAGE_POINTS: ("percentage point", "percentage points"),
    Scale.ADDED_PERCENT: ("%", "%"),
    Scale.ADDED_STARS: ("star", "stars"),
}
"""Units of what treatment has more than control, for one and for several."""


def in_words(bound: Requirement | Alarm) -> str:
    """A bound in a few words: ``error rate in treatment above 2 % for 15 minutes``, ``nDCG@10 above control``.

    What it takes to cross it is said by `evidence_in_words`.
    """
    side = _COMPARISONS[bound.must_be if isinstance(bound, Requirement) else bound.when]
    lasting = f" for {span(bound.for_minutes)}" if isinstance(bound, Alarm) and bound.for_minutes else ""
    return f"{_subject(bound)} {side} {_limit(bound)}{lasting}"


def evidence_in_words(bound: Requirement | Alarm) -> str:
    """What decides: ``as observed over the last 15 minutes, from 100 requests in treatment``, and how many readings."""
    said = [_EVIDENCE[bound.evidence]]
    if isinstance(bound, Alarm):
        said[0] += (
            " in the epoch so far" if bound.over_minutes is None else f" over the last {_last(bound.over_minutes)}"
        )
    if bound.measure.counted is not Counted.NOTHING:
        where = "in each arm" if bound.scale in _ADDED else "in treatment"
        said.append(f"from {bound.min_count:,} {bound.measure.counted.value} {where}")
    if isinstance(bound, Alarm) and bound.coverage_percent is not None:
        said.append(f"with {bound.coverage_percent:g} % of the readings")
    return ", ".join(said)


def span(minutes: int) -> str:
    """Minutes, or hours where they are whole."""
    count, unit = (minutes // 60, "hour") if minutes and minutes % 60 == 0 else (minutes, "minute")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def spoken(word: str) -> str:
    """A word of the vocabulary as people write it."""
    return word.replace("_", " ")


def _last(minutes: int) -> str:
    return "minute" if minutes == 1 else span(minutes)


def _subject(bound: Bound) -> str:
    is_of_an_arm = bound.scale is Scale.PERCENT and bound.measure.counted is not Counted.NOTHING
    return f"{NAMES[bound.metric]} in treatment" if is_of_an_arm else NAMES[bound.metric]


def _limit(bound: Bound) -> str:
    if bound.scale not in _ADDED:
        return f"{bound.bound:g} %" if bound.scale is Scale.PERCENT else f"{bound.bound:g}"
    if bound.bound == 0:
        return "control"
    unit = _ADDED[bound.scale][abs(bound.bound) != 1]
    return f"control {'+' if bound.bound > 0 else '-'} {abs(bound.bound):g} {unit}"
