"""The control plane's process: ``python -m ra_guard.control``, started by serve.py, or ``ra-guard control``.

The composition root of the control path: store, writer's seat, flags, plane, server. Its orders are one line of JSON
on standard input when serve.py starts it; when standard input ends, so does it.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from ra_guard.config import Settings, address_of
from ra_guard.errors import ConfigError, RaGuardError
from ra_guard.experiments.control_store import ControlStore, Entry, WriterLease
from ra_guard.experiments.flag import FlagSource, NoFlag, open_feature_flags
from ra_guard.experiments.model import Author
from ra_guard.experiments.plane import ControlPlane
from ra_guard.experiments.seat import WriterSeat
from ra_guard.orders import ControlOrders
from ra_guard.rpc.auth import Authoriser
from ra_guard.rpc.control_server import ControlServer
from ra_guard.rpc.experiment_admin import ExperimentAdmin
from ra_guard.telemetry.control_metrics import ControlMetrics
from ra_guard.telemetry.failures import Failures
from ra_guard.telemetry.log import configure_logging
from ra_guard.worker import EXIT_DRAINED, EXIT_REFUSED, READY, watch_supervisor

HOST_NAME_CHARACTERS = 100
FIRST_START = Author("ra-guard control", "first start of this store")


class ControlProcess:
    """One instance of the control plane, from settings. `run` serves until it is told to stop."""

    def __init__(self, orders: ControlOrders, log: FilteringBoundLogger) -> None:
        """Opens the store. Raises what `ControlStore.open`, the token file and the flag provider raise."""
        settings = orders.settings
        control = settings.control
        self._settings = settings
        self._log = log
        self._failures = Failures(log)
        holder = f"{socket.gethostname()[:HOST_NAME_CHARACTERS]}-{os.getpid()}"
        require_tokens_beyond_loopback(settings)
        self._authoriser = Authoriser(Path(control.tokens) if control.tokens else None)
        self._store = ControlStore.open(settings.store_url)
        self._flags: FlagSource = open_feature_flags(control.flag_provider) if control.flag_provider else NoFlag()
        self._closing = threading.Event()
        self._seat = WriterSeat(
            self._store, holder, wait=self._closing.wait, told=self._seated, ttl_s=control.writer_lease_s
        )
        self.metrics = ControlMetrics(settings, holder, self._failures.report)
        self.plane = ControlPlane(
            self._store,
            self._seat,
            flags=self._flags,
            announce=self._announce,
            observe_spread=self.metrics.spread,
            report=self._failures.report,
        )
        self.metrics.watch(self.plane, settings.experiment.key)
        self._address = address_of(control.host, orders.port)

    async def run(self, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serves until ``stopping`` is set; ``ready`` is called once the port answers."""
        admin = ExperimentAdmin(self.plane)
        server = ControlServer(self.plane, admin, self._authoriser, address=self._address, report=self._failures.report)
        seat = threading.Thread(target=self._seat.run, name="writer-seat", daemon=True)
        seat.start()
        await server.start()
        ready()
        try:
            while not stopping.is_set():
                await asyncio.get_running_loop().run_in_executor(None, self._tick)
                await server.tell_health()
                try:
                    await asyncio.wait_for(stopping.wait(), self._settings.control.flag_poll_s)
                except TimeoutError:
                    continue
        finally:
            await server.stop()
            self._closing.set()
            await asyncio.get_running_loop().run_in_executor(None, seat.join)
            self.metrics.close()
            self._store.close()

    def _tick(self) -> None:
        self.plane.tick()
        if not self.plane.leads():
            return
        try:
            self.plane.create_default(FIRST_START)
        except RaGuardError as error:
            self._failures.report(error)

    def _seated(self, lease: WriterLease | None) -> None:
        if lease is None:
            self._log.warning("writer_lease_lost", trouble=str(self._seat.trouble or ""))
        else:
            self._log.info("writer_lease_gained", holder=lease.holder, term=lease.term)

    def _announce(self, entry: Entry) -> None:
        self._log.info(
            "change",
            key=entry.key,
            revision=entry.revision,
            who=entry.who,
            why=entry.why,
            what=entry.what,
            numbers=dict(entry.numbers),
        )


def require_tokens_beyond_loopback(settings: Settings) -> None:
    """Refuses to listen where strangers may call without saying who they are. Raises ConfigError."""
    control = settings.control
    if not control.tokens and not _is_loopback(control.host):
        raise ConfigError(
            f"control.host: found {control.host} and no control.tokens, wanted a loopback address or a token file; "
            "anyone who reaches the port could turn the killswitch"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def serve(orders: ControlOrders, log: FilteringBoundLogger, ready: Callable[[], None]) -> None:
    """Runs one instance until SIGTERM or SIGINT."""
    process = ControlProcess(orders, log)

    async def main_loop() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await process.run(stopping, ready)

    asyncio.run(main_loop())


def main() -> int:
    """Serves until SIGTERM or the end of standard input; returns the exit code."""
    orders = ControlOrders.model_validate_json(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears Ctrl-C and decides
    log = configure_logging(orders.settings.log.level, process="control")
    watch_supervisor(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        serve(orders, log, lambda: print(READY, flush=True))
    except RaGuardError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_DRAINED


if __name__ == "__main__":
    sys.exit(main())
