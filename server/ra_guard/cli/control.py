"""``ra-guard control``: the control plane on its own, for servers on other machines."""

from pathlib import Path

import cyclopts

from ra_guard.config import address_of, load
from ra_guard.control import serve
from ra_guard.orders import ControlOrders
from ra_guard.serve import reserve_port
from ra_guard.telemetry.log import configure_logging

app = cyclopts.App(name="control", help="Run a control plane until SIGTERM.")


@app.default
def control(*, config: Path | None = None) -> None:
    """Run a control plane until SIGTERM or Ctrl-C.

    Several instances may run over one PostgreSQL store: one is the writer, another takes over when it is gone.

    Parameters
    ----------
    config
        A TOML file with options to override; default.toml documents all of them.
    """
    settings = load(config)
    log = configure_logging(settings.log.level, process="control")
    reservation, port = reserve_port(settings.control.host, settings.control.port)
    with reservation:
        address = address_of(settings.control.host, port)
        serve(ControlOrders(settings=settings, port=port), log, lambda: log.info("serving", address=address))
