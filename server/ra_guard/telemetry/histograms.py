"""Histograms that cost a bisection to record, exported as OpenTelemetry's own.

A call is timed eight ways. OpenTelemetry's instruments take about 10 us for each, on the core that serves calls;
these take less than one, and join the others when a reader collects.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, Metric
from opentelemetry.sdk.metrics.export import Histogram as HistogramData


@dataclass(slots=True)
class _Series:
    """One histogram of one set of attributes; the last bucket is open."""

    counts: list[int]
    total: float = 0.0
    smallest: float = field(default=float("inf"))
    largest: float = field(default=float("-inf"))


class Histogram:
    """Values in fixed buckets, a series for each label. Thread-safe.

    ``bounds`` are upper limits, inclusive and ascending. ``attributes`` turns a label into metric attributes.
    """

    def __init__(
        self,
        name: str,
        *,
        unit: str,
        description: str,
        bounds: Sequence[float],
        attributes: Callable[[str], Mapping[str, str]],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._name, self._unit, self._description = name, unit, description
        self._bounds = tuple(bounds)
        self._attributes = attributes
        self._wall_ns = wall_ns
        self._since_ns = wall_ns()
        self._series: dict[str, _Series] = {}
        self._lock = threading.Lock()

    def record(self, values: Iterable[tuple[str, float]]) -> None:
        """Counts (label, value) pairs."""
        with self._lock:
            for label, value in values:
                series = self._series.get(label)
                if series is None:
                    series = self._series[label] = _Series([0] * (len(self._bounds) + 1))
                series.counts[bisect_left(self._bounds, value)] += 1
                series.total += value
                if value < series.smallest:
                    series.smallest = value
                if value > series.largest:
                    series.largest = value

    def collect(self) -> Metric:
        """Everything recorded since the start, cumulative."""
        now_ns = self._wall_ns()
        with self._lock:
            points = [self._point(label, series, now_ns) for label, series in self._series.items()]
        data = HistogramData(data_points=points, aggregation_temporality=AggregationTemporality.CUMULATIVE)
        return Metric(name=self._name, description=self._description, unit=self._unit, data=data)

    def _point(self, label: str, series: _Series, now_ns: int) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes=dict(self._attributes(label)),
            start_time_unix_nano=self._since_ns,
            time_unix_nano=now_ns,
            count=sum(series.counts),
            sum=series.total,
            bucket_counts=tuple(series.counts),
            explicit_bounds=self._bounds,
            min=series.smallest,
            max=series.largest,
        )
