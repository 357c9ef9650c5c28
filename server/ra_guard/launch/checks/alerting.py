"""Whether people can be told: a test message by every route that the definition's alerts and reports take."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from ra_guard.alerts.delivery import Delivered, addresses_of, deliver_now
from ra_guard.alerts.message import Message
from ra_guard.alerts.notices import trial
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Route
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Found, failed, passed

WITHIN_S: Final = 20.0
"""For one receiver, all of them at the same time."""

Deliver = Callable[[Mapping[Route, tuple[str, ...]], Message, float], tuple[Delivered, ...]]


def alerting_tested(system: System, deliver: Deliver = deliver_now) -> Found:
    """Every route has an address, and every address takes a message that is marked as a test."""
    addresses = addresses_of(system.settings.alerts)
    wanted = routes_of(system.definition)
    if empty := [f"alerts.{route.value}" for route in wanted if not addresses[route]]:
        return failed(f"found {' and '.join(empty)} empty, wanted addresses; set them, then ra-guard alerts test")
    outcomes = deliver({route: addresses[route] for route in wanted}, trial(datetime.now(UTC)), WITHIN_S)
    if refused := [each for each in outcomes if each.why_not]:
        told = "; ".join(f"{each.receiver}: {each.why_not}" for each in refused)
        return failed(f"found {told}, wanted the test message delivered; see ra-guard alerts test")
    return passed(f"a test message reached {', '.join(each.receiver for each in outcomes)}")


def routes_of(definition: Definition) -> tuple[Route, ...]:
    """By which alerts and reports go out."""
    listed = (*(alert.routes for alert in definition.alerts), *(report.routes for report in definition.reports))
    used = {route for routes in listed for route in routes}
    return tuple(route for route in Route if route in used)
