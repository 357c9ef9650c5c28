"""Metrics of the watch: whether it sees, how old what it sees is, how near each trigger is, and whom it could tell."""

import math
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from ra_guard.alerts.delivery import Delivery
from ra_guard.config import Settings
from ra_guard.experiments.definition.measures import Alarm
from ra_guard.telemetry import exporters
from ra_guard.telemetry.instruments import Instruments
from ra_guard.watch.loop import Watch

TOTALS: Final = {
    "turns": ("{turn}", "Turns of the watch"),
    "failed_steps": ("{step}", "Steps of a turn that failed; the others happened"),
    "rollbacks": ("{rollback}", "Rollbacks that the watch ordered"),
    "advances": ("{advance}", "Stages to which the watch ramped"),
    "messages": ("{message}", "Messages to people"),
}
RECEIVED: Final = {
    "waiting": "Messages waiting for a receiver",
    "delivered": "Messages that a receiver took",
    "given_up": "Messages that a receiver did not take in time",
    "dropped": "Messages that found a receiver's line full",
}


def watch_metrics(
    settings: Settings, watch: Watch, delivery: Delivery, report: Callable[[BaseException], None]
) -> Instruments:
    """Registers all of them."""
    telemetry = settings.telemetry.model_copy(update={"metrics_port": settings.watch.metrics_port})
    readers = exporters.metric_readers(telemetry, [], host=settings.server.host, worker=0, report=report)
    metrics = Instruments(readers, exporters.control_resource("watch"))
    key = settings.experiment.key
    for name, (unit, description) in TOTALS.items():
        metrics.counter(
            f"ra_guard.watch.{name}",
            partial(getattr, watch.totals, name),
            unit=unit,
            description=description,
            experiment=key,
        )
    for name, description in (
        ("evidence_at", "Since the newest sign of life in the logs"),
        ("as_of", "Since the end of the last minute that was judged"),
    ):
        metrics.gauge(
            f"ra_guard.watch.{name}_age", _age_of(watch, name), unit="s", description=description, experiment=key
        )
    for name, description in RECEIVED.items():
        metrics.gauge(
            f"ra_guard.alerts.{name}",
            lambda name=name: float(sum(getattr(counts, name) for counts in delivery.counts())),  # type: ignore[misc]
            unit="{message}",
            description=description,
        )
    _triggers(metrics, watch, key)
    return metrics


def _triggers(metrics: Instruments, watch: Watch, key: str) -> None:
    """How near each trigger of the definition is; what belongs to no reading is left out."""
    for name, description, read in (
        ("value", "What was found, on the scale of the bound", lambda each: each.reading.value),
        ("minutes_crossed", "How long the bound has been crossed", lambda each: each.minutes_crossed),
        ("bound", "The bound itself", lambda each: each.alarm.bound),
    ):
        metrics.gauges(
            f"ra_guard.trigger.{name}",
            lambda read=read: [  # type: ignore[misc]
                (math.nan if read(each) is None else float(read(each)), _labels(key, each.alarm))
                for each in (watch.latest.triggers if watch.latest else ())
            ],
            unit="1",
            description=description,
        )


def _labels(key: str, alarm: Alarm) -> dict[str, str]:
    return {"experiment": key, "metric": alarm.metric.value, "scale": alarm.scale.value}


def _age_of(watch: Watch, name: str) -> Callable[[], float]:
    def read() -> float:
        at: datetime | None = getattr(watch.totals, name)
        return math.nan if at is None else time.time() - at.timestamp()

    return read
