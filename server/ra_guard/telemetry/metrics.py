"""Metrics of one worker process, as OpenTelemetry instruments; exported by Prometheus, OTLP or a test's reader."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from ra_guard._core import Answer
from ra_guard.telemetry.names import ARMS, REASONS, STATUSES
from ra_guard.telemetry.records import CallRecord

DURATION_BUCKETS_S: Final = tuple(round(1e-5 * 1.5**step, 9) for step in range(35))
"""10 us, and half as much again at each step, to 9.7 s."""
STAGE_BUCKETS_S: Final = tuple(round(1e-7 * 2.0**step, 9) for step in range(24))
"""100 ns to 0.8 s: most stages take microseconds."""

CORE_STAGES: Final = ("decode", "assign", "lookup", "score", "order", "encode")
CANDIDATE_STATES: Final = ("scored", "cold", "unknown", "unlicensed")

Gauge = Callable[[], float]


class Metrics:
    """Counts and times of finished calls, and gauges read when somebody looks."""

    def __init__(self, readers: Sequence[MetricReader], resource: Resource) -> None:
        self._provider = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
        self._meter = self._provider.get_meter("ra_guard")
        self._calls = self._meter.create_counter("ra_guard.rerank.calls", unit="{call}", description="Answered calls")
        self._candidates = self._meter.create_counter(
            "ra_guard.rerank.candidates", unit="{candidate}", description="Candidates of answered calls, by state"
        )
        self._failures = self._meter.create_counter(
            "ra_guard.failures", unit="{failure}", description="Failures that callers did not see as errors"
        )
        self._duration = self._meter.create_histogram(
            "rpc.server.call.duration",
            unit="s",
            description="From a handler's start to its answer, queueing included",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS_S,
        )
        self._stage = self._meter.create_histogram(
            "ra_guard.stage.duration",
            unit="s",
            description="Steps of a call inside the core",
            explicit_bucket_boundaries_advisory=STAGE_BUCKETS_S,
        )
        self._stage_attributes = {stage: {"stage": stage} for stage in CORE_STAGES}
        self._state_attributes = {state: {"state": state} for state in CANDIDATE_STATES}

    def gauge(self, name: str, read: Gauge, *, unit: str, description: str, **attributes: str) -> None:
        """Registers a value that is read at each collection; NaN is left out."""
        self._meter.create_observable_gauge(name, [_observing(read, attributes)], unit, description)

    def counter(self, name: str, read: Gauge, *, unit: str, description: str, **attributes: str) -> None:
        """Registers a total kept elsewhere, read at each collection."""
        self._meter.create_observable_counter(name, [_observing(read, attributes)], unit, description)

    def call(self, record: CallRecord) -> None:
        """Counts and times one finished call."""
        attributes = {
            "rpc.system.name": "grpc",
            "rpc.method": f"ra_guard.v1.Reranker/{record.method}",
            "rpc.response.status_code": record.code,
        }
        self._duration.record((record.finished_ns - record.started_ns) * 1e-9, attributes)
        if record.answer is not None:
            self._answer(record.answer)

    def failure(self, error: BaseException) -> None:
        """Counts one failure by its cause."""
        self._failures.add(1, {"variant": getattr(error, "variant", type(error).__name__)})

    def close(self) -> None:
        """Exports what is left and stops the readers."""
        self._provider.shutdown()

    def _answer(self, answer: Answer) -> None:
        self._calls.add(
            1,
            {
                "status": STATUSES[answer.status],
                "reason": REASONS[answer.reason],
                "assigned": ARMS[answer.assigned_arm],
                "served": ARMS[answer.served_arm],
            },
        )
        for stage, attributes in self._stage_attributes.items():
            self._stage.record(getattr(answer, f"{stage}_ns") * 1e-9, attributes)
        for state, attributes in self._state_attributes.items():
            if number := getattr(answer, state):
                self._candidates.add(number, attributes)


def _observing(read: Gauge, attributes: Mapping[str, str]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        value = read()
        if value == value:  # not NaN
            yield Observation(value, attributes)

    return observe
