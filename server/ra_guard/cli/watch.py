"""``ra-guard watch``: looks after an experiment of a fleet whose control plane runs elsewhere."""

import signal
import threading
from pathlib import Path

import cyclopts

from ra_guard.cli.experiment import control_addresses
from ra_guard.config import load
from ra_guard.orders import WatchOrders
from ra_guard.telemetry.log import configure_logging
from ra_guard.watcher import serve

app = cyclopts.App(name="watch", help="Look after the experiment until SIGTERM.")


@app.default
def watch(*, config: Path | None = None) -> None:
    """Look after the experiment until SIGTERM or Ctrl-C: roll back, alert, ramp, report, by what the logs say.

    An experiment needs exactly one. `ra-guard serve` starts one beside the control plane that it starts.

    Parameters
    ----------
    config
        A TOML file with options to override; default.toml documents all of them.
    """
    settings = load(config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(
        WatchOrders(settings=settings, control=control_addresses(settings)),
        configure_logging(settings.log.level, process="watch"),
        stop,
    )
