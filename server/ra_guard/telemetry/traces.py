"""Spans of finished calls, built after the fact with explicit times, and only for calls that are sampled."""

from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ra_guard.telemetry.metrics import CORE_STAGES, stage_times_ns
from ra_guard.telemetry.names import ARMS, REASONS, STATUSES
from ra_guard.telemetry.records import CallRecord

_HEADERS: Final = ("traceparent", "tracestate")


class Traces:
    """Turns call records into spans. The caller's W3C context is continued and its sampled flag followed."""

    def __init__(self, processors: Sequence[SpanProcessor], resource: Resource, sample: float) -> None:
        """``sample``: share of calls traced when the caller did not decide."""
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)), resource=resource, shutdown_on_exit=False
        )
        self._exports = bool(processors)
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("ra_guard")
        self._propagator = TraceContextTextMapPropagator()

    def call(self, record: CallRecord, wall_offset_ns: int) -> str | None:
        """Emits the spans of one call if it is sampled; returns the trace id to log, None when there is none.

        ``wall_offset_ns``: nanoseconds since the epoch minus `time.monotonic_ns`.
        """
        parent = self._parent(record.metadata)
        callers = trace.get_current_span(parent).get_span_context()
        if not self._exports:
            return _hex(callers)
        started_ns = record.started_ns + wall_offset_ns
        span = self._tracer.start_span(
            f"ra_guard.v1.Reranker/{record.method}", context=parent, kind=SpanKind.SERVER, start_time=started_ns
        )
        if not span.is_recording():
            return _hex(callers)
        self._describe(span, record)
        self._stages(span, record, started_ns)
        span.end(record.finished_ns + wall_offset_ns)
        return _hex(span.get_span_context())

    def close(self) -> None:
        """Exports what is left."""
        self._provider.shutdown()

    def _parent(self, metadata: Sequence[tuple[str, str | bytes]]) -> Context:
        carrier = {key: value for key, value in metadata if key in _HEADERS and isinstance(value, str)}
        return self._propagator.extract(carrier, context=Context()) if carrier else Context()

    def _describe(self, span: trace.Span, record: CallRecord) -> None:
        span.set_attributes(
            {
                "rpc.system.name": "grpc",
                "rpc.method": f"ra_guard.v1.Reranker/{record.method}",
                "rpc.response.status_code": record.code,
            }
        )
        answer = record.answer
        if answer is None:
            return
        if REASONS[answer.reason] == "internal":
            span.set_status(Status(StatusCode.ERROR, "answered with the baseline"))
        span.set_attributes(
            {
                "ra_guard.request_id": answer.request_id,
                "ra_guard.status": STATUSES[answer.status],
                "ra_guard.reason": REASONS[answer.reason],
                "ra_guard.assigned": ARMS[answer.assigned_arm],
                "ra_guard.served": ARMS[answer.served_arm],
                "ra_guard.plan_revision": answer.plan_revision,
                "ra_guard.generation": answer.generation,
                "ra_guard.candidates": answer.candidates,
                "ra_guard.scored": answer.scored,
            }
        )

    def _stages(self, parent: trace.Span, record: CallRecord, started_ns: int) -> None:
        """The core's steps as child spans, back to back up to the end of the call: the core says how long each took."""
        if record.answer is None:
            return
        took_ns = stage_times_ns(record.answer)
        at_ns = started_ns + max(0, record.finished_ns - record.started_ns - sum(took_ns))
        context = trace.set_span_in_context(parent, Context())
        for stage, ns in zip(CORE_STAGES, took_ns, strict=True):
            child = self._tracer.start_span(stage, context=context, start_time=at_ns)
            at_ns += ns
            child.end(at_ns)


def _hex(context: trace.SpanContext) -> str | None:
    return f"{context.trace_id:032x}" if context.is_valid else None
