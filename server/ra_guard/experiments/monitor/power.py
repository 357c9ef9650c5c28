"""The chance of success at the planned end, if the effect is the expected one: from enrolment and spread so far.

Users are projected along the plan: at the present stage they come at the rate at which they came since the ramp came
to it, at each later stage at that rate times the ratio of the stages' shares; a ramp that is no stage goes on to the
next one at once. Where few new users are left to come this promises too many. The chance is that of the success rule
at a single look; the planned looks before it cost about two percent of the interval's width.
"""

import math
from statistics import NormalDist
from typing import Final

from ra_guard.evidence.contrast import Contrast
from ra_guard.evidence.tally import Quantity
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import SuccessRule
from ra_guard.experiments.monitor.primary import NOBODY, POINTS

LEAST_USERS: Final = 100
"""In each arm with a value, before their spread is believed."""
LEAST_ENROLLED: Final = 30
"""In each arm, since the ramp came to its stage, before their rate is."""


def power_percent(
    definition: Definition,
    epoch: Contrast,
    *,
    enrolled: tuple[int, int],
    ramp_bp: int,
    minutes_at_stage: int,
    minutes_to_end: int,
) -> float | str:
    """The chance in percent, or why it cannot be told.

    ``enrolled``: new users since the ramp came to its stage, of control and of treatment; ``minutes_at_stage``: since
    then; ``minutes_to_end``: 0 or less once the planned end has come.
    """
    arms = (epoch.control, epoch.treatment)
    if any(Quantity.NDCG in arm.broken or arm.has_broken_calls for arm in arms):
        return "evidence that cannot be true"
    moments = tuple(arm.means.get(Quantity.NDCG, NOBODY) for arm in arms)
    if min(each.n for each in moments) < LEAST_USERS:
        return f"{moments[0].n} and {moments[1].n} users with nDCG, wanted {LEAST_USERS} or more in each arm"
    deviations = tuple(each.variance(0) * POINTS**2 for each in moments)
    if not any(deviations):
        return "nDCG is the same for all users"
    growth = [1.0, 1.0]
    if minutes_to_end > 0:
        if min(enrolled) < LEAST_ENROLLED or minutes_at_stage < 1 or not ramp_bp:
            return f"{enrolled[0]} and {enrolled[1]} users enrolled at this stage, wanted {LEAST_ENROLLED} or more"
        stages = _planned_stages(definition, ramp_bp, minutes_at_stage, minutes_to_end) / minutes_at_stage
        growth = [1 + new * stages / max(arm.users, 1) for new, arm in zip(enrolled, arms, strict=True)]
    error = math.sqrt(
        sum(spread / (each.n * more) for spread, each, more in zip(deviations, moments, growth, strict=True))
    )
    return 100 * _chance_of_success(definition, error)


def _planned_stages(definition: Definition, ramp_bp: int, minutes_at_stage: int, minutes_to_end: int) -> float:
    """Minutes to the end, each weighted with its stage's share over the present one."""
    total, left = 0.0, minutes_to_end
    for stage in definition.stages:
        if stage.ramp_bp < ramp_bp:
            continue
        held = minutes_to_end if stage.hold_hours is None else stage.hold_hours * 60
        if stage.ramp_bp == ramp_bp:
            held = max(held - minutes_at_stage, 0) if stage.hold_hours is not None else held
        held = min(held, left)
        total += held * stage.ramp_bp / ramp_bp
        left -= held
    return total


def _chance_of_success(definition: Definition, error: float) -> float:
    primary = definition.metrics.primary
    width = NormalDist().inv_cdf(0.5 + primary.confidence_percent / 200) * error
    match primary.success_rule:
        case SuccessRule.POINT_AT_THRESHOLD_INTERVAL_ABOVE_ZERO:
            least = max(primary.success_points, width)
        case SuccessRule.INTERVAL_ABOVE_THRESHOLD:
            least = primary.success_points + width
    return NormalDist().cdf((primary.expected_points - least) / error)
