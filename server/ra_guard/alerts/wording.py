"""Readings and times in the words of a message. Metrics and bounds are worded by `definition.words`, for everyone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from ra_guard.experiments.definition.measures import Alarm, Bound, Counted
from ra_guard.experiments.definition.vocabulary import Action
from ra_guard.experiments.definition.words import evidence_in_words, in_words
from ra_guard.experiments.monitor.outcomes import Reading
from ra_guard.experiments.monitor.words import amount, interval, level

BREACHES: Final[Mapping[Action, str]] = {
    Action.ROLL_BACK: "rolls it back by itself",
    Action.INVESTIGATE: "holds the ramp",
    Action.ANALYSE: "holds the decision",
}
"""What a guardrail that is not kept does to the experiment."""


def condition(alarm: Alarm) -> str:
    """A bound and what decides: "error rate in treatment above 2 % (as observed over the last 5 minutes, ...)"."""
    return f"{in_words(alarm)} ({evidence_in_words(alarm)})"


def found(bound: Bound, reading: Reading) -> str:
    """What was read, with its interval, or why there is nothing."""
    if reading.value is None:
        return f"cannot be told ({reading.lack})" if reading.lack else "cannot be told"
    value = amount(reading.value, bound.scale)
    return value if reading.interval is None else f"{value}, interval {interval(reading.interval, bound.scale)}"


def arms(bound: Bound, reading: Reading) -> str:
    """The arms' levels and counts; empty for what is not measured by arm."""
    if bound.measure.counted is Counted.NOTHING:
        return ""
    sides = (
        ("control", reading.control, reading.control_count),
        ("treatment", reading.treatment, reading.treatment_count),
    )
    return ", ".join(_side(bound, *side) for side in sides)


def _side(bound: Bound, arm: str, found: float | None, count: int) -> str:
    shown = "" if found is None else f"{level(bound.metric, found)} "
    return f"{arm} {shown}from {count:,} {bound.measure.counted.value}"


def lasted(time: timedelta) -> str:
    """A span of time: "1 h 20 min"; below a minute, "less than a minute"."""
    whole = int(time.total_seconds() // 60)
    days, hours, rest = whole // 1440, whole % 1440 // 60, whole % 60
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (rest, "min")) if number]
    return " ".join(parts) or "less than a minute"


def clock(at: datetime) -> str:
    """A time as people on call in several places read it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
