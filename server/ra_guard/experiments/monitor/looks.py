"""Planned looks at the primary metric: when one is due, what it sees, and which boundary it meets.

Days count from the launch, when users were first enrolled in the epoch; look d is due at the end of day d. What a look
spends follows the information that it finds, not the calendar (Lan and DeMets 1983), so that a look may come late,
bring less than was planned, or more. The last look spends what is left.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ra_guard.evidence.contrast import Contrast
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Mode, Spending
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.experiments.monitor.primary import alpha_of, in_points
from ra_guard.stats.effects import difference
from ra_guard.stats.outcome import Insufficient, Sides
from ra_guard.stats.sequential import CLOSEST_LOOKS, Bounds, Family, bounds

DAY_S: Final = 86_400
_FAMILIES: Final = {Spending.OBRIEN_FLEMING: Family.OBRIEN_FLEMING}
_STEP: Final = 2 * CLOSEST_LOOKS
"""The least share by which information grows from look to look in the boundaries."""


def due(definition: Definition, launched_at_unix_s: int, taken: Sequence[Look], now_unix_s: int) -> int | None:
    """The day of the look to take now; None where none is due.

    Looks that were missed are not made up for: the latest day that is due stands for them. After the last look there
    is none, and none where nothing is compared.
    """
    if not compares(definition) or any(_spends_the_rest(look) for look in taken):
        return None
    latest = max((look.day for look in taken), default=0)
    days = (day for day in planned_days(definition) if day > latest and launched_at_unix_s + day * DAY_S <= now_unix_s)
    return max(days, default=None)


def compares(definition: Definition) -> bool:
    """Whether the arms are served different orders; in every other mode their nDCG says nothing of treatment."""
    return definition.mode is Mode.AB


def planned_days(definition: Definition) -> tuple[int, ...]:
    """All days with a look at their end, the last one included."""
    return (*definition.analysis.look_days, definition.analysis.end_day)


def take(definition: Definition, day: int, at_unix_s: int, contrast: Contrast) -> Look | Insufficient:
    """What the look of ``day`` sees of the primary metric, over the epoch so far. Insufficient where there is none."""
    control, treatment = in_points(contrast.control), in_points(contrast.treatment)
    found = difference(control, treatment, alpha=alpha_of(definition))
    if isinstance(control, Insufficient):
        return control
    if isinstance(treatment, Insufficient):
        return treatment
    if isinstance(found, Insufficient):
        return found
    information = 2 / (1 / control.n + 1 / treatment.n) / definition.sample.users_per_arm
    return Look(
        day=day,
        at_unix_s=at_unix_s,
        control_users=control.n,
        treatment_users=treatment.n,
        estimate=found.estimate,
        standard_error=math.sqrt(control.squared_error + treatment.squared_error),
        information=information,
        is_last=information >= 1 or day >= definition.analysis.end_day,
    )


def boundaries(definition: Definition, looks: Sequence[Look]) -> Bounds:
    """Of |z| at each look, in the order of their days, up to the last one.

    Guarantee: without an effect, |z| reaches any of them with probability alpha, 1 less the confidence of the primary
    metric. Reference: `stats.sequential`. A look that hardly brings information, or has less than the one before,
    counts as one that brings the least that can be told apart: its data are those of the look before, so whatever is
    spent there is hardly spent anew.
    """
    information: list[float] = []
    times: list[float] = []
    for look in in_order(looks):
        before, spent = (information[-1], times[-1]) if information else (0.0, 0.0)
        information.append(max(look.information, before / (1 - _STEP)))
        times.append(1.0 if _spends_the_rest(look) else max(look.information, spent + (1 - spent) * _STEP))
    family = _FAMILIES[definition.analysis.spending]
    return _bounds(family, alpha_of(definition), tuple(information), tuple(times))


def in_order(looks: Sequence[Look]) -> tuple[Look, ...]:
    """By day, up to the one that spends the rest: what comes after it has nothing left to spend."""
    counted: list[Look] = []
    for look in sorted(looks, key=lambda look: look.day):
        counted.append(look)
        if _spends_the_rest(look):
            break
    return tuple(counted)


def _spends_the_rest(look: Look) -> bool:
    return look.is_last or look.information >= 1


@lru_cache(maxsize=64)
def _bounds(family: Family, alpha: float, information: tuple[float, ...], times: tuple[float, ...]) -> Bounds:
    """Remembered: they take milliseconds, a second for looks close together, and are asked for every minute."""
    if not information:
        return Bounds(family, None, alpha, Sides.TWO, (), (), ())
    return bounds(information, family=family, alpha=alpha, sides=Sides.TWO, spending_time=times)
