"""The Reranker service: raw bytes from gRPC to the data path and back, one record a call for telemetry.

No protobuf object is made here and nothing is rendered. A caller's mistake becomes a gRPC status; everything else
was answered by `serving.rerank`.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn

import grpc

from ra_guard._core import Answer
from ra_guard.errors import Code, RequestTooLarge, TooManyStreams, status_of
from ra_guard.rpc.streams import OpenStreams
from ra_guard.serving.executor import HandlerPool, Turn
from ra_guard.serving.rerank import Reranking
from ra_guard.telemetry.records import CallRecord, Records

SERVICE: Final = "ra_guard.v1.Reranker"
UNARY: Final = "Rerank"
STREAM: Final = "RerankStream"

_LONGEST_DEADLINE_S: Final = 86_400.0
"""A call without a deadline reports an astronomical one; beyond a day the difference does not matter."""


class Rerank:
    """One unary call. Runs on a `HandlerPool`, which knows how long it waited."""

    def __init__(self, reranking: Reranking, pool: HandlerPool, records: Records, *, max_request_bytes: int) -> None:
        self._reranking = reranking
        self._turn: Turn = pool.turn
        self._records = records
        self._max_request_bytes = max_request_bytes
        self.experimental_thread_pool = pool
        """Where grpcio runs this behaviour."""

    def __call__(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Bytes of a RerankRequest in, bytes of a RerankResponse out."""
        arrived_ns = time.monotonic_ns()
        turn = self._turn
        waited_ns = turn.queued_ns
        try:
            _check_size(request, self._max_request_bytes)
            if turn.shed:
                answer = self._reranking.refuse(request, waited_ns)
            else:
                deadline_ns = _deadline_ns(context, arrived_ns)
                answer = self._reranking.answer(request, arrived_ns - waited_ns, waited_ns, deadline_ns)
        except BaseException as error:  # noqa: BLE001 (a panic of the core is no Exception, and would hang the caller)
            _refuse(error, context, self._records, UNARY, arrived_ns - waited_ns)
        self._records.append(_record(UNARY, arrived_ns - waited_ns, context, answer))
        return answer.response


class RerankStream:
    """One long-lived stream: answers in the order of the requests, on one thread for as long as it is open."""

    def __init__(self, reranking: Reranking, streams: OpenStreams, records: Records, *, max_request_bytes: int) -> None:
        self._reranking = reranking
        self._streams = streams
        self._records = records
        self._max_request_bytes = max_request_bytes
        # One thread more than streams, to tell the one too many why it is refused.
        self.experimental_thread_pool = ThreadPoolExecutor(streams.limit + 1, thread_name_prefix="stream")
        """Where grpcio runs this behaviour."""

    def __call__(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answers until the caller or a drain ends the stream; the first mistake ends it with a status."""
        opened_ns = time.monotonic_ns()
        try:
            stream = self._streams.open(context)
        except TooManyStreams as error:
            _refuse(error, context, self._records, STREAM, opened_ns)
        try:
            for request in requests:
                stream.idle = False
                yield self._answer(request, context)
                stream.idle = True
                if self._streams.draining:
                    return
        finally:
            self._streams.close(stream)

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        arrived_ns = time.monotonic_ns()
        try:
            _check_size(request, self._max_request_bytes)
            answer = self._reranking.answer(request, arrived_ns, 0, _deadline_ns(context, arrived_ns))
        except BaseException as error:  # noqa: BLE001 (as for a unary call)
            _refuse(error, context, self._records, STREAM, arrived_ns)
        self._records.append(_record(STREAM, arrived_ns, context, answer))
        return answer.response


def reranker_handlers(unary: Rerank, stream: RerankStream) -> grpc.GenericRpcHandler:
    """The service's handlers; no serialisers, so that gRPC hands over bytes."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            UNARY: grpc.unary_unary_rpc_method_handler(unary),
            STREAM: grpc.stream_stream_rpc_method_handler(stream),
        },
    )


def _deadline_ns(context: grpc.ServicerContext, now_ns: int) -> int | None:
    remaining_s = context.time_remaining()
    if remaining_s is None or remaining_s > _LONGEST_DEADLINE_S:
        return None
    return now_ns + int(remaining_s * 1e9)


def _check_size(request: bytes, limit: int) -> None:
    if len(request) > limit:
        raise RequestTooLarge(
            f"request: found {len(request)} bytes, at most {limit} are taken; send fewer candidates, or raise "
            "server.max_request_bytes"
        )


def _record(method: str, started_ns: int, context: grpc.ServicerContext, answer: Answer) -> CallRecord:
    return CallRecord(method, started_ns, time.monotonic_ns(), context.invocation_metadata() or (), answer, "OK")


def _refuse(
    error: BaseException, context: grpc.ServicerContext, records: Records, method: str, started_ns: int
) -> NoReturn:
    """Ends the call with the status that the error is worth."""
    code = status_of(error)
    metadata = context.invocation_metadata() or ()
    records.append(CallRecord(method, started_ns, time.monotonic_ns(), metadata, None, code))
    if code is Code.INTERNAL:
        records.report(error)
    context.abort(grpc.StatusCode[code], str(error))
