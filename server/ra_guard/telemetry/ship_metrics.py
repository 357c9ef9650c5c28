"""Metrics of the process that ships logs: what left, what waits, and whether what was logged can be computed again."""

from collections.abc import Callable
from functools import partial
from typing import Final

from ra_guard.config import Settings
from ra_guard.logs.loop import ShipLoop
from ra_guard.telemetry import exporters
from ra_guard.telemetry.instruments import Instruments

TOTALS: Final = {
    "passes": ("{pass}", "Passes over the logs"),
    "failed_passes": ("{pass}", "Passes that the object store ended early"),
    "shipped": ("{segment}", "Segments shipped"),
    "shipped_bytes": ("By", "Bytes of segments shipped"),
    "deleted": ("{file}", "Files and objects that the retention took"),
}
STANDING: Final = {
    "waiting": ("{segment}", "Sealed segments on this machine's disk"),
    "waiting_bytes": ("By", "Their bytes"),
    "refused": ("{file}", "Files that cannot be shipped as they are"),
}
REPLAYED: Final = {
    "checked": "Logged records computed again",
    "different": "Of these, records whose bits differ",
    "unreadable": "Of these, records whose plan or generation is missing, or that are none",
}


def ship_metrics(settings: Settings, loop: ShipLoop, report: Callable[[BaseException], None]) -> Instruments:
    """Registers all of them. The endpoint is the next port after the workers'."""
    instance = settings.experiment.replica or "shipper"
    readers = exporters.metric_readers(
        settings.telemetry, [], host=settings.server.host, worker=settings.server.workers, report=report
    )
    metrics = Instruments(readers, exporters.resource(settings.server.workers, instance))
    for name, (unit, description) in TOTALS.items():
        metrics.counter(f"ra_guard.log.{name}", partial(getattr, loop.totals, name), unit=unit, description=description)
    for name, (unit, description) in STANDING.items():
        metrics.gauge(f"ra_guard.log.{name}", partial(getattr, loop.totals, name), unit=unit, description=description)
    if loop.sampler is not None:
        for name, description in REPLAYED.items():
            read = partial(getattr, loop.sampler, name)
            metrics.counter(f"ra_guard.replay.{name}", read, unit="{record}", description=description)
    return metrics
