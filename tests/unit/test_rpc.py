"""The gRPC side over real connections, with a scripted core behind it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from ra_guard import _core
from ra_guard.errors import TooManyStreams, TritonTimeout
from ra_guard.rpc import reranker
from ra_guard.rpc.health import Health, canary_probe
from ra_guard.rpc.interceptors import ErrorBoundary
from ra_guard.rpc.server import Server, Services
from ra_guard.rpc.streams import OpenStreams
from ra_guard.serving.admission import Admission
from ra_guard.serving.cold_text import ColdTexts
from ra_guard.serving.executor import HandlerPool
from ra_guard.serving.pool import PoolDraw
from ra_guard.serving.rerank import Reranking
from ra_guard.telemetry.records import CallRecord, FailureRecord, Records
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.serving_core import ScriptedCore, answer, core_error

UNARY, STREAM = "/ra_guard.v1.Reranker/Rerank", "/ra_guard.v1.Reranker/RerankStream"
MAX_REQUEST_BYTES = 4096


@dataclass
class Front:
    """A server over one scripted core, and a channel to it."""

    core: ScriptedCore
    max_streams: int = 2
    shed_after_ns: int = 60_000_000_000
    admin: grpc.GenericRpcHandler | None = None
    healthy: bool = True
    records: Records = field(default_factory=lambda: Records(1000, time.monotonic_ns))

    def __post_init__(self) -> None:
        texts = ColdTexts(self.core.engine, None, waits=1, report=self.records.report)
        reranking = Reranking(
            self.core.engine,
            Admission(1000),
            texts=texts,
            pools=PoolDraw(self.core.engine, texts, None),
            cold=None,
            cold_wait=None,
            report=self.records.report,
        )
        self.pool = HandlerPool(2, self.shed_after_ns)
        self.streams = OpenStreams(self.max_streams)
        self.health = Health({reranker.SERVICE: lambda: self.healthy}, interval_s=60, report=self.records.report)
        unary = reranker.Rerank(reranking, self.pool, self.records, max_request_bytes=MAX_REQUEST_BYTES)
        stream = reranker.RerankStream(reranking, self.streams, self.records, max_request_bytes=MAX_REQUEST_BYTES)
        handlers = [reranker.reranker_handlers(unary, stream)]
        if self.admin is not None:
            handlers.append(ErrorBoundary(self.admin, self.records.report))
        services = Services(handlers, (reranker.SERVICE,), self.health, self.streams, self.pool)
        self.server = Server(services, address="127.0.0.1:0", max_message_bytes=1 << 20, drain_grace_s=5)
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.rerank: Any = self.channel.unary_unary(UNARY)
        self.rerank_stream: Any = self.channel.stream_stream(STREAM)

    def told(self) -> list[CallRecord | FailureRecord]:
        return list(iter(self.records.take, None))

    def close(self) -> None:
        self.channel.close()
        self.server.drain()
        self.pool.shutdown()


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front(ScriptedCore(answer(response=b"ranked")))
    yield made
    made.close()


def status(front: Front, request: bytes = b"request") -> Any:
    with pytest.raises(grpc.RpcError) as refused:
        front.rerank(request, timeout=5)
    return refused.value


def test_bytes_go_in_and_bytes_come_out(front: Front) -> None:
    assert front.rerank(b"request", metadata=[("traceparent", "00-x")], timeout=5) == b"ranked"
    (record,) = front.told()
    assert isinstance(record, CallRecord)
    assert (record.method, record.code) == ("Rerank", "OK")
    assert ("traceparent", "00-x") in record.metadata
    assert record.started_ns < record.finished_ns


def test_the_deadline_is_read_on_entry(front: Front) -> None:
    front.rerank(b"request", timeout=5)
    front.rerank(b"request")
    bounded, unbounded = front.core.deadlines_ns
    assert unbounded is None
    assert bounded is not None
    assert 0 < bounded - time.monotonic_ns() < 5.1e9


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            core_error(_core.RequestError, "TopK", "top_k: found 2000, allowed 0..1000"),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (core_error(_core.RequestError, "Malformed", "no request"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_callers_mistake_is_a_status_with_the_cores_words(error: _core.CoreError, code: grpc.StatusCode) -> None:
    front = Front(ScriptedCore(error))
    refused = status(front)
    assert (refused.code(), refused.details()) == (code, str(error))
    assert [record.code for record in front.told() if isinstance(record, CallRecord)] == [code.name]
    front.close()


def test_too_many_bytes_are_refused_with_the_limit(front: Front) -> None:
    refused = status(front, b"x" * (MAX_REQUEST_BYTES + 1))
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4097" in refused.details()
    assert "server.max_request_bytes" in refused.details()


def test_too_many_bytes_are_refused_in_the_express_lane_too() -> None:
    front = Front(ScriptedCore(), shed_after_ns=-1)
    assert status(front, bytes(MAX_REQUEST_BYTES + 1)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert front.core.fallbacks == []
    front.close()


def test_more_than_any_message_may_have_is_refused_by_the_transport(front: Front) -> None:
    assert status(front, b"x" * (1 << 21)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_panic_of_the_core_is_an_answer() -> None:
    front = Front(ScriptedCore(BaseException("panic")))
    front.rerank(b"request", timeout=5)
    assert front.core.fallbacks == [wire.REASON_INTERNAL]
    front.close()


def test_even_a_core_that_cannot_fall_back_does_not_hang_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    front = Front(ScriptedCore(BaseException("panic")))
    monkeypatch.setattr(front.core, "fall_back", lambda *_, **__: (_ for _ in ()).throw(BaseException("again")))
    assert status(front).code() is grpc.StatusCode.INTERNAL
    front.close()


def test_a_stream_answers_in_order() -> None:
    front = Front(ScriptedCore(*(answer(response=b"%d" % n) for n in range(5))))
    assert list(front.rerank_stream(iter([b"request"] * 5), timeout=5)) == [b"0", b"1", b"2", b"3", b"4"]
    assert {record.method for record in front.told() if isinstance(record, CallRecord)} == {"RerankStream"}
    front.close()


def test_a_mistake_ends_a_stream_with_its_status() -> None:
    front = Front(ScriptedCore(answer(response=b"0"), core_error(_core.RequestError, "TopK", "top_k: found")))
    answers = front.rerank_stream(iter([b"request"] * 3), timeout=5)
    assert next(answers) == b"0"
    with pytest.raises(grpc.RpcError) as refused:
        next(answers)
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "top_k: found")
    front.close()


class HeldOpen:
    """A stream that sends when told, and stays open."""

    def __init__(self, front: Front) -> None:
        self._requests: list[bytes] = []
        self._told = threading.Condition()
        self._ended = False
        self.answers = front.rerank_stream(iter(self._next, None), timeout=20)

    def _next(self) -> bytes | None:
        with self._told:
            self._told.wait_for(lambda: self._requests or self._ended, 20)
            return self._requests.pop(0) if self._requests else None

    def ask(self) -> bytes:
        with self._told:
            self._requests.append(b"request")
            self._told.notify()
        return bytes(next(self.answers))

    def end(self) -> None:
        with self._told:
            self._ended = True
            self._told.notify()


def test_one_stream_too_many_is_refused_and_unary_calls_go_on(front: Front) -> None:
    held = [HeldOpen(front) for _ in range(2)]
    assert [stream.ask() for stream in held] == [b"ranked", b"ranked"]
    with pytest.raises(grpc.RpcError) as refused:
        list(front.rerank_stream(iter([b"request"]), timeout=5))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "server.max_streams" in str(refused.value.details())
    assert front.rerank(b"request", timeout=5) == b"ranked"
    for stream in held:
        stream.end()
        assert list(stream.answers) == []


def test_streams_are_counted() -> None:
    streams = OpenStreams(1)
    first = streams.open(None)  # type: ignore[arg-type]
    with pytest.raises(TooManyStreams):
        streams.open(None)  # type: ignore[arg-type]
    streams.close(first)
    assert len(streams) == 0


def test_overload_is_answered_while_every_thread_is_held() -> None:
    hold, held_threads = threading.Event(), threading.Semaphore(0)

    def held() -> _core.Answer:
        held_threads.release()
        hold.wait(10)
        return answer(response=b"late")

    front = Front(ScriptedCore(held), shed_after_ns=200_000_000)
    inside = [front.rerank.future(b"request", timeout=10) for _ in range(2)]
    assert all(held_threads.acquire(timeout=5) for _ in inside)
    queued = front.rerank.future(b"request", timeout=10)
    give_up = time.monotonic() + 5
    late = []
    while not front.core.fallbacks and time.monotonic() < give_up:
        late.append(front.rerank.future(b"request", timeout=10))
        time.sleep(0.05)
    assert front.core.fallbacks[0] == wire.REASON_OVERLOAD
    assert not any(call.done() for call in inside)
    hold.set()
    assert [call.result(5) for call in inside] == [b"late", b"late"]
    assert queued.result(5) == b"response", "it waited too long, and got the baseline"
    front.close()


def test_a_drain_answers_what_is_in_flight_and_ends_streams() -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow() -> _core.Answer:
        inside.set()
        leave.wait(5)
        return answer(response=b"in flight")

    front = Front(ScriptedCore(answer(response=b"streamed"), slow))
    stream = HeldOpen(front)
    assert stream.ask() == b"streamed"
    call = front.rerank.future(b"request", timeout=10)
    assert inside.wait(5)
    draining = threading.Thread(target=front.server.drain)
    draining.start()
    time.sleep(0.1)
    leave.set()
    assert call.result(5) == b"in flight"
    draining.join(10)
    assert not draining.is_alive(), "an idle stream does not hold a drain up"
    stream.end()
    front.pool.shutdown()
    front.channel.close()


def health_of(front: Front, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(front.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)


def test_health_follows_its_probes(front: Front) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert [health_of(front, name) for name in (reranker.SERVICE, "")] == [serving, serving]
    front.healthy = False
    front.health.probe()
    assert [health_of(front, name) for name in (reranker.SERVICE, "")] == [not_serving, not_serving]


@pytest.mark.parametrize(
    ("canary", "healthy"), [(1.0, True), (0.99, True), (0.5, False), (float("nan"), False), (1.2, False)]
)
def test_the_canary_must_score_near_one(canary: float, *, healthy: bool) -> None:
    core = ScriptedCore()
    core.canary = lambda: canary  # type: ignore[attr-defined]
    assert canary_probe(core.engine)() is healthy


class Panic(BaseException):
    """What the core raises when it panics is no Exception."""


def test_a_probe_that_fails_is_not_serving() -> None:
    reported: list[BaseException] = []

    def broken() -> bool:
        raise Panic

    health = Health({"some.Service": broken}, interval_s=60, report=reported.append)
    health.probe()
    assert [type(error) for error in reported] == [Panic]


def test_reflection_names_the_services(front: Front) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(front.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (response,) = stub.ServerReflectionInfo(iter([request]), timeout=5)
    names = {service.name for service in response.list_services_response.service}
    assert names >= {"ra_guard.v1.Reranker", "grpc.health.v1.Health", "grpc.channelz.v1.Channelz"}


def admin_handler() -> grpc.GenericRpcHandler:
    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "by itself")
        if request == b"late":
            raise TritonTimeout("found nothing in time")
        if request == b"bug":
            raise KeyError("bug")
        return request

    def fail_stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"one"
        yield fail(request, context)

    behaviours: dict[str, Any] = {
        "Unary": grpc.unary_unary_rpc_method_handler(fail),
        "Stream": grpc.unary_stream_rpc_method_handler(fail_stream),
    }
    return grpc.method_handlers_generic_handler("test.Admin", behaviours)


@pytest.mark.parametrize(
    ("request_", "code", "details", "reported"),
    [
        (b"abort", grpc.StatusCode.NOT_FOUND, "by itself", 0),
        (b"late", grpc.StatusCode.DEADLINE_EXCEEDED, "found nothing in time", 0),
        (b"bug", grpc.StatusCode.INTERNAL, "'bug'", 1),
    ],
)
def test_admin_handlers_raise_and_the_boundary_answers(
    request_: bytes, code: grpc.StatusCode, details: str, reported: int
) -> None:
    front = Front(ScriptedCore(), admin=admin_handler())
    call_unary: Any = front.channel.unary_unary("/test.Admin/Unary")
    call_stream: Any = front.channel.unary_stream("/test.Admin/Stream")
    assert call_unary(b"fine", timeout=5) == b"fine"
    with pytest.raises(grpc.RpcError) as unary:
        call_unary(request_, timeout=5)
    with pytest.raises(grpc.RpcError) as stream:
        list(call_stream(request_, timeout=5))
    assert (unary.value.code(), unary.value.details()) == (code, details)
    assert (stream.value.code(), stream.value.details()) == (code, details)
    assert sum(isinstance(record, FailureRecord) for record in front.told()) == 2 * reported
    front.close()


def test_an_unknown_method_is_unimplemented(front: Front) -> None:
    unknown: Any = front.channel.unary_unary("/ra_guard.v1.Reranker/Nothing")
    with pytest.raises(grpc.RpcError) as refused:
        unknown(b"", timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
