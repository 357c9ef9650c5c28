"""Scenarios with names, each with the definition that it plays.

`seven-day` is the plan's own simulation: 168 hours, its ramp, 41,750 users. `fourteen-day` is the template as it
stands, with 2,000 visitors a day: few enough that gates hold the ramp until enough calls have come. `a-a` has no
effect: the plan's 5,000 users in a week, everyone enrolled from the first hour. The others are the seven days with one
fault each.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from ra_guard.experiments.definition import Definition, parse_definition, template
from ra_guard.simulation.errors import UnknownPreset
from ra_guard.simulation.scenario import HOURS_OF_DAY, Fault, FaultKind, Ndcg, Scenario, Visits

PLANNED_USERS: Final = 41_750
"""Of the plan's simulation, in a week."""
WEEK_HOURS: Final = 7 * HOURS_OF_DAY
_NOON_OF_DAY_FIVE: Final = 4.0 * HOURS_OF_DAY + 12

FAULTS: Final[Mapping[str, Fault]] = {
    "latency": Fault(kind=FaultKind.LATENCY, at_hour=_NOON_OF_DAY_FIVE, hours=60.0, size=250.0),
    "errors": Fault(kind=FaultKind.ERRORS, at_hour=_NOON_OF_DAY_FIVE, hours=60.0, size=3.0),
    # From the start: the trigger looks at the whole epoch, and good days before would have to be made up for first.
    "ndcg": Fault(kind=FaultKind.NDCG, at_hour=0.0, hours=float(WEEK_HOURS), size=3.0),
    "partition": Fault(kind=FaultKind.PARTITION, at_hour=_NOON_OF_DAY_FIVE, hours=12.0, size=1.0),
    "lost-exposures": Fault(kind=FaultKind.LOST_EXPOSURES, at_hour=_NOON_OF_DAY_FIVE, hours=60.0, size=30.0),
    "no-evidence": Fault(kind=FaultKind.NO_EVIDENCE, at_hour=_NOON_OF_DAY_FIVE, hours=60.0, size=0.0),
}
PRESETS: Final = ("seven-day", "fourteen-day", "a-a", *FAULTS)


def preset(name: str) -> tuple[Scenario, Definition]:
    """A scenario and its definition by name. Raises UnknownPreset."""
    if name == "seven-day":
        return seven_day(), seven_day_definition()
    if name == "fourteen-day":
        return Scenario(name=name), parse_definition(template())
    if name == "a-a":
        return _a_a(), _a_a_definition()
    if name in FAULTS:
        return seven_day(name, (FAULTS[name],)), seven_day_definition()
    raise UnknownPreset(found=f"preset {name!r}", wanted=f"one of {', '.join(PRESETS)}", cure="choose one")


def seven_day(name: str = "seven-day", faults: tuple[Fault, ...] = ()) -> Scenario:
    """The plan's simulation, with as many visitors as enrol its users if no gate holds the ramp."""
    one_a_day = Scenario(name=name, hours=WEEK_HOURS, visits=Visits(visitors_per_day=1.0), faults=faults)
    enrolled = enrolled_users(one_a_day, seven_day_definition())
    return one_a_day.model_copy(update={"visits": Visits(visitors_per_day=PLANNED_USERS / enrolled)})


def seven_day_definition() -> Definition:
    """The template with the sample and the looks of the plan's simulation."""
    users = f"users = {PLANNED_USERS}\nusers_per_arm = {PLANNED_USERS // 2}\n"
    return parse_definition(_replaced(_in_a_week(template()), "users = 5000\nusers_per_arm = 2500\n", users))


def enrolled_users(scenario: Scenario, definition: Definition) -> float:
    """How many users a scenario enrols on average, if the ramp moves as soon as its hours are over.

    Of a visitor, the last visit counts: the ramp only widens, and whoever is enrolled then was perhaps before. Returns
    are a Poisson process that thins out exponentially, so the last of them is before t with the probability that none
    is after t.
    """
    ramp = _enrolled_share_by_hour(definition, scenario.hours)
    visits = scenario.visits
    profile = np.array(visits.hourly_profile) / sum(visits.hourly_profile)
    total = 0.0
    for hour in range(scenario.hours):
        left = np.arange(scenario.hours - hour + 1) / visits.return_after_hours
        none_later = np.exp(-visits.return_visits * (np.exp(-left) - np.exp(-left[-1])))
        last_visit_in = np.diff(none_later, prepend=0.0)  # the first: no return at all
        seen = np.append(ramp[hour:], ramp[-1])
        total += visits.visitors_per_day * profile[hour % HOURS_OF_DAY] * float(last_visit_in @ seen)
    return total


def _enrolled_share_by_hour(definition: Definition, hours: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Both arms together, in each hour."""
    held = [np.full(stage.hold_hours or hours, 2 * stage.ramp_bp / 10_000) for stage in definition.stages]
    share: np.ndarray[tuple[int], np.dtype[np.float64]] = np.concatenate(held)[:hours]
    return share


def _a_a() -> Scenario:
    """No effect, and treatment exactly as fast as control."""
    seven = seven_day("a-a")
    nothing = seven.latency.model_copy(update={"treatment_added_ms": 0.0})
    one_a_day = seven.model_copy(update={"visits": Visits(visitors_per_day=1.0)})
    definition = _a_a_definition()
    visitors = definition.sample.users / enrolled_users(one_a_day, definition)
    return seven.model_copy(
        update={
            "ndcg": Ndcg(effect_points=0.0),
            "latency": nothing,
            "visits": Visits(visitors_per_day=visitors),
        }
    )


def _a_a_definition() -> Definition:
    """The week without a ramp: a gate that looks at nDCG would choose how many users come by what they showed."""
    text = _in_a_week(template())
    ramp, everyone = text.index("[[stages]]\npercent = 1\n"), text.index("[[stages]]\npercent = 50\n")
    return parse_definition(text[:ramp] + text[everyone:])


def _in_a_week(text: str) -> str:
    """The looks that fall into it."""
    return _replaced(text, "look_days = [3, 7, 10]\nend_day = 14\n", "look_days = [3]\nend_day = 7\n")


def _replaced(text: str, old: str, new: str) -> str:
    return text[: text.index(old)] + new + text[text.index(old) + len(old) :]
