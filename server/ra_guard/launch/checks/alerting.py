"""Whether people can be told: a test message to every address that the definition's alerts and reports lead to."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from ra_guard.alerts.addresses import READERS, Address, addresses_of
from ra_guard.alerts.delivery import Delivered, deliver_now
from ra_guard.alerts.message import Message, Reader
from ra_guard.alerts.notices import trial
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Route
from ra_guard.experiments.definition.words import spoken
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Found, failed, passed

WITHIN_S: Final = 20.0
"""For one receiver, all of them at the same time."""

Deliver = Callable[[Sequence[Address], Message, float], tuple[Delivered, ...]]


def alerting_tested(system: System, deliver: Deliver = deliver_now) -> Found:
    """Every reader has an address on every route, and every such address takes a message that is marked as a test."""
    configured = system.settings.alerts
    wanted = readers_of(system.definition)
    used = [each for each in addresses_of(configured) if any(each.tells(*pair) for pair in wanted)]
    if unreached := [pair for pair in wanted if not any(each.tells(*pair) for each in used)]:
        empty = " and ".join(f"alerts.{route}" for route in dict.fromkeys(route for route, _ in unreached))
        return failed(
            f"found {empty} empty, wanted addresses there, or in alerts.teams ({_in_words(unreached)}); "
            "set them, then ra-guard alerts test"
        )
    outcomes = deliver(used, trial(datetime.now(UTC)), WITHIN_S)
    if refused := [each for each in outcomes if each.why_not]:
        told = "; ".join(f"{each.receiver}: {each.why_not}" for each in refused)
        return failed(f"found {told}, wanted the test message delivered; see ra-guard alerts test")
    told = f"a test message reached {', '.join(each.receiver for each in outcomes)}"
    general = [(route, team) for route, team in wanted if team and not configured.teams.get(team, {}).get(route)]
    return passed(f"{told}; without addresses of their own: {_in_words(general)}" if general else told)


def readers_of(definition: Definition) -> tuple[tuple[Route, Reader], ...]:
    """By which routes alerts and reports go out, and to whom."""
    told: list[tuple[tuple[Route, ...], tuple[Reader, ...]]] = [
        (report.routes, report.to) for report in definition.reports
    ]
    for alert in definition.alerts:
        path = definition.escalation[: alert.escalates_to_level]
        told.append((alert.routes, tuple(step.to for step in path)))
        if path[0].after_minutes:
            told.append((alert.routes, (None,)))
    return tuple(
        (route, reader)
        for route in Route
        for reader in READERS
        if any(route in routes and reader in readers for routes, readers in told)
    )


def _in_words(pairs: Sequence[tuple[Route, Reader]]) -> str:
    told: dict[Route, list[str]] = {}
    for route, reader in pairs:
        told.setdefault(route, []).append(spoken(reader) if reader else "no team")
    return "; ".join(f"{route} for {', '.join(names)}" for route, names in told.items())
