"""Metrics of the control plane's process: who leads, who listens, and how long changes take to reach everyone."""

import math
from collections.abc import Callable

from ra_guard.config import Settings
from ra_guard.experiments.flag import FlagState
from ra_guard.experiments.plane import ControlPlane
from ra_guard.telemetry import exporters
from ra_guard.telemetry.histograms import Histogram
from ra_guard.telemetry.instruments import Instruments

SPREAD_BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The target is 1 s, the promise 300."""


class ControlMetrics(Instruments):
    """`spread` is told by the plane; the rest is read from it once `watch` has named it."""

    def __init__(self, settings: Settings, instance: str, report: Callable[[BaseException], None]) -> None:
        self._spread = Histogram(
            "ra_guard.plan.spread",
            unit="s",
            description="From a stored change to the moment when no replica serves an older plan",
            bounds=SPREAD_BOUNDS_S,
            attributes=lambda _: {},
        )
        telemetry = settings.telemetry.model_copy(update={"metrics_port": settings.control.metrics_port})
        readers = exporters.metric_readers(
            telemetry, [self._spread], host=settings.control.host, worker=0, report=report
        )
        super().__init__(readers, exporters.control_resource(instance))

    def spread(self, seconds: float) -> None:
        """A change has reached every replica, or the wait for it ended."""
        self._spread.record([("", seconds)])

    def watch(self, plane: ControlPlane, key: str) -> None:
        """Registers the values of a plane and of the experiment that this process was configured for."""
        self.gauge("ra_guard.control.leading", lambda: plane.leads(), unit="1", description="1 while it may write")
        self.gauge(
            "ra_guard.control.unstored_kills",
            lambda: plane.unstored_kills,
            unit="{kill}",
            description="Kills that replicas obey and the store has not taken yet",
        )
        self.gauge(
            "ra_guard.control.replicas",
            lambda: len(plane.replicas.revisions(key)),
            unit="{replica}",
            description="Replicas heard of",
            experiment=key,
        )
        self.gauge(
            "ra_guard.control.oldest_word",
            lambda: max((seen.age_s for seen in plane.replicas.listed(key)), default=math.nan),
            unit="s",
            description="Since the most silent replica spoke",
            experiment=key,
        )
        for state in FlagState:
            self.gauge(
                "ra_guard.control.flag",
                _flag_reader(plane, key, state),
                unit="1",
                description="1 for what the feature flag says",
                experiment=key,
                state=state.value,
            )


def _flag_reader(plane: ControlPlane, key: str, state: FlagState) -> Callable[[], float]:
    def read() -> float:
        reading = plane.flag(key)
        return math.nan if reading is None else float(reading.state is state)

    return read
