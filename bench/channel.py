"""A grpcio client as a search tier would hold one: blocking calls on raw bytes, unary or on one long-lived stream."""

import queue
from collections.abc import Callable, Iterator
from types import TracebackType

import grpc

Call = Callable[[bytes], bytes]

SERVICE = "/ra_guard.v1.Reranker"
UNARY = f"{SERVICE}/Rerank"
STREAM = f"{SERVICE}/RerankStream"
TIMEOUT_S = 30.0


class Channel:
    """A grpcio connection to a local port, calling with raw bytes."""

    def __init__(self, port: int) -> None:
        """Connects on the first call. A channel of its own: no sharing of connections with others in this process."""
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self) -> "Channel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def unary(self, path: str = UNARY) -> Call:
        """A callable that sends one request and blocks for its answer."""
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path)

        def call(message: bytes) -> bytes:
            answer: bytes = method(message, timeout=TIMEOUT_S)
            return answer

        return call

    def stream(self, path: str = STREAM) -> "Stream":
        """One long-lived stream."""
        return Stream(self._channel, path)


class Stream:
    """Requests and answers in lock step on one bidirectional stream."""

    def __init__(self, channel: grpc.Channel, path: str) -> None:
        """Opens the stream."""
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        method: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        self._answers: Iterator[bytes] = iter(method(iter(self._requests.get, None)))

    def __call__(self, message: bytes) -> bytes:
        self._requests.put(message)
        return next(self._answers)

    def close(self) -> None:
        """Half-closes; the server ends the stream."""
        self._requests.put(None)
