import json
from collections.abc import Iterator
from typing import Any

import prometheus_client
import pytest
import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from ra_guard import _core
from ra_guard._core import Answer
from ra_guard.telemetry import exporters
from ra_guard.telemetry.drain import Drain
from ra_guard.telemetry.failures import REPEAT_NS
from ra_guard.telemetry.log import configure_logging
from ra_guard.telemetry.metrics import CORE_STAGES, DURATION_BOUNDS_S, Metrics, call_histograms
from ra_guard.telemetry.names import ARMS, REASONS, STAGES, STATUSES
from ra_guard.telemetry.records import CallRecord, FailureRecord, Records
from ra_guard.telemetry.traces import Traces
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.serving_core import answer, core_error, fallback

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
WALL_NS, CLOCK_NS = 1_800_000_000_000_000_000, 5_000_000_000


class Told:
    """A drain whose lines, metrics and spans a test can read."""

    def __init__(self, calls: str = "all", sample: float = 0.0) -> None:
        self.records = Records(100, lambda: CLOCK_NS)
        self.registry = prometheus_client.CollectorRegistry()
        self.spans = InMemorySpanExporter()
        self.lines = structlog.testing.LogCapture()
        histograms = call_histograms()
        resource = Resource.create({})
        self.metrics = Metrics([exporters.PrometheusReader(histograms, self.registry)], resource, histograms)
        self.drain = Drain(
            self.records,
            log=structlog.wrap_logger(None, processors=[self.lines], wrapper_class=structlog.BoundLogger),
            calls=calls,  # type: ignore[arg-type]
            metrics=self.metrics,
            traces=Traces([SimpleSpanProcessor(self.spans)], resource, sample),
            wall_ns=lambda: WALL_NS,
            clock_ns=lambda: CLOCK_NS,
        )

    def tell(self, *records: CallRecord | FailureRecord) -> None:
        for record in records:
            self.records.append(record)
        self.drain.tell_all()

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.drain.close()


def call(answered: Answer | None = None, *, took_ns: int = 300_000, code: str = "OK", parent: str = "") -> CallRecord:
    metadata = (("traceparent", parent),) if parent else ()
    return CallRecord("Rerank", CLOCK_NS - took_ns, CLOCK_NS, metadata, answered, code)


def test_names_are_those_of_the_wire() -> None:
    assert STATUSES[wire.STATUS_PARTIAL] == "partial"
    assert REASONS[wire.REASON_LEASE_EXPIRED] == "lease_expired"
    assert ARMS[wire.ARM_NOT_ENROLLED] == "not_enrolled"
    assert (*CORE_STAGES, "wait") == STAGES


def test_a_call_is_one_line(told: Told) -> None:
    told.tell(call(answer(request_id="r-7", cold=3)))
    (line,) = told.lines.entries
    assert line["event"] == "rerank"
    assert (line["request_id"], line["status"], line["reason"]) == ("r-7", "reranked", "unspecified")
    assert (line["assigned"], line["served"], line["cold"], line["took_us"]) == ("treatment", "treatment", 3, 300)
    assert line["stages_ns"]["score"] == 20_000


def test_a_refused_call_is_a_line_with_its_status(told: Told) -> None:
    told.tell(call(None, code="INVALID_ARGUMENT"))
    (line,) = told.lines.entries
    assert (line["log_level"], line["code"]) == ("warning", "INVALID_ARGUMENT")


@pytest.mark.parametrize(("calls", "reasons"), [("all", 4), ("fallbacks", 2), ("none", 0)])
def test_which_calls_get_a_line_is_configured(calls: str, reasons: int) -> None:
    told = Told(calls)
    told.tell(
        call(answer()),
        call(fallback(wire.REASON_CONTROL)),
        call(fallback(wire.REASON_KILLED)),
        call(fallback(wire.REASON_INTERNAL)),
    )
    assert len(told.lines.entries) == reasons
    told.drain.close()


def test_calls_are_counted_by_outcome(told: Told) -> None:
    told.tell(call(answer()), call(answer()), call(fallback(wire.REASON_KILLED)))
    labels = {"assigned": "treatment", "status": "reranked", "reason": "unspecified", "served": "treatment"}
    assert told.sample("ra_guard_rerank_calls_total", **labels) == 2
    labels |= {"status": "baseline", "reason": "killed", "served": "control"}
    assert told.sample("ra_guard_rerank_calls_total", **labels) == 1
    assert told.sample("ra_guard_rerank_candidates_total", state="scored") == 4


def test_times_are_histograms_with_buckets_below_a_millisecond(told: Told) -> None:
    told.tell(call(answer(), took_ns=300_000), call(answer(), took_ns=20_000_000))
    labels = {
        "rpc_system_name": "grpc",
        "rpc_method": "ra_guard.v1.Reranker/Rerank",
        "rpc_response_status_code": "OK",
    }
    name = "rpc_server_call_duration_seconds"
    assert told.sample(f"{name}_count", **labels) == 2
    assert told.sample(f"{name}_sum", **labels) == pytest.approx(0.0203)
    below = {bound: told.sample(f"{name}_bucket", le=str(bound), **labels) for bound in DURATION_BOUNDS_S}
    assert sum(bound < 1e-3 for bound in DURATION_BOUNDS_S) >= 10
    assert [below[bound] for bound in DURATION_BOUNDS_S if 3e-4 < bound < 0.02] == [1.0] * 10
    assert told.sample("ra_guard_stage_duration_seconds_sum", stage="score") == pytest.approx(4e-5)


def test_a_call_traced_by_its_caller_is_a_span_with_stages(told: Told) -> None:
    told.tell(call(answer(request_id="r-7"), parent=f"00-{TRACE_ID}-{SPAN_ID}-01"))
    finished: tuple[Any, ...] = told.spans.get_finished_spans()
    *stages, server = finished
    assert f"{server.context.trace_id:032x}" == TRACE_ID
    assert f"{server.parent.span_id:016x}" == SPAN_ID
    assert (server.start_time, server.end_time) == (WALL_NS - 300_000, WALL_NS)
    assert server.attributes["ra_guard.request_id"] == "r-7"
    assert [span.name for span in stages] == list(CORE_STAGES)
    assert all(span.parent.span_id == server.context.span_id for span in stages)
    assert [span.end_time - span.start_time for span in stages] == [1_000, 200, 3_000, 20_000, 900, 1_500]
    assert stages[-1].end_time == WALL_NS
    assert told.lines.entries[0]["trace_id"] == TRACE_ID


def test_a_call_that_its_caller_does_not_trace_is_no_span_and_keeps_its_trace_id(told: Told) -> None:
    told.tell(call(answer(), parent=f"00-{TRACE_ID}-{SPAN_ID}-00"), call(answer()))
    assert told.spans.get_finished_spans() == ()
    assert [line["trace_id"] for line in told.lines.entries] == [TRACE_ID, None]


def test_without_a_caller_the_configured_share_is_traced() -> None:
    told = Told(sample=1.0)
    told.tell(call(fallback(wire.REASON_INTERNAL)))
    server = told.spans.get_finished_spans()[-1]
    assert server.parent is None
    assert not server.status.is_ok
    assert told.lines.entries[0]["trace_id"] == f"{server.context.trace_id:032x}"
    told.drain.close()


def failing() -> BaseException:
    try:
        raise RuntimeError("boom")
    except RuntimeError as error:
        return error


def test_a_failure_is_told_once_a_minute_with_how_often(told: Told) -> None:
    error = failing()
    told.tell(*(FailureRecord(error, at_ns) for at_ns in (0, 1, 2, REPEAT_NS)))
    first, second = told.lines.entries
    assert (first["event"], first["variant"], first["repeated"]) == ("failure", "RuntimeError", 0)
    assert second["repeated"] == 2
    assert told.sample("ra_guard_failures_total", variant="RuntimeError") == 4


def test_another_cause_from_the_same_place_is_told_at_once(told: Told) -> None:
    place = failing().__traceback__
    causes = [core_error(_core.ShardError, variant).with_traceback(place) for variant in ("Truncated", "MissingFile")]
    told.tell(*(FailureRecord(error, 0) for error in [*causes, *causes]))
    assert [line["variant"] for line in told.lines.entries] == ["Truncated", "MissingFile"]


def test_a_full_queue_drops_and_counts() -> None:
    records = Records(2, lambda: 0)
    for _ in range(5):
        records.report(RuntimeError())
    assert records.dropped == 3
    assert [records.take() is not None for _ in range(3)] == [True, True, False]


def test_closing_tells_what_is_left() -> None:
    told = Told()
    told.drain.start()
    told.records.append(call(answer()))
    told.drain.close()
    assert len(told.lines.entries) == 1


def test_gauges_are_read_when_collected(told: Told) -> None:
    value = [1.0]
    told.metrics.gauge("ra_guard.some", lambda: value[0], unit="1", description="some", kernel="avx2")
    value[0] = 2.0
    assert told.sample("ra_guard_some", kernel="avx2") == 2.0
    value[0] = float("nan")
    assert told.sample("ra_guard_some", kernel="avx2") is None


def test_lines_are_json_and_carry_the_fixed_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logging("info", worker=3)
    log.debug("not told")
    log.info("told", größe=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line).items() >= {"event": "told", "worker": 3, "level": "info", "größe": 1}.items()
