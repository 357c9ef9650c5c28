"""What an analysis finds, each with its numbers: a sound comparison, guardrails that are kept, a success at a look.

What cannot be told does not hold, and says why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Scale
from ra_guard.experiments.definition.safety import Guardrail
from ra_guard.experiments.definition.vocabulary import Action, Finding, SuccessRule
from ra_guard.experiments.monitor import looks, words
from ra_guard.experiments.monitor.outcomes import Assessment, Found, Judged, Look, Reading, Verdict
from ra_guard.stats.outcome import Insufficient, Interval

PRIMARY = "nDCG@10"


# Is the comparison sound?


def sample_ratio(definition: Definition, assessment: Assessment) -> Found:
    """Whether users fell into the arms as they were drawn."""
    tested, least = assessment.sample_ratio, definition.analysis.sample_ratio_p
    if isinstance(tested, Insufficient):
        why = f"whether users split as drawn cannot be told yet: {tested.found}"
        return Found(Finding.SAMPLE_RATIO_HOLDS, None, why, {"sample_ratio_p_limit": least})
    numbers = _finite(
        sample_ratio_p=tested.p_value, sample_ratio_p_limit=least, sample_ratio_chi_square=tested.chi_square
    )
    if math.isnan(tested.p_value):
        return Found(Finding.SAMPLE_RATIO_HOLDS, None, "the test of how users split gave no number", numbers)
    if tested.p_value >= least:
        return Found(
            Finding.SAMPLE_RATIO_HOLDS,
            holds=True,
            why=f"users split as drawn (p = {tested.p_value:.2g})",
            numbers=numbers,
        )
    why = f"sample-ratio mismatch, users did not split as drawn (p = {tested.p_value:.2g}, below {least:g})"
    return Found(Finding.SAMPLE_RATIO_HOLDS, holds=False, why=why, numbers=numbers)


def crossover(definition: Definition, assessment: Assessment) -> Found:
    """Whether enrolled users stayed in their arms."""
    share, most = assessment.crossover_percent, definition.analysis.max_crossover_percent
    if share is None or math.isnan(share):
        why = "how many users crossed over is not known"
        return Found(Finding.CROSSOVER_WITHIN_LIMIT, None, why, {"crossover_percent_limit": most})
    numbers = _finite(crossover_percent=share, crossover_percent_limit=most)
    if share <= most:
        why = f"{share:.2g} % of users crossed over, within {most:g} %"
        return Found(Finding.CROSSOVER_WITHIN_LIMIT, holds=True, why=why, numbers=numbers)
    why = f"crossover of {share:.2g} % of users, above {most:g} %"
    return Found(Finding.CROSSOVER_WITHIN_LIMIT, holds=False, why=why, numbers=numbers)


# Are the guardrails kept?


def guardrails_healthy(definition: Definition, assessment: Assessment) -> Found:
    """Whether every guardrail of the definition passes."""
    judged = _guardrails(definition, assessment)
    holds, telling = _kept(judged)
    why = "all guardrails hold" if holds else _named(telling)
    return Found(Finding.GUARDRAILS_HEALTHY, holds, why, _numbers(judged))


def guardrail_violated(definition: Definition, assessment: Assessment) -> Found:
    """Whether one fails whose breach speaks for rolling back.

    One that is to be analysed does not: it is unhealthy, so that nothing is deployed and the decision waits.
    """
    judged = [one for one in _guardrails(definition, assessment) if action_of(one) is not Action.ANALYSE]
    kept, telling = _kept(judged)
    why = "no guardrail is violated" if kept else _named(telling)
    return Found(Finding.GUARDRAIL_VIOLATED, None if kept is None else not kept, why, _numbers(judged))


def action_of(judged: Judged) -> Action | None:
    """What its failure leads to; None for what is no guardrail."""
    return judged.requirement.action if isinstance(judged.requirement, Guardrail) else None


def _guardrails(definition: Definition, assessment: Assessment) -> list[Judged]:
    """One for each of the definition's; of one that was not judged nothing can be told."""
    unjudged = Reading(None, None, None, None, 0, 0, lack="it was not judged")
    found = {judged.requirement: judged for judged in assessment.guardrails}
    return [
        found.get(guardrail, Judged(guardrail, unjudged, Verdict.INSUFFICIENT))
        for guardrail in definition.metrics.guardrails
    ]


def _kept(judged: Sequence[Judged]) -> tuple[bool | None, list[Judged]]:
    """Whether all pass, and those that say otherwise."""
    if failed := [one for one in judged if one.verdict is Verdict.FAIL]:
        return False, failed
    if untold := [one for one in judged if one.verdict is not Verdict.PASS]:
        return None, untold
    return True, []


def _named(judged: Sequence[Judged]) -> str:
    return "; ".join(
        f"guardrail {'failed' if one.verdict is Verdict.FAIL else 'cannot be told'}: {words.required(one)}"
        for one in judged
    )


def _numbers(judged: Sequence[Judged]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for one in judged:
        name = words.name_of("guardrail", one.requirement, numbers)
        numbers |= words.figures(name, one.requirement, one.reading)
    return numbers


# What does the latest look show?


@dataclass(frozen=True)
class Sight:
    """The latest look and the boundary that it meets."""

    look: Look
    boundary_z: float
    interval: Interval
    """In points, adjusted for the looks before."""


def latest(definition: Definition, taken: Sequence[Look]) -> Sight | None:
    """The latest of the looks that count; None before the first."""
    counted = looks.in_order(taken)
    if not counted:
        return None
    look, bounds = counted[-1], looks.boundaries(definition, counted)
    interval = bounds.repeated_interval(len(counted) - 1, look.estimate, look.standard_error)
    return Sight(look, bounds.z[-1], interval)


def primary(definition: Definition, sight: Sight | None) -> tuple[Found, Found, Found]:
    """Success, partial success and no success, as the latest look has it."""
    if sight is None:
        return unasked(f"no look yet: the first is at the end of day {looks.planned_days(definition)[0]}")
    numbers, against = _look_numbers(definition, sight), _against(definition, sight)
    above_zero, succeeds = sight.interval.low > 0, _succeeds(definition, sight)
    to_come = f"the last look has not come: it is at the end of day {definition.analysis.end_day}"
    return (
        Found(Finding.SUCCESS, succeeds, f"{_seen(definition, sight)}: {against}", numbers),
        Found(Finding.PARTIAL_SUCCESS, above_zero and not succeeds, against, numbers),
        Found(Finding.NO_SUCCESS, not above_zero, against, numbers)
        if sight.look.is_last
        else Found(Finding.NO_SUCCESS, None, to_come, numbers),
    )


def unasked(why: str) -> tuple[Found, Found, Found]:
    """The same three where the primary metric is not asked."""
    return (
        Found(Finding.SUCCESS, None, why, {}),
        Found(Finding.PARTIAL_SUCCESS, None, why, {}),
        Found(Finding.NO_SUCCESS, None, why, {}),
    )


def _succeeds(definition: Definition, sight: Sight) -> bool:
    asked = definition.metrics.primary
    if asked.success_rule is SuccessRule.INTERVAL_ABOVE_THRESHOLD:
        return sight.interval.low > asked.success_points
    return sight.look.estimate >= asked.success_points and sight.interval.low > 0


def _seen(definition: Definition, sight: Sight) -> str:
    """``nDCG@10 +4.10 points (95 % interval +2.02 to +6.18) at the look of day 7``."""
    day, confidence = sight.look.day, definition.metrics.primary.confidence_percent
    return (
        f"{PRIMARY} {words.amount(sight.look.estimate, Scale.POINTS)} ({confidence:g} % interval "
        f"{words.interval(sight.interval, Scale.POINTS)}) "
        f"at {f'the last look, day {day}' if sight.look.is_last else f'the look of day {day}'}"
    )


def _against(definition: Definition, sight: Sight) -> str:
    """``above the success threshold of +2.97, interval above 0``."""
    asked, low = definition.metrics.primary, sight.interval.low
    threshold = f"the success threshold of {asked.success_points:+g}"
    zero = "above 0" if low > 0 else "not above 0"
    if asked.success_rule is SuccessRule.INTERVAL_ABOVE_THRESHOLD:
        reached = low > asked.success_points
        return f"interval above {threshold}" if reached else f"interval {zero}, and not above {threshold}"
    side = "above" if sight.look.estimate >= asked.success_points else "below"
    return f"{side} {threshold}, interval {zero}"


def _look_numbers(definition: Definition, sight: Sight) -> dict[str, float]:
    look = sight.look
    return _finite(
        look_day=look.day,
        estimate_points=look.estimate,
        standard_error_points=look.standard_error,
        z=look.estimate / look.standard_error,
        boundary_z=sight.boundary_z,
        interval_low_points=sight.interval.low,
        interval_high_points=sight.interval.high,
        information=look.information,
        control_users=look.control_users,
        treatment_users=look.treatment_users,
        success_points=definition.metrics.primary.success_points,
    )


def _finite(**numbers: float) -> dict[str, float]:
    return {name: float(number) for name, number in numbers.items() if math.isfinite(number)}
