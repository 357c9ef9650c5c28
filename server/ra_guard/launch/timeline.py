"""Dates of an experiment, counted from its launch. Days are whole days of UTC; the launch is day 1."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Watch
from ra_guard.launch.errors import BeyondTheCalendar

PREPARATION_DAYS = 7
"""Before the launch. On the last of them it is decided whether to go."""
_DAY_HOURS = 24


@dataclass(frozen=True)
class Days:
    """From the first to the last, both included."""

    first: date
    last: date


@dataclass(frozen=True)
class StageDates:
    """One stage of the ramp, in hours from the launch and in dates."""

    percent: float
    """Users in each arm."""
    monitoring: Watch
    from_hour: int
    to_hour: int
    """Exclusive. A gate that does not hold, or a person, may keep the ramp here for longer."""
    days: Days


@dataclass(frozen=True)
class LookDate:
    """A planned look: at the end of its day."""

    day: int
    on: date
    is_last: bool


@dataclass(frozen=True)
class Timeline:
    """When everything happens if every gate holds as soon as its stage's time is over."""

    launch: date
    preparation: Days
    go_no_go: date
    stages: tuple[StageDates, ...]
    ramp: Days
    """Up to the first day of the last stage."""
    full_test: Days
    """The rest of the last stage, at its full share."""
    looks: tuple[LookDate, ...]
    analysis: Days
    """After the last look; the decision is due on the last of them."""


def timeline(definition: Definition, launch: date) -> Timeline:
    """The definition's days and hours as dates. Raises BeyondTheCalendar."""
    end_day = definition.analysis.end_day
    held = [stage.hold_hours or 0 for stage in definition.stages]
    begins = list(accumulate(held[:-1], initial=0))
    ends = [*begins[1:], end_day * _DAY_HOURS]
    stages = tuple(
        StageDates(
            stage.percent,
            stage.monitoring,
            begin,
            end,
            Days(_day(launch, begin // _DAY_HOURS + 1), _day(launch, (end - 1) // _DAY_HOURS + 1)),
        )
        for stage, begin, end in zip(definition.stages, begins, ends, strict=True)
    )
    end = _day(launch, end_day)
    ramped = stages[-1].days.first
    return Timeline(
        launch=launch,
        preparation=Days(_day(launch, 1 - PREPARATION_DAYS), _day(launch, 0)),
        go_no_go=_day(launch, 0),
        stages=stages,
        ramp=Days(launch, ramped),
        full_test=Days(min(ramped + timedelta(days=1), end), end),
        looks=tuple(
            LookDate(day, _day(launch, day), day == end_day) for day in (*definition.analysis.look_days, end_day)
        ),
        analysis=Days(_day(launch, end_day + 1), _day(launch, end_day + definition.analysis.decision_days)),
    )


def _day(launch: date, number: int) -> date:
    try:
        return launch + timedelta(days=number - 1)
    except OverflowError:
        raise BeyondTheCalendar(
            found=f"day {number} of a launch on {launch}",
            wanted="days of the years 1 to 9999",
            cure="correct the days of the definition, or the date",
        ) from None
