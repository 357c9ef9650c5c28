"""How reports say things: values with their intervals, verdicts, findings, what a metric means.

Bounds are worded by the definition, amounts by the monitor, so that a report and a ledger say a thing the same way.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from ra_guard.experiments.definition.measures import Alarm, Metric, Requirement, Scale
from ra_guard.experiments.definition.vocabulary import Finding, Outcome
from ra_guard.experiments.definition.words import evidence_in_words, in_words, spoken
from ra_guard.experiments.monitor.outcomes import Reading, Verdict
from ra_guard.experiments.monitor.words import amount, interval, level
from ra_guard.reports.document import Mark, Noted, Tone
from ra_guard.stats.outcome import Insufficient, Interval

ABSENT: Final = "\N{EN DASH}"

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

VERDICT_MEANINGS: Final[Mapping[Verdict, str]] = {
    Verdict.PASS: "The evidence that the bound asks for is there.",
    Verdict.FAIL: "It was measured, and the bound is not kept.",
    Verdict.INSUFFICIENT: "It cannot be told yet. Never counted as passed, never drawn as zero.",
    Verdict.ERROR: "It could not be measured: a value that is missing, no number, or impossible.",
}

OUTCOMES: Final[Mapping[Outcome, Mark]] = {
    Outcome.DEPLOY: Mark("Deploy.", Tone.GOOD),
    Outcome.ITERATE: Mark("Iterate and test again.", Tone.OPEN),
    Outcome.ROLL_BACK: Mark("Roll back.", Tone.BAD),
    Outcome.KEEP_RUNNING: Mark("Keep running.", Tone.PLAIN),
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


# Numbers


def signed(value: float) -> str:
    """A difference of arms with two digits and its sign; no minus zero."""
    return f"{value:+z.2f}"


def interval_on(found: Interval | None, scale: Scale) -> str:
    """Where the value may lie; an open end is said, and nothing where there is no interval."""
    match found:
        case None:
            return ""
        case Interval(low, high) if math.isinf(low) and math.isinf(high):
            return "without bounds"
        case Interval(low, high) if math.isinf(low):
            return f"up to {amount(high, scale)}"
        case Interval(low, high) if math.isinf(high):
            return f"from {amount(low, scale)}"
    return interval(found, scale)


def points(found: Interval) -> str:
    """An interval of points without their name, for columns that have it: ``+2.02 to +6.18``."""
    return f"{signed(found.low)} to {signed(found.high)}"


def p_value(p: float | None) -> str:
    """A p-value; small ones as a bound rather than as a string of zeros."""
    if p is None:
        return ABSENT
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def share(part: float, whole: float, digits: int = 2) -> str:
    """``part`` of ``whole`` in percent."""
    return f"{100 * part / whole:.{digits}f} %" if whole else ABSENT


def counted(number: int, one: str) -> str:
    """``1 user``, ``2,500 users``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def moment(at: datetime) -> str:
    """To the minute, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def moment_of(unix_s: int) -> str:
    """As `moment`, of seconds since the Unix epoch."""
    return moment(datetime.fromtimestamp(unix_s, UTC))


def numbers(of: Mapping[str, float]) -> str:
    """Named numbers, as the ledger and findings keep them, with up to six digits."""
    return ", ".join(f"{spoken(name)} {value:.6g}" for name, value in of.items()) or ABSENT


# What was asked and what was found


def asked(bound: Requirement | Alarm) -> Noted:
    """A bound, and in small what it takes to keep or to cross it."""
    return Noted(in_words(bound), evidence_in_words(bound))


def found_with_interval(reading: Reading, scale: Scale) -> Noted:
    """The value with its interval in small, or none with the reason in small."""
    if reading.is_broken or reading.value is None:
        return Noted("cannot be true" if reading.is_broken else "none", reading.lack or "no reason given")
    return Noted(amount(reading.value, scale), interval_on(reading.interval, scale))


def arm(value: float | None, metric: Metric) -> str:
    """The level of an arm."""
    return ABSENT if value is None else level(metric, value)


def insufficient(of: Insufficient) -> str:
    """Why the data cannot say."""
    return f"{of.lack}: {of.found}, wanted {of.wanted}"
