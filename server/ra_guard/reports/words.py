"""How reports say things: names and units of metrics, numbers, verdicts, bounds. One wording for all reports."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
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
from ra_guard.experiments.definition.vocabulary import Finding, Outcome
from ra_guard.experiments.monitor.outcomes import Reading, Verdict
from ra_guard.reports.document import Mark, Tone
from ra_guard.stats.outcome import Insufficient, Interval

ABSENT: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"

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
    Metric.GUARDRAILS_UNHEALTHY: "guardrails unhealthy",
}

MEANINGS: Final[Mapping[Metric, str]] = {
    Metric.NDCG_AT_10: "How well the ten results on top are ordered, against the best order of all judged candidates "
    "of the request: linear gain, log2 discount, 0 to 100 points. Requests with nothing relevant are left out and "
    "counted. Mean over a user's requests, then over users.",
    Metric.LATENCY_P95: "The time within which 95 % of calls are answered, as the server sees it.",
    Metric.ERROR_RATE: "Share of calls answered with the baseline because of a deadline, overload or an internal "
    "cause, by the same rule in both arms.",
    Metric.CRITICAL_ERRORS: "Answers INTERNAL or DATA_LOSS, workers that crashed, and generations refused as damaged.",
    Metric.SATISFACTION: "Mean of the ratings of 1 to 5 stars that a user gave, then over users who rated.",
    Metric.COMPLAINTS: "Complaints for each enrolled user.",
    Metric.CLICK_THROUGH_RATE: "Share of a user's requests with at least one click, then the mean over users.",
    Metric.QUERY_COMPLETION_RATE: "Share of a user's requests after which the user did not ask again within five "
    "minutes, or clicked before; then the mean over users.",
    Metric.CONTENT_DISCOVERY: "Different images that a user clicked. Mean over users.",
    Metric.STATISTICAL_POWER: "Chance of success at the planned end if the effect is the expected one, from the "
    "enrolment and spread so far.",
    Metric.HEALTH_CHECK_FAILURES: "Replicas whose health check says that they do not serve.",
    Metric.GUARDRAILS_UNHEALTHY: "Guardrails that do not hold, or of which it cannot be told.",
}

TERMS: Final[Mapping[str, str]] = {
    "points": "nDCG of 0 to 1, times 100. An improvement of 0.0297 is 2.97 points.",
    "anytime-valid interval": "Holds at all moments together, however often one looks. Wider than an interval for one "
    "look: the price of watching every minute.",
    "repeated interval": "Of the primary metric at a planned look, adjusted for the looks before: holds at all looks "
    "together. Excludes zero exactly when the boundary of the look is crossed.",
    "boundary": "How many standard errors from zero the estimate must lie at a look, so that all looks together report "
    "a false effect no more often than planned.",
    "information": "Share of the planned users that the look had, by the harmonic mean of the arms.",
    "sample ratio": "Whether the arms have the numbers of users that they were drawn with. If not, assignment or "
    "logging is broken and no comparison means anything.",
    "crossover": "Users seen in both arms, or served what their arm is not served although nothing failed.",
}

VERDICTS: Final[Mapping[Verdict, Mark]] = {
    Verdict.PASS: Mark("pass", Tone.GOOD),
    Verdict.FAIL: Mark("fail", Tone.BAD),
    Verdict.INSUFFICIENT: Mark("insufficient", Tone.OPEN),
    Verdict.ERROR: Mark("error", Tone.BAD),
}

OUTCOMES: Final[Mapping[Outcome, Mark]] = {
    Outcome.DEPLOY: Mark("Deploy", Tone.GOOD),
    Outcome.ITERATE: Mark("Iterate and test again", Tone.OPEN),
    Outcome.ROLL_BACK: Mark("Roll back", Tone.BAD),
    Outcome.KEEP_RUNNING: Mark("Keep running", Tone.PLAIN),
}

FINDINGS: Final[Mapping[Finding, str]] = {
    Finding.SAMPLE_RATIO_HOLDS: "The sample ratio holds",
    Finding.CROSSOVER_WITHIN_LIMIT: "Crossover is within its limit",
    Finding.GUARDRAILS_HEALTHY: "All guardrails hold",
    Finding.GUARDRAIL_VIOLATED: "A guardrail is violated",
    Finding.SUCCESS: "Success at a planned look",
    Finding.PARTIAL_SUCCESS: "Better, but short of success",
    Finding.NO_SUCCESS: "No success at the end",
}

_EVIDENCE: Final[Mapping[Evidence, str]] = {
    Evidence.OBSERVED: "as observed",
    Evidence.PROVEN: "proven",
    Evidence.NOT_REFUTED: "not refuted",
}
_COMPARISONS: Final[Mapping[Comparison, str]] = {
    Comparison.ABOVE: "above",
    Comparison.BELOW: "below",
    Comparison.AT_LEAST: "at least",
    Comparison.AT_MOST: "at most",
}
_UNITS: Final[Mapping[Scale, str]] = {
    Scale.POINTS: " points",
    Scale.ADDED_MS: " ms",
    Scale.PERCENT: " %",
    Scale.ADDED_PERCENTAGE_POINTS: " percentage points",
    Scale.ADDED_PERCENT: " %",
    Scale.ADDED_STARS: " stars",
    Scale.COUNT: "",
}
_DIGITS: Final[Mapping[Scale, int]] = {Scale.ADDED_MS: 1, Scale.COUNT: 0}
_LEVELS: Final = frozenset({Scale.PERCENT, Scale.COUNT})
"""Scales whose numbers are levels and carry no sign."""


# Numbers


def number(value: float, digits: int) -> str:
    """A number with thousands separated, a true minus, and no minus zero; infinity in words."""
    if math.isinf(value):
        return "unbounded"
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", _MINUS)


def signed(value: float, digits: int) -> str:
    """As `number`, with a plus before what is above zero: a difference of arms."""
    text = number(value, digits)
    return f"+{text}" if math.isfinite(value) and value > 0 and text.strip("0.,") else text


def on_scale(value: float | None, scale: Scale) -> str:
    """A value with its unit."""
    return ABSENT if value is None else f"{_bare(value, scale)}{_UNITS[scale]}"


def interval_on_scale(interval: Interval | None, scale: Scale) -> str:
    """An interval, its unit after it; an open end in words."""
    if interval is None:
        return ABSENT
    low, high = (ABSENT if math.isinf(end) else _bare(end, scale) for end in (interval.low, interval.high))
    match math.isinf(interval.low), math.isinf(interval.high):
        case True, True:
            return "unbounded"
        case True, False:
            return f"at most {high}{_UNITS[scale]}"
        case False, True:
            return f"at least {low}{_UNITS[scale]}"
    return f"[{low}, {high}]{_UNITS[scale]}"


def _bare(value: float, scale: Scale) -> str:
    digits = _DIGITS.get(scale, 2)
    return number(value, digits) if scale in _LEVELS else signed(value, digits)


def p_value(p: float | None) -> str:
    """A p-value; small ones as a bound rather than as a string of zeros."""
    if p is None:
        return ABSENT
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def share(part: float, whole: float, digits: int = 2) -> str:
    """``part`` of ``whole`` in percent."""
    return f"{number(100 * part / whole, digits)} %" if whole else ABSENT


def ramp(bp: int) -> str:
    """A ramp of hundredths of a percent."""
    return f"{bp / 100:g} %"


def moment(at: datetime) -> str:
    """To the minute, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def moment_of(unix_s: int) -> str:
    """As `moment`, of seconds since the Unix epoch."""
    return moment(datetime.fromtimestamp(unix_s, UTC))


def words(of: str) -> str:
    """A word of the vocabulary as people write it."""
    return of.replace("_", " ")


# Bounds and what was found


def requirement(of: Requirement) -> str:
    """What is to be kept: ``latency P95 below +100 ms, proven, over 1,000 requests or more in each arm``."""
    return f"{_COMPARISONS[of.must_be]} {on_scale(of.bound, of.scale)}, {_EVIDENCE[of.evidence]}{_least(of)}"


def alarm(of: Alarm) -> str:
    """What is not to be crossed, over how long a window, for how long."""
    over = "the epoch so far" if of.over_minutes is None else f"the last {span(of.over_minutes)}"
    lasting = "at once" if of.for_minutes == 0 else f"for {span(of.for_minutes)}"
    bound = f"{_COMPARISONS[of.when]} {on_scale(of.bound, of.scale)}, {_EVIDENCE[of.evidence]}"
    return f"{bound}, {lasting}, over {over}"


def span(minutes: int) -> str:
    """Minutes, or hours where they are whole."""
    count, unit = (minutes // 60, "hour") if minutes and minutes % 60 == 0 else (minutes, "minute")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def compared(bound: Bound) -> str:
    """What the bound is about: a level, or treatment less control."""
    if bound.scale is Scale.ADDED_PERCENT:
        return f"{NAMES[bound.metric]}, relative to control"
    return NAMES[bound.metric] if bound.scale in _LEVELS else f"{NAMES[bound.metric]}, added"


def found(reading: Reading, bound: Bound) -> str:
    """The value, or why there is none."""
    return found_on(reading, bound.scale)


def found_on(reading: Reading, scale: Scale) -> str:
    """As `found`, where there is no bound."""
    if reading.is_broken:
        return f"cannot be true: {reading.lack or 'no reason given'}"
    return on_scale(reading.value, scale) if reading.value is not None else f"none: {reading.lack or 'no data'}"


def numbers(of: Mapping[str, float]) -> str:
    """Named numbers, as the ledger and findings keep them: up to six digits, as they are."""
    return ", ".join(f"{words(name)} {value:.6g}".replace("-", _MINUS) for name, value in of.items()) or ABSENT


def insufficient(of: Insufficient) -> str:
    """Why the data cannot say."""
    return f"{of.lack}: {of.found}, wanted {of.wanted}"


def _least(of: Bound) -> str:
    if of.measure.counted is Counted.NOTHING:
        return ""
    return f", from {of.min_count:,} {of.measure.counted.value} in each arm"
