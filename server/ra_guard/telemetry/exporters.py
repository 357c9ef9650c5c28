"""Where metrics and traces go: Prometheus, OTLP over HTTP. Built in the process that uses them: they fork badly.

OTLP is imported where it is configured: it takes a third of a second, which every start would pay.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import prometheus_client
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import (
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ra_guard.config import Telemetry
from ra_guard.telemetry.histograms import Histogram

EXPORT_TIMEOUT_S = 2
"""A dead collector costs a background thread this long, and no call anything."""

_SCOPE = InstrumentationScope("ra_guard")


class PrometheusReader(PrometheusMetricReader):
    """Shows what OpenTelemetry collected, and our own histograms."""

    def __init__(self, histograms: Sequence[Histogram], registry: prometheus_client.CollectorRegistry) -> None:
        self._histograms = histograms
        super().__init__(scope_info_enabled=False, registry=registry)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(with_histograms(metrics_data, self._histograms), timeout_millis, **kwargs)


class OtlpReader(PeriodicExportingMetricReader):
    """Sends what OpenTelemetry collected, and our own histograms, once a minute."""

    def __init__(self, histograms: Sequence[Histogram], endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        self._histograms = histograms
        super().__init__(OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=EXPORT_TIMEOUT_S))

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(with_histograms(metrics_data, self._histograms), timeout_millis, **kwargs)


def with_histograms(collected: MetricsData, histograms: Sequence[Histogram]) -> MetricsData:
    """One more scope in what a reader received."""
    ours = ScopeMetrics(scope=_SCOPE, metrics=[histogram.collect() for histogram in histograms], schema_url="")
    first, *others = collected.resource_metrics
    extended: ResourceMetrics = replace(first, scope_metrics=[*first.scope_metrics, ours])
    return MetricsData(resource_metrics=[extended, *others])


def resource(worker: int, replica: str) -> Resource:
    """What all metrics and spans of this process say about it."""
    return Resource.create({"service.name": "ra-guard", "service.instance.id": replica, "ra_guard.worker": worker})


def control_resource(instance: str) -> Resource:
    """What all metrics of a control plane say about it."""
    return Resource.create({"service.name": "ra-guard-control", "service.instance.id": instance})


def metric_readers(
    telemetry: Telemetry,
    histograms: Sequence[Histogram],
    *,
    host: str,
    worker: int,
    report: Callable[[BaseException], None],
) -> list[MetricReader]:
    """Prometheus on ``metrics_port + worker`` and OTLP, each if configured. A port in use is reported, not fatal."""
    readers: list[MetricReader] = []
    if telemetry.metrics_port:
        registry = prometheus_client.CollectorRegistry()
        try:
            prometheus_client.start_http_server(telemetry.metrics_port + worker, addr=host, registry=registry)
            readers.append(PrometheusReader(histograms, registry))
        except (OSError, OverflowError) as error:  # a port in use; one beyond 65535
            report(error)
    if telemetry.otlp_endpoint:
        readers.append(OtlpReader(histograms, telemetry.otlp_endpoint))
    return readers


def span_processors(telemetry: Telemetry) -> list[SpanProcessor]:
    """OTLP if configured."""
    if not telemetry.otlp_endpoint:
        return []
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(f"{telemetry.otlp_endpoint}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    return [BatchSpanProcessor(exporter)]
