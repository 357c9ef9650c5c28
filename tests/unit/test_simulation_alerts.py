"""Of a simulated experiment's alerts: how often each began to fire, and how often people would have been told."""

from ra_guard.alerts.board import QUIET
from ra_guard.simulation.notes import AlertCount, Alerts

from tests.stand_ins.ticks import ALERTS, BOARD, ERRORS, Found, at, tick

QUIET_MINUTES = round(QUIET.total_seconds()) // 60


def heard(*minutes: Found) -> tuple[AlertCount, ...]:
    """After one tick a minute of an alert, while another stays healthy."""
    alerts = Alerts(BOARD.definition)
    for minute, found in enumerate(minutes):
        alerts.hear(tick({ALERTS[1]: Found.HEALTHY, ERRORS: found}), minute, at(minute))
    return alerts.counts


def test_an_alert_that_never_fires_is_not_counted() -> None:
    assert heard(Found.HEALTHY, Found.NOTHING, Found.HEALTHY) == ()


def test_an_alert_that_comes_and_goes_is_told_once_until_it_has_recovered() -> None:
    crossed, healthy = [Found.CROSSED], [Found.HEALTHY]
    comes_and_goes = [*healthy, *crossed, *healthy, *crossed, *healthy * QUIET_MINUTES, *crossed]
    assert heard(*comes_and_goes) == (AlertCount(ERRORS, fired=3, told=1, first_minute=1),)
    recovers = [*healthy, *crossed, *healthy, *crossed, *healthy * (QUIET_MINUTES + 1), *crossed]
    assert heard(*recovers) == (AlertCount(ERRORS, fired=3, told=2, first_minute=1),)


def test_minutes_that_cannot_be_told_are_no_recovery() -> None:
    nothing = [Found.NOTHING] * (QUIET_MINUTES + 2)
    assert heard(Found.CROSSED, *nothing, Found.CROSSED) == (AlertCount(ERRORS, fired=2, told=1, first_minute=0),)
