"""Where metrics and traces go: Prometheus, OTLP over HTTP. Built in the process that uses them; none survives a fork."""

from collections.abc import Callable

import prometheus_client
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ra_guard.config import Telemetry

EXPORT_TIMEOUT_S = 2
"""A dead collector costs a background thread this long, and no call anything."""


def resource(worker: int, replica: str) -> Resource:
    """What all metrics and spans of this process say about it."""
    return Resource.create({"service.name": "ra-guard", "service.instance.id": f"{replica}/{worker}"})


def metric_readers(
    telemetry: Telemetry, *, host: str, worker: int, report: Callable[[BaseException], None]
) -> list[MetricReader]:
    """Prometheus on ``metrics_port + worker`` and OTLP, each if configured. A port in use is reported, not fatal."""
    readers: list[MetricReader] = []
    if telemetry.metrics_port:
        try:
            prometheus_client.start_http_server(telemetry.metrics_port + worker, addr=host)
            readers.append(PrometheusMetricReader())
        except OSError as error:
            report(error)
    if telemetry.otlp_endpoint:
        exporter = OTLPMetricExporter(f"{telemetry.otlp_endpoint}/v1/metrics", timeout=EXPORT_TIMEOUT_S)
        readers.append(PeriodicExportingMetricReader(exporter))
    return readers


def span_processors(telemetry: Telemetry) -> list[SpanProcessor]:
    """OTLP if configured."""
    if not telemetry.otlp_endpoint:
        return []
    exporter = OTLPSpanExporter(f"{telemetry.otlp_endpoint}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    return [BatchSpanProcessor(exporter)]
