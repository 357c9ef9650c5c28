"""How bounds and readings are said, in their units: for the ledger and for people.

What is rounded in words stands whole among the numbers beside them.
"""

import math
from collections.abc import Container, Mapping, Sequence
from typing import Final

from ra_guard.experiments.definition.measures import Bound, Counted, Evidence, Metric, Scale
from ra_guard.experiments.definition.words import in_words, spoken
from ra_guard.experiments.model import MAX_WHY_BYTES
from ra_guard.experiments.monitor.outcomes import Judged, Reading, Watched
from ra_guard.stats.outcome import Interval

_SCALES: Final[Mapping[Scale, tuple[str, str]]] = {
    Scale.POINTS: ("{:+z.2f}", " points"),
    Scale.ADDED_MS: ("{:+z.0f}", " ms"),
    Scale.PERCENT: ("{:.2f}", " %"),
    Scale.ADDED_PERCENTAGE_POINTS: ("{:+z.2f}", " percentage points"),
    Scale.ADDED_PERCENT: ("{:+z.1f}", " %"),
    Scale.ADDED_STARS: ("{:+z.2f}", " stars"),
    Scale.COUNT: ("{:.0f}", ""),
}
"""Of a value on each scale: the figure, with a sign where it is a difference of arms, and the unit."""

_LEVELS: Final[Mapping[Metric, str]] = {
    Metric.NDCG_AT_10: "{:.2f} points",
    Metric.LATENCY_P95: "{:.0f} ms",
    Metric.ERROR_RATE: "{:.2f} %",
    Metric.SATISFACTION: "{:.2f} stars",
    Metric.COMPLAINTS: "{:.4f} a user",
    Metric.CLICK_THROUGH_RATE: "{:.2f} %",
    Metric.QUERY_COMPLETION_RATE: "{:.2f} %",
    Metric.CONTENT_DISCOVERY: "{:.2f} images",
}
"""Of an arm's value, in the metric's unit."""

_COUNTED: Final[Mapping[Counted, str]] = {Counted.REQUESTS: "calls", Counted.USERS: "users", Counted.NOTHING: ""}


def amount(value: float, scale: Scale) -> str:
    """A value on a scale: ``+231 ms``."""
    figure, unit = _SCALES[scale]
    return figure.format(value) + unit


def limit(bound: Bound) -> str:
    """The number of a bound, as the definition has it: ``+2.97 points``."""
    figure, unit = _SCALES[bound.scale]
    return f"{bound.bound:{'+' if '+' in figure else ''}g}{unit}"


def interval(found: Interval, scale: Scale) -> str:
    """``+2.02 to +6.18``, ``up to +82`` where nothing bounds it below; the unit stands with the value."""
    low, high = (_SCALES[scale][0].format(end) for end in (found.low, found.high))
    if math.isinf(found.low):
        return "unbounded" if math.isinf(found.high) else f"up to {high}"
    return f"from {low}" if math.isinf(found.high) else f"{low} to {high}"


def now(bound: Bound, reading: Reading) -> str:
    """``now 3.10 % of 1,240 calls (control 0.40 % of 1,251)``, or why there is no value."""
    if reading.value is None:
        return f"no value: {reading.lack or 'unknown'}"
    said, beside = f"now {amount(reading.value, bound.scale)}", []
    if reading.interval is not None and bound.evidence is not Evidence.OBSERVED:
        beside.append(f"interval {interval(reading.interval, bound.scale)}")
    if reading.treatment is not None:
        of_treatment = f" of {reading.treatment_count:,} {_COUNTED[bound.measure.counted]}"
        if bound.scale is Scale.PERCENT:
            said += of_treatment
        else:
            beside.append(f"treatment {level(bound.metric, reading.treatment)}{of_treatment}")
    if reading.control is not None:
        beside.append(f"control {level(bound.metric, reading.control)} of {reading.control_count:,}")
    return f"{said} ({', '.join(beside)})" if beside else said


def required(judged: Judged) -> str:
    """``latency P95 below control + 100 ms, proven; now +31 ms (...)``."""
    asked = judged.requirement
    strength = "" if asked.evidence is Evidence.OBSERVED else f", {spoken(asked.evidence)}"
    return f"{in_words(asked)}{strength}; {now(asked, judged.reading)}"


def fired(watched: Watched) -> str:
    """``error_rate: above 2 % in treatment for 15 min; now 3.10 % of 1,240 calls (control 0.40 % of 1,251)``."""
    alarm = watched.alarm
    said = f"{alarm.metric}: {spoken(alarm.when)} {limit(alarm)}"
    if alarm.scale is Scale.PERCENT and alarm.measure.counted is not Counted.NOTHING:
        said += " in treatment"
    if alarm.evidence is not Evidence.OBSERVED:
        said += f", {spoken(alarm.evidence)},"
    if alarm.for_minutes:
        said += f" for {alarm.for_minutes} min"
    said = f"{said}; {now(alarm, watched.reading)}"
    return f"{said}; both arms fail: shared cause" if watched.has_shared_cause else said


def figures(name: str, bound: Bound, reading: Reading) -> dict[str, float]:
    """Every number of a reading under names that begin with ``name``; what does not exist is left out."""
    between = reading.interval
    numbers = {
        name: reading.value,
        f"{name}_bound": bound.bound,
        f"{name}_low": None if between is None else between.low,
        f"{name}_high": None if between is None else between.high,
        f"{name}_control": reading.control,
        f"{name}_treatment": reading.treatment,
    }
    if bound.measure.counted is not Counted.NOTHING:
        things = _COUNTED[bound.measure.counted]
        numbers[f"{name}_control_{things}"] = reading.control_count
        numbers[f"{name}_treatment_{things}"] = reading.treatment_count
    return {key: float(value) for key, value in numbers.items() if value is not None and math.isfinite(value)}


def name_of(kind: str, bound: Bound, taken: Container[str]) -> str:
    """A name for `figures`: ``trigger_error_rate``, numbered from the second of its kind about the same metric."""
    name, number = f"{kind}_{bound.metric}", 2
    unique = name
    while f"{unique}_bound" in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def joined(clauses: Sequence[str]) -> str:
    """One line that fits a ledger's why: as many clauses as it holds, and how many more there are."""
    for kept in range(len(clauses), 0, -1):
        more = f"; and {len(clauses) - kept} more" if kept < len(clauses) else ""
        line = "; ".join(clauses[:kept]) + more
        if len(line.encode()) <= MAX_WHY_BYTES:
            return line
    return "; ".join(clauses).encode()[:MAX_WHY_BYTES].decode(errors="ignore")


def level(metric: Metric, value: float) -> str:
    """An arm's value in the metric's unit: ``320 ms``."""
    return _LEVELS.get(metric, "{:g}").format(value)
