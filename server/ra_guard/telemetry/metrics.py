"""Metrics of one worker process: counts and times of calls, and values read when somebody looks.

Calls are counted in plain dictionaries and histograms by the telemetry thread; OpenTelemetry reads them when it
collects. Exported by Prometheus, OTLP or a test's reader.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final, cast

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from ra_guard._core import Answer
from ra_guard.telemetry.failures import variant_of
from ra_guard.telemetry.histograms import Histogram
from ra_guard.telemetry.instruments import Instruments
from ra_guard.telemetry.names import ARMS, REASONS, STATUSES
from ra_guard.telemetry.records import CallRecord

DURATION_BOUNDS_S: Final = tuple(float(f"{1e-5 * 1.5**step:.3g}") for step in range(35))
"""10 us, and half as much again at each step, to 9.7 s."""
STAGE_BOUNDS_S: Final = tuple(float(f"{1e-7 * 2.0**step:.3g}") for step in range(24))
"""100 ns to 0.8 s: most stages take microseconds."""

CORE_STAGES: Final = ("decode", "assign", "lookup", "score", "order", "encode")
CANDIDATE_STATES: Final = ("scored", "cold", "unknown", "unlicensed")

_Outcome = tuple[int, int, int, int]

outcome_of = cast("Callable[[Answer], _Outcome]", attrgetter("status", "reason", "assigned_arm", "served_arm"))
stage_times_ns = cast("Callable[[Answer], tuple[int, ...]]", attrgetter(*(f"{stage}_ns" for stage in CORE_STAGES)))


def stage_times_s(answer: Answer) -> Iterable[float]:
    """Seconds along `CORE_STAGES`."""
    return (took_ns * 1e-9 for took_ns in stage_times_ns(answer))


candidate_counts = cast("Callable[[Answer], tuple[int, ...]]", attrgetter(*CANDIDATE_STATES))


def call_histograms() -> tuple[Histogram, Histogram]:
    """Durations of calls, labelled "method code"; of the core's stages, labelled by stage."""
    duration = Histogram(
        "rpc.server.call.duration",
        unit="s",
        description="From a call's arrival to its answer",
        bounds=DURATION_BOUNDS_S,
        attributes=_call_attributes,
    )
    stage = Histogram(
        "ra_guard.stage.duration",
        unit="s",
        description="Steps of a call inside the core",
        bounds=STAGE_BOUNDS_S,
        attributes=lambda stage: {"stage": stage},
    )
    return duration, stage


class Metrics(Instruments):
    """Counts and times of finished calls; one thread writes, any may collect."""

    def __init__(
        self, readers: Sequence[MetricReader], resource: Resource, histograms: tuple[Histogram, Histogram]
    ) -> None:
        """``histograms``: those of `call_histograms` that the readers export, see exporters.py."""
        self._duration, self._stage = histograms
        self._outcomes: Counter[_Outcome] = Counter()
        self._candidates = [0] * len(CANDIDATE_STATES)
        self._failures: Counter[str] = Counter()
        super().__init__(readers, resource)
        self._observe_calls()

    def call(self, record: CallRecord) -> None:
        """Counts and times one finished call."""
        took_s = (record.finished_ns - record.started_ns) * 1e-9
        self._duration.record([(f"{record.method} {record.code}", took_s)])
        if record.answer is None:
            return
        self._outcomes[outcome_of(record.answer)] += 1
        self._stage.record(zip(CORE_STAGES, stage_times_s(record.answer), strict=True))
        for state, number in enumerate(candidate_counts(record.answer)):
            self._candidates[state] += number

    def failure(self, error: BaseException) -> None:
        """Counts one failure by its cause."""
        self._failures[variant_of(error)] += 1

    def _observe_calls(self) -> None:
        create = self.meter.create_observable_counter
        create("ra_guard.rerank.calls", [self._observe_outcomes], "{call}", "Answered calls")
        create("ra_guard.rerank.candidates", [self._observe_candidates], "{candidate}", "Candidates, by state")
        create("ra_guard.failures", [self._observe_failures], "{failure}", "Failures that no caller saw as an error")

    def _observe_outcomes(self, _: CallbackOptions) -> Iterable[Observation]:
        for (status, reason, assigned, served), calls in list(self._outcomes.items()):
            attributes = {
                "status": STATUSES[status],
                "reason": REASONS[reason],
                "assigned": ARMS[assigned],
                "served": ARMS[served],
            }
            yield Observation(calls, attributes)

    def _observe_candidates(self, _: CallbackOptions) -> Iterable[Observation]:
        for state, number in zip(CANDIDATE_STATES, self._candidates, strict=True):
            yield Observation(number, {"state": state})

    def _observe_failures(self, _: CallbackOptions) -> Iterable[Observation]:
        for variant, times in list(self._failures.items()):
            yield Observation(times, {"variant": variant})


def _call_attributes(label: str) -> Mapping[str, str]:
    method, code = label.split()
    return {
        "rpc.system.name": "grpc",
        "rpc.method": f"ra_guard.v1.Reranker/{method}",
        "rpc.response.status_code": code,
    }
