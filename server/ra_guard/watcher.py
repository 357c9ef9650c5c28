"""The watch's process: ``python -m ra_guard.watcher``, started by serve.py, or ``ra-guard watch``.

The composition root of what looks after an experiment. Its orders are one line of JSON on standard input when serve.py
starts it; when standard input ends, so does it.
"""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from ra_guard import _core
from ra_guard.alerts.addresses import addresses_of
from ra_guard.alerts.board import State
from ra_guard.alerts.delivery import Delivery
from ra_guard.alerts.message import Links, Message
from ra_guard.client import ExperimentClient
from ra_guard.config import Alerts
from ra_guard.errors import RaGuardError
from ra_guard.logs.durable import appearing
from ra_guard.logs.objects import StoredObjects
from ra_guard.logs.parquet import LogReader
from ra_guard.orders import WatchOrders
from ra_guard.telemetry.failures import Failures
from ra_guard.telemetry.log import configure_logging
from ra_guard.telemetry.watch_metrics import watch_metrics
from ra_guard.watch.logs import Logs
from ra_guard.watch.loop import Tools, Watch
from ra_guard.watch.reporter import Reporter
from ra_guard.watch.seen import Seen
from ra_guard.worker import EXIT_DRAINED, EXIT_REFUSED, READY, watch_supervisor

NICENESS: Final = 10
"""Looking at logs waits for calls, not calls for it."""
BESIDE: Final = 2
"""A rollback and a report at a time."""
TELL_S: Final = 5.0
"""For messages that wait when the watch ends."""
CONTROL_S: Final = 15.0
"""For one answer of the control plane. A change counts once it is made: the next turn sees whether it was, and who has
heard is the control plane's to follow."""
READER: Final = LogReader(_core.read_log_columns, _core.read_feedback, _core.read_counts)


def links_of(alerts: Alerts) -> Links:
    """What messages point to."""
    return Links(alerts.dashboard, alerts.report, alerts.runbook)


class StandingFile:
    """Which alerts stand, kept across restarts: nothing is told twice, no acknowledgement is forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = ""

    def read(self) -> State:
        """What was kept last; none where there is nothing that holds."""
        try:
            return State.from_json(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError, UnicodeDecodeError):
            return State()

    def keep(self, state: State) -> None:
        """Replaces it, where it differs."""
        text = state.to_json()
        if text != self._kept:
            with appearing(self._path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            self._kept = text


def serve(orders: WatchOrders, log: FilteringBoundLogger, stop: threading.Event) -> None:
    """Watches until ``stop`` is set. Raises what opening the objects and the endpoint raise."""
    settings = orders.settings
    failures = Failures(log)
    objects = StoredObjects.open(settings.objects_url)
    key = settings.experiment.key
    standing = StandingFile(settings.run_dir / "watch" / f"{key}.alerts.json")
    addresses = addresses_of(settings.alerts)
    if not addresses:
        wanted = "alerts.slack, alerts.email or alerts.teams; see default.toml"
        log.warning("nobody_is_told", found="no address", wanted=wanted)
    delivery = Delivery(addresses, failures.report)
    links = links_of(settings.alerts)
    token = settings.watch.token or settings.control.token

    def offer(message: Message) -> None:
        """To the log too: what nobody could be told is still said."""
        log.info("message", kind=message.kind.value, title=message.title, summary=message.summary)
        delivery.offer(message)

    def follow(seen: Seen) -> Logs:
        return Logs(objects, settings.evidence_dir, READER, seen.experiment)

    client = ExperimentClient(orders.control, token=token, timeout_s=CONTROL_S)
    with client as control, ThreadPoolExecutor(BESIDE) as beside:
        tools = Tools(
            control=control,
            follow=follow,
            offer=offer,
            keep=standing.keep,
            beside=beside,
            reporter=Reporter(
                settings.reports_dir / key,
                f"the logs under {settings.objects_url}",
                hour_utc=settings.watch.report_hour,
                offer=offer,
                beside=beside,
                links=links,
                report=failures.report,
            ),
            links=links,
            report=failures.report,
        )
        watch = Watch(key, tools, lag=timedelta(seconds=settings.watch.lag_s), standing=standing.read())
        metrics = watch_metrics(settings, watch, delivery, failures.report)
        delivery.start()
        try:
            run(watch, settings.watch.every_s, stop)
        finally:
            delivery.close(TELL_S)
            metrics.close()
            watch.close()


def run(watch: Watch, every_s: float, stop: threading.Event) -> None:
    """A turn now and then one each ``every_s``, without making up for those that took longer."""
    next_s = time.monotonic()
    while True:
        watch.turn(datetime.now(UTC))
        next_s = max(next_s + every_s, time.monotonic())
        if stop.wait(max(0.0, next_s - time.monotonic())):
            return


def main() -> int:
    """Watches until SIGTERM or the end of standard input; returns the exit code."""
    orders = WatchOrders.model_validate_json(sys.stdin.readline())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears Ctrl-C and decides
    watch_supervisor(stop.set)
    os.nice(NICENESS)
    print(READY, flush=True)
    try:
        serve(orders, configure_logging(orders.settings.log.level, process="watch"), stop)
    except RaGuardError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_DRAINED


if __name__ == "__main__":
    sys.exit(main())
