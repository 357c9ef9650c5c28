"""Interleaved rounds and the latencies they yield.

Variants are visited A B C ... C B A, so that whatever drifts on the machine falls on all of them alike. A variant's
p50 is taken over all its calls; the range of its round medians shows how quiet the machine was.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TypeVar

from hdrh.histogram import HdrHistogram

Input = TypeVar("Input")
Argument = TypeVar("Argument")

LONGEST_NS = 60_000_000_000
"""Latencies beyond a minute are recorded as one minute."""

Call = Callable[[bytes], bytes]
"""Request bytes in, response bytes out."""
Round = Callable[[int], Sequence[int]]
"""Runs one visit of a variant, given the visit's number, and returns its latencies in nanoseconds."""


@dataclass(frozen=True)
class Latency:
    """Percentiles over all calls of a variant, and the range of its round medians, in microseconds."""

    calls: int
    p50_us: float
    p90_us: float
    p99_us: float
    p99_9_us: float
    max_us: float
    round_p50_us: tuple[float, float]

    def as_dict(self) -> dict[str, object]:
        """For the details of a run's JSON."""
        return asdict(self)


@dataclass
class Recorder:
    """Latencies of one variant: an HDR histogram with three significant digits, and the median of each round."""

    histogram: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, LONGEST_NS, 3))
    medians_ns: list[float] = field(default_factory=list)

    def add(self, latencies_ns: Sequence[int]) -> None:
        """Adds one round."""
        for latency in latencies_ns:
            self.histogram.record_value(min(max(latency, 1), LONGEST_NS))
        self.medians_ns.append(median(latencies_ns))

    def latency(self) -> Latency:
        """What the rounds came to. Raises ValueError before the first."""
        if not self.medians_ns:
            raise ValueError("a latency needs at least one round, found none")

        def at(percentile: float) -> float:
            return float(self.histogram.get_value_at_percentile(percentile)) / 1000

        return Latency(
            calls=self.histogram.get_total_count(),
            p50_us=at(50),
            p90_us=at(90),
            p99_us=at(99),
            p99_9_us=at(99.9),
            max_us=at(100),
            round_p50_us=(min(self.medians_ns) / 1000, max(self.medians_ns) / 1000),
        )


def interleave(variants: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """(round, variant) in visiting order: forward in even rounds, backward in odd ones."""
    for number in range(rounds):
        order = variants if number % 2 == 0 else variants[::-1]
        for variant in order:
            yield number, variant


def measure(variants: Mapping[str, Round], rounds: int) -> dict[str, Latency]:
    """Visits every variant in interleaved rounds; one unrecorded visit each comes first.

    A variant is handed the number of the visit, -1 for the unrecorded one, to draw its own inputs from.
    """
    recorders = {name: Recorder() for name in variants}
    with no_collector():
        for name in variants:
            variants[name](-1)
        for number, name in interleave(tuple(variants), rounds):
            recorders[name].add(variants[name](number))
    return {name: recorder.latency() for name, recorder in recorders.items()}


def time_calls(call: Callable[[Input], object], inputs: Iterable[Input]) -> list[int]:
    """Calls back to back; the latency of each in nanoseconds, clock reading (about 50 ns) included."""
    clock = time.perf_counter_ns
    latencies = []
    for item in inputs:
        start = clock()
        call(item)
        latencies.append(clock() - start)
    return latencies


def time_prepared(
    prepare: Callable[[Input], Argument], call: Callable[[Argument], object], inputs: Iterable[Input]
) -> list[int]:
    """The same for a call whose argument has to be new every time; making it is not timed."""
    clock = time.perf_counter_ns
    latencies = []
    for item in inputs:
        argument = prepare(item)
        start = clock()
        call(argument)
        latencies.append(clock() - start)
    return latencies


@contextmanager
def no_collector() -> Iterator[None]:
    """Keeps the garbage collector out of measured loops."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
