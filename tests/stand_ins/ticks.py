"""Ticks for tests: readings of the template's alerts, one minute each."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum

from ra_guard.alerts.board import Board
from ra_guard.alerts.message import Links
from ra_guard.experiments.definition import parse_definition, template
from ra_guard.experiments.definition.measures import Better
from ra_guard.experiments.definition.safety import Alert
from ra_guard.experiments.monitor.outcomes import Reading, Tick, Watched

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BOARD = Board(
    parse_definition(template()), Links(dashboard="https://dashboards.example/ra", runbook="https://run.book/")
)
ALERTS = BOARD.definition.alerts
ERRORS = ALERTS[0]
"""Critical: told to level 1 at once, to level 2 after 30 minutes, to level 3 after 60."""


class Found(Enum):
    """What a minute's reading says of an alert."""

    CROSSED = "crossed"
    HEALTHY = "healthy"
    NOTHING = "nothing"


def watched(alert: Alert, found: Found) -> Watched:
    """The alert with a reading beyond its bound, at it, or none."""
    lack = "3 of 100 requests" if found is Found.NOTHING else ""
    beyond = (0.1 * alert.bound + 1) * (1 if alert.when.towards is Better.HIGHER else -1)
    values = {Found.CROSSED: alert.bound + beyond, Found.HEALTHY: alert.bound, Found.NOTHING: None}
    is_crossed = found is Found.CROSSED
    return Watched(
        alarm=alert,
        reading=Reading(values[found], None, 0.4, 2.4, 1204, 1188, lack),
        crossed=None if found is Found.NOTHING else is_crossed,
        minutes_crossed=int(is_crossed),
        coverage=1.0,
        is_firing=is_crossed,
        has_shared_cause=False,
    )


def tick(found: Mapping[Alert, Found]) -> Tick:
    """One tick; its minute plays no part."""
    return Tick(0, (), (), tuple(watched(alert, each) for alert, each in found.items()))


def at(minute: float) -> datetime:
    """A time of the test."""
    return START + timedelta(minutes=minute)
