"""The process that ships logs: ``python -m ra_guard.shipper``, started by serve.py, or ``ra-guard log ship``.

The composition root of the way from the workers' disks to the objects. Its orders are one line of JSON on standard
input; when standard input ends, so does it, after a last pass.
"""

import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from ra_guard import _core
from ra_guard.config import Settings
from ra_guard.errors import RaGuardError
from ra_guard.logs.loop import ShipLoop, Upkeep
from ra_guard.logs.objects import StoredObjects
from ra_guard.logs.plans import StoredPlans, longest_retention_days
from ra_guard.logs.retention import Clocks, ExportedDays, ObjectDays, Retention
from ra_guard.logs.ship import Folders, Shipper, Workers
from ra_guard.logs.verify import Finding, Outcome, ReplaySampler, SegmentReader, Verifier
from ra_guard.orders import ShipperOrders
from ra_guard.telemetry.failures import Failures
from ra_guard.telemetry.log import configure_logging
from ra_guard.telemetry.ship_metrics import ship_metrics
from ra_guard.worker import EXIT_DRAINED, EXIT_REFUSED, READY, watch_supervisor

NICENESS: Final = 10
"""Shipping and replaying wait for calls, not calls for them."""

CLOCKS: Final = Clocks(lambda: datetime.now(UTC), lambda: time.clock_gettime(time.CLOCK_BOOTTIME))


def ship_loop(settings: Settings, log: FilteringBoundLogger) -> ShipLoop:
    """Everything that the process which ships is made of."""
    objects = StoredObjects.open(settings.objects_url)

    def report(finding: Finding) -> None:
        log.error("replay_differs" if finding.outcome is Outcome.DIFFERENT else "replay_failed", finding=str(finding))

    verifier = verifier_of(settings, settings.gallery_dir, objects)
    share = settings.log.verify_share
    sampler = ReplaySampler(verifier, share, report) if share > 0 else None
    shipper = Shipper(
        Folders(settings.candidate_log_dir, settings.feedback_log_dir, settings.plan_dir),
        objects,
        Workers(
            recover=lambda folder: _core.recover_logs(str(folder)),
            has_ended=lambda path: not _core.read_counts(str(path))["alive"],
        ),
        None if sampler is None else sampler.examine,
    )
    upkeep = Upkeep(
        Retention([ObjectDays(objects), ExportedDays(settings.evidence_dir)], CLOCKS),
        lambda: longest_retention_days(objects),
        CLOCKS.steady_s,
    )
    return ShipLoop(shipper, sampler, upkeep, log)


def verifier_of(settings: Settings, gallery: Path, objects: StoredObjects) -> Verifier:
    """Replays records against a gallery, with the plans of this machine and those that were shipped."""
    reader = SegmentReader(_core.read_log, _core.read_log_columns)
    return Verifier(_core.Replay(str(gallery)), StoredPlans(settings.plan_dir, objects), reader)


def serve(settings: Settings, log: FilteringBoundLogger, stop: threading.Event) -> None:
    """Ships until ``stop`` is set, and once more then."""
    loop = ship_loop(settings, log)
    metrics = ship_metrics(settings, loop, Failures(log).report)
    try:
        loop.run(stop, settings.log.ship_s)
    finally:
        metrics.close()


def main() -> int:
    """Ships until SIGTERM or the end of standard input; returns the exit code."""
    orders = ShipperOrders.model_validate_json(sys.stdin.readline())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears Ctrl-C and decides
    watch_supervisor(stop.set)
    os.nice(NICENESS)
    print(READY, flush=True)
    try:
        serve(orders.settings, configure_logging(orders.settings.log.level, process="shipper"), stop)
    except RaGuardError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_DRAINED


if __name__ == "__main__":
    sys.exit(main())
