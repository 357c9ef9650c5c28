"""Metrics, bounds, readings and times in the words of a message."""

from datetime import UTC, datetime, timedelta
from math import isinf
from typing import Final

from ra_guard.experiments.definition.measures import Alarm, Bound, Comparison, Counted, Metric, Requirement, Scale
from ra_guard.experiments.monitor.outcomes import Reading

_NAMES: Final = {
    Metric.NDCG_AT_10: "nDCG@10",
    Metric.LATENCY_P95: "latency P95",
}
_UNITS: Final = {
    Scale.POINTS: " points",
    Scale.ADDED_MS: " ms",
    Scale.PERCENT: " %",
    Scale.ADDED_PERCENTAGE_POINTS: " percentage points",
    Scale.ADDED_PERCENT: " % against control",
    Scale.ADDED_STARS: " stars",
    Scale.COUNT: "",
}
_LEVELS: Final = {Scale.PERCENT, Scale.COUNT}
"""Scales without a sign: the others say treatment less control."""


def named(word: str) -> str:
    """A word of the vocabulary as people write it."""
    return word.replace("_", " ")


def metric_name(metric: Metric) -> str:
    """A metric as people write it."""
    return _NAMES.get(metric, named(metric))


def amount(value: float, scale: Scale) -> str:
    """A value with its unit, signed where it compares the arms."""
    if isinf(value):
        return "no limit"
    sign = "" if scale in _LEVELS else "+"
    return f"{value:{sign}.4g}{_UNITS[scale]}"


def crossing(alarm: Alarm) -> str:
    """What an alarm waits for, without its windows: "error rate above 2 %"."""
    return f"{metric_name(alarm.metric)} {named(alarm.when)} {amount(alarm.bound, alarm.scale)}"


def condition(alarm: Alarm) -> str:
    """What an alarm waits for, whole: "error rate is above 2 % over 15 min, for 15 min (observed)"."""
    over = f"over {minutes(alarm.over_minutes)}" if alarm.over_minutes else "since the epoch began"
    lasting = f", for {minutes(alarm.for_minutes)}" if alarm.for_minutes else ""
    return f"{_bounded(alarm, alarm.when)} {over}{lasting} ({named(alarm.evidence)})"


def kept(requirement: Requirement) -> str:
    """What a requirement asks for: "error rate is below +1 percentage points (observed)"."""
    return f"{_bounded(requirement, requirement.must_be)} ({named(requirement.evidence)})"


def _bounded(bound: Bound, comparison: Comparison) -> str:
    return f"{metric_name(bound.metric)} is {named(comparison)} {amount(bound.bound, bound.scale)}"


def found(bound: Bound, reading: Reading) -> str:
    """What was read, with its interval, or why there is nothing."""
    if reading.value is None:
        return f"cannot be told ({reading.lack})" if reading.lack else "cannot be told"
    value = amount(reading.value, bound.scale)
    if reading.interval is None:
        return value
    low, high = (amount(limit, bound.scale) for limit in (reading.interval.low, reading.interval.high))
    return f"{value}, interval {low} to {high}"


def arms(bound: Bound, reading: Reading) -> str:
    """The arms' levels and counts; empty for what is not measured by arm."""
    if bound.measure.counted is Counted.NOTHING:
        return ""
    sides = (
        ("control", reading.control, reading.control_count),
        ("treatment", reading.treatment, reading.treatment_count),
    )
    return ", ".join(_side(arm, level, count, bound.measure.counted) for arm, level, count in sides)


def _side(arm: str, level: float | None, count: int, counted: Counted) -> str:
    shown = "" if level is None else f"{level:.4g} "
    return f"{arm} {shown}from {count:,} {counted.value}"


def minutes(number: int) -> str:
    """A span of whole minutes, in the unit that suits it."""
    return span(timedelta(minutes=number))


def span(lasted: timedelta) -> str:
    """A span in days, hours and minutes: "1 h 20 min"; below a minute, "less than a minute"."""
    whole = int(lasted.total_seconds() // 60)
    days, hours, rest = whole // 1440, whole % 1440 // 60, whole % 60
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (rest, "min")) if number]
    return " ".join(parts) or "less than a minute"


def clock(at: datetime) -> str:
    """A time as people on call in several places read it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
