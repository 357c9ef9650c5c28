"""What a server tells about its calls: spans to a collector, metrics to Prometheus, a line a call. Real connections."""

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from ra_guard.telemetry.metrics import CORE_STAGES

from tests.stand_ins.serving_process import enrol_everyone, free_ports, publish_gallery, request, serving

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
UNSAMPLED_TRACE = "1" * 32
CALLS = 5
WAIT_S = 30.0


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Reception)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Reception(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans.extend(scope.spans)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def collector() -> Iterator[Collector]:
    with Collector() as receiving:
        thread = threading.Thread(target=receiving.serve_forever)
        thread.start()
        try:
            yield receiving
        finally:
            receiving.shutdown()
            thread.join()


def test_the_callers_trace_is_continued_with_a_span_for_each_stage_and_only_when_sampled(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    enrol_everyone(tmp_path)
    with collector() as receiving:
        options = {"RA_GUARD_TELEMETRY__OTLP_ENDPOINT": receiving.url, "RA_GUARD_TELEMETRY__SAMPLE": "0.0"}
        with serving(tmp_path, workers=1, **options) as server:
            server.call(request(), metadata=(("traceparent", f"00-{TRACE}-{PARENT}-01"),))
            server.call(request(), metadata=(("traceparent", f"00-{UNSAMPLED_TRACE}-{PARENT}-00"),))
            server.call(request())
            assert server.stop() == 0, "what is left is exported before the end"
            lines = server.lines("rerank")
    calls = [span for span in receiving.spans if span.kind == Span.SPAN_KIND_SERVER]
    (call,) = calls
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    assert call.name == "ra_guard.v1.Reranker/Rerank"
    attributes = {each.key: each.value.string_value for each in call.attributes}
    assert (attributes["ra_guard.request_id"], attributes["ra_guard.status"]) == ("r-1", "reranked")
    stages = [span for span in receiving.spans if span.parent_span_id == call.span_id]
    assert [span.name for span in stages] == list(CORE_STAGES)
    assert all(call.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano for span in stages)
    assert {span.trace_id.hex() for span in receiving.spans} == {TRACE}
    assert [line["trace_id"] for line in lines] == [TRACE, UNSAMPLED_TRACE, None]


def test_a_line_a_call_and_histograms_that_resolve_microseconds(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    enrol_everyone(tmp_path)
    port = free_ports(1)
    with serving(tmp_path, workers=1, RA_GUARD_TELEMETRY__METRICS_PORT=str(port)) as server:
        for _ in range(CALLS):
            server.call(request())
        families = counted(port)
        assert server.stop() == 0
        lines = server.lines("rerank")
    assert [line["request_id"] for line in lines] == ["r-1"] * CALLS
    assert {line["status"] for line in lines} == {"reranked"}
    assert all(set(line["stages_ns"]) == set(CORE_STAGES) for line in lines)
    for histogram, smallest_s in (
        ("rpc_server_call_duration_seconds", 2e-5),
        ("ra_guard_stage_duration_seconds", 1e-6),
    ):
        bounds = {float(labels["le"]) for labels, _ in families[f"{histogram}_bucket"]}
        assert min(bounds) <= smallest_s
        assert sum(bound < 1e-3 for bound in bounds) >= 10
    assert sum(value for _, value in families["rpc_server_call_duration_seconds_count"]) == CALLS


Samples = dict[str, list[tuple[dict[str, str], float]]]


def counted(port: int) -> Samples:
    """The page of metrics once it has counted every call."""
    give_up = time.monotonic() + WAIT_S
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            families = text_string_to_metric_families(page.read().decode())
        samples: Samples = {}
        for family in families:
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        if sum(value for _, value in samples.get("ra_guard_rerank_calls_total", [])) == CALLS:
            return samples
        assert time.monotonic() < give_up, sorted(samples)
        time.sleep(0.05)
