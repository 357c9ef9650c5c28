"""The process that ships: passes over the workers' folders, and once in a while over what is too old.

What it does is said in lines, and again in numbers for whoever scrapes: a refusal or an outage is one line when it
begins or changes, not one a pass.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from ra_guard.errors import RaGuardError
from ra_guard.logs.retention import Retention, RetentionReport
from ra_guard.logs.ship import Shipper, ShipReport
from ra_guard.logs.verify import ReplaySampler

RETENTION_EVERY_S: Final = 3600.0


@dataclass
class ShipTotals:
    """Since the start of the process, and how it stands after the latest pass."""

    passes: int = 0
    failed_passes: int = 0
    shipped: int = 0
    shipped_bytes: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    refused: int = 0
    """Files, as of the latest pass."""
    deleted: int = 0
    """Files and objects that retention took."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """When days are deleted, and how many are kept; ``keep_days`` returns None while no plan has said."""

    retention: Retention
    keep_days: Callable[[], int | None]
    steady_s: Callable[[], float]


class ShipLoop:
    """Ships every few seconds, keeps to the retention every hour."""

    def __init__(
        self, shipper: Shipper, sampler: ReplaySampler | None, upkeep: Upkeep, log: FilteringBoundLogger
    ) -> None:
        self.totals = ShipTotals()
        self.sampler = sampler
        self._shipper = shipper
        self._upkeep = upkeep
        self._log = log
        self._next_upkeep_s = upkeep.steady_s()
        self._said: tuple[str | None, tuple[str, ...]] = (None, ())
        self._said_of_retention: str | None = None

    def run(self, stop: threading.Event, every_s: float) -> None:
        """Passes until ``stop``, and one last pass then: what workers sealed when they ended is shipped, too."""
        while True:
            stopping = stop.is_set()
            self.run_once()
            self.keep_up()
            if stopping:
                return
            stop.wait(every_s)

    def run_once(self) -> ShipReport:
        """One pass of shipping."""
        report = self._shipper.run_once()
        totals = self.totals
        totals.passes += 1
        totals.failed_passes += report.failure is not None
        totals.shipped += report.shipped
        totals.shipped_bytes += report.shipped_bytes
        totals.waiting, totals.waiting_bytes = report.waiting, report.waiting_bytes
        totals.refused = len(report.refused)
        self._say(report)
        return report

    def keep_up(self) -> RetentionReport | None:
        """Deletes what is too old, when it is time to look again."""
        if self._upkeep.steady_s() < self._next_upkeep_s:
            return None
        self._next_upkeep_s = self._upkeep.steady_s() + RETENTION_EVERY_S
        try:
            days = self._upkeep.keep_days()
            report = None if days is None else self._upkeep.retention.run_once(days)
        except RaGuardError as error:
            self._say_of_retention(str(error))
            return None
        if report is None:
            self._say_of_retention("found no plan that says how long to keep; nothing is deleted until one is shipped")
            return None
        self._say_of_retention(report.refused)
        for day, files in report.deleted.items():
            self.totals.deleted += files
            self._log.info("log_day_deleted", day=str(day), files=files, retention_days=report.retention_days)
        return report

    def _say(self, report: ShipReport) -> None:
        if report.shipped or report.recovered or report.already_there:
            self._log.info(
                "logs_shipped",
                segments=report.shipped,
                bytes=report.shipped_bytes,
                already_there=report.already_there,
                recovered=report.recovered,
                waiting=report.waiting,
            )
        failure, refused = self._said
        if report.failure is not None and failure is None:
            self._log.error(
                "logs_wait", error=report.failure, waiting=report.waiting, waiting_bytes=report.waiting_bytes
            )
        if report.failure is None and failure is not None:
            self._log.info("logs_wait_no_more", waiting=report.waiting)
        for why in report.refused:
            if why not in refused:
                self._log.error("log_refused", error=why)
        # A pass that ended early did not come to every file, so what it did not refuse is not forgotten.
        self._said = (report.failure, report.refused if report.failure is None else (*refused, *report.refused)[-100:])

    def _say_of_retention(self, why: str | None) -> None:
        if why is not None and why != self._said_of_retention:
            self._log.warning("log_retention_refused", why=why)
        self._said_of_retention = why
