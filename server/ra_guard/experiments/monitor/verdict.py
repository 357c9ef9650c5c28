"""What a reading says of a requirement. Total over every reading: what is missing or impossible never passes.

A requirement that must be proven fails only where the contrary is: between the two it cannot be told yet.
"""

import math

from ra_guard.experiments.definition.measures import Evidence, Requirement
from ra_guard.experiments.monitor.outcomes import Reading, Verdict
from ra_guard.experiments.monitor.question import Question


def judge(requirement: Requirement, reading: Reading) -> Verdict:
    """The verdict on one requirement."""
    return verdict_of(Question.of(requirement), reading)


def verdict_of(question: Question, reading: Reading) -> Verdict:
    """The same, of a question that was made before."""
    if is_impossible(reading):
        return Verdict.ERROR
    if reading.value is None:
        return Verdict.INSUFFICIENT
    holds = question.holds(reading.value)
    if question.evidence is Evidence.OBSERVED:
        return Verdict.PASS if holds else Verdict.FAIL
    if question.evidence is Evidence.NOT_REFUTED and holds:
        return Verdict.PASS
    if reading.interval is None:
        return Verdict.INSUFFICIENT
    if question.is_refuted(reading.interval):
        return Verdict.FAIL
    if question.evidence is Evidence.NOT_REFUTED or question.is_proven(reading.interval):
        return Verdict.PASS
    return Verdict.INSUFFICIENT


def is_impossible(reading: Reading) -> bool:
    """Whether a reading says something that cannot be: it was marked so, or a number of it is none."""
    ends = () if reading.interval is None else (reading.interval.low, reading.interval.high)
    return (
        reading.is_broken
        or (reading.value is not None and not math.isfinite(reading.value))
        or any(math.isnan(end) for end in ends)
    )
