"""The load generator against a real gRPC server in this process."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from bench.channel import Channel
from bench.h2 import LARGEST_FRAME, Caller, LoadError, frame, header_block
from bench.load import Callers

ECHO, REFUSE, SLOW = "/bench.Echo/Unary", "/bench.Echo/Refuse", "/bench.Echo/Slow"
STREAM = "/bench.Echo/Stream"

Connect = Callable[[str, list[bytes], int], Callers]


class Echo(grpc.GenericRpcHandler):
    """Answers reversed; refuses; answers one at a time after a gate opens."""

    port = 0

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return {
            ECHO: grpc.unary_unary_rpc_method_handler(lambda request, _: request[::-1]),
            REFUSE: grpc.unary_unary_rpc_method_handler(self.refuse),
            SLOW: grpc.unary_unary_rpc_method_handler(self.slow),
            STREAM: grpc.stream_stream_rpc_method_handler(lambda requests, _: (one[::-1] for one in requests)),
        }.get(handler_call_details.method)

    def refuse(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")

    def slow(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        self.started.set()
        self.gate.wait(10)
        return request


@pytest.fixture
def echo() -> Iterator[Echo]:
    handlers = Echo()
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handlers,))
    handlers.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handlers
    handlers.gate.set()
    server.stop(0).wait()


@pytest.fixture
def callers(echo: Echo) -> Iterator[Connect]:
    opened: list[Callers] = []

    def connect(path: str, messages: list[bytes], count: int) -> Callers:
        opened.append(Callers(echo.port, path, messages, count))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def test_a_frame_is_laid_out_as_the_standard_says() -> None:
    assert frame(0, 1, 5, b"abc") == b"\x00\x00\x03\x00\x01\x00\x00\x00\x05abc"


def test_the_header_block_refers_to_the_static_table_only() -> None:
    assert (
        header_block("/s/m")
        == b"\x83\x86\x04\x04/s/m\x01\x09localhost\x0f\x10\x10application/grpc\x00\x02te\x08trailers"
    )


def test_a_message_that_takes_more_than_a_frame_is_refused(echo: Echo) -> None:
    with pytest.raises(ValueError, match="16385"):
        Caller.connect(echo.port, ECHO, [bytes(LARGEST_FRAME - 4)])


def test_a_closed_loop_gets_the_answer_to_every_call(callers: Connect) -> None:
    messages = [bytes([letter]) * 9 + b"!" for letter in b"abcdefgh"]
    several = callers(ECHO, messages, 4)
    load = several.closed_loop(0.2)
    assert len(load.latencies_ns) >= 4
    assert min(load.latencies_ns) > 0
    assert {answer[::-1] for answer in several.answers()} <= set(messages)


def test_more_bytes_than_the_first_window_get_through(callers: Connect) -> None:
    """65 535 bytes may be sent before the server has to grow the window."""
    load = callers(ECHO, [bytes(9_000)], 1).open_loop(rate=1e6, count=40)
    assert len(load.latencies_ns) == 40


def test_an_open_loop_makes_exactly_the_calls_that_fall_due(callers: Connect) -> None:
    several = callers(ECHO, [b"one", b"two"], 3)
    assert len(several.open_loop(rate=2000, count=50).latencies_ns) == 50
    assert len(several.open_loop(rate=2000, count=7).latencies_ns) == 7


def test_an_open_loop_counts_the_wait_for_a_free_caller(echo: Echo, callers: Connect) -> None:
    """Five calls fall due at once on one connection while the server stands still: all of them waited, not one."""
    one = callers(SLOW, [b"x"], 1)

    def open_the_gate() -> None:
        echo.started.wait(10)
        threading.Timer(0.2, echo.gate.set).start()

    threading.Thread(target=open_the_gate).start()
    load = one.open_loop(rate=1e6, count=5)
    assert sorted(load.latencies_ns)[0] > 150_000_000


def test_answers_that_are_not_whole_are_counted_and_no_part_of_the_rate(echo: Echo) -> None:
    mixed = Callers(echo.port, ECHO, [b"whole", b"cut"], 2, whole_answer_bytes=5)
    load = mixed.open_loop(rate=1e4, count=20)
    mixed.close()
    assert len(load.latencies_ns) == 20
    assert 0 < load.degraded < 20
    assert load.calls_per_s == pytest.approx((20 - load.degraded) / load.seconds)


def test_a_refused_call_ends_the_load(callers: Connect) -> None:
    with pytest.raises(LoadError, match="without a message"):
        callers(REFUSE, [b"x"], 1).closed_loop(0.1)


def test_the_grpcio_client_calls_unary_and_on_a_stream(echo: Echo) -> None:
    with Channel(echo.port) as channel:
        assert channel.unary(ECHO)(b"abc") == b"cba"
        stream = channel.stream(STREAM)
        assert [stream(b"ab"), stream(b"cd")] == [b"ba", b"dc"]
        stream.close()
