"""Which reports are due, and to whom they go. Pure: no clock, no folder.

Daily ones at an hour of the day, from the day after the launch; weekly ones at that hour, every seventh day after it;
one after each planned look; the last one at the end. Whoever comes late makes the latest of each once: what was missed
between is in it. Continuous ones are never due: alerts tell what they would.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.people import Report
from ra_guard.experiments.definition.vocabulary import Cadence, ReportKind
from ra_guard.experiments.monitor.outcomes import Look

_DAYS: Final[Mapping[Cadence, int]] = {Cadence.DAILY: 1, Cadence.WEEKLY: 7}


@dataclass(frozen=True)
class Life:
    """What has happened to an epoch, as far as reports ask."""

    launched_at: datetime
    """When users were first enrolled."""
    looks: Sequence[Look]
    closed_at: datetime | None
    """When it was killed or rolled back; None while it runs."""


@dataclass(frozen=True)
class Due:
    """A report to make now; ``report`` says to whom it goes and by which routes."""

    report: Report
    since: datetime
    """When it came due."""


def due(
    definition: Definition, life: Life, made: Mapping[ReportKind, datetime], now: datetime, *, hour_utc: int
) -> tuple[Due, ...]:
    """In the order of the definition. ``made`` says when the latest of each kind was made in this epoch."""
    found = []
    for report in definition.reports:
        times = [each for each in _times(report.every, life, now, hour_utc) if each <= now]
        before = made.get(report.kind)
        if times and (before is None or before < max(times)):
            found.append(Due(report, max(times)))
    return tuple(found)


def _times(every: Cadence, life: Life, now: datetime, hour_utc: int) -> Iterator[datetime]:
    """When reports of a cadence came due; of those by the day, the latest alone."""
    match every:
        case Cadence.DAILY | Cadence.WEEKLY:
            yield from _by_the_day(_DAYS[every], life, now, hour_utc)
        case Cadence.AT_LOOKS:
            yield from (_at(look) for look in life.looks if not look.is_last)
        case Cadence.AT_END:
            yield from (_at(look) for look in life.looks if look.is_last)
            if life.closed_at is not None:
                yield life.closed_at
        case Cadence.CONTINUOUS:
            return


def _by_the_day(step: int, life: Life, now: datetime, hour_utc: int) -> Iterator[datetime]:
    """The latest one up to now, or up to the end: of what is over, nothing new is to be said."""
    first = datetime.combine(life.launched_at.astimezone(UTC), time(hour_utc), UTC) + timedelta(days=step)
    until = now if life.closed_at is None else min(now, life.closed_at)
    if until >= first:
        yield first + (until - first) // timedelta(days=step) * timedelta(days=step)


def _at(look: Look) -> datetime:
    return datetime.fromtimestamp(look.at_unix_s, UTC)
