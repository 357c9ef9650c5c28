"""`ra-guard alerts`: whether the people who must be told can be."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from rich.table import Table

from ra_guard.alerts.addresses import Address, addresses_of
from ra_guard.alerts.delivery import Delivered, deliver_now
from ra_guard.alerts.notices import trial
from ra_guard.cli.terminal import result_console
from ra_guard.config import Settings, load
from ra_guard.errors import ConfigError

app = cyclopts.App(name="alerts", help="Try the ways by which people are told.")

FAILED: Final = 1
WITHIN_S: Final = 30.0
"""For one receiver, all of them at the same time."""

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]


@app.command(name="test")
def try_routes(*, config: Path | None = None, as_json: Json = False) -> int:
    """Send a message marked as a test to every configured address; exit 1 unless each takes it.

    Parameters
    ----------
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    outcomes = deliver_now(_addresses(load(config)), trial(datetime.now(UTC)), WITHIN_S)
    if as_json:
        print(json.dumps([asdict(each) for each in outcomes]))
    else:
        result_console().print(_table(outcomes))
    return FAILED if any(each.why_not for each in outcomes) else 0


def _addresses(settings: Settings) -> tuple[Address, ...]:
    addresses = addresses_of(settings.alerts)
    if not addresses:
        raise ConfigError(
            "alerts.slack, alerts.email and alerts.teams: found no address, wanted one to try; see default.toml"
        )
    return addresses


def _table(outcomes: tuple[Delivered, ...]) -> Table:
    table = Table("Route", "Receiver", "Tells", "Outcome", title="A test message to every address")
    for each in outcomes:
        table.add_row(each.route, each.receiver, each.readers, each.why_not or "delivered")
    return table
