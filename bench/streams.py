"""Callers on RerankStream that go on whatever dies: what was asked, what was answered, and what nobody knows.

A stream has several calls on their way at a time. When its worker dies, those are unanswered: the worker may have
logged them or not. They are never asked again under the same request id, so a request id that is logged twice is an
error of the log, not of the caller.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from ra_guard.v1 import rerank_pb2

from bench.channel import STREAM
from bench.mix import Mix, number_of

IN_FLIGHT = 16
"""Calls of one stream on their way at a time."""
CALLS_A_STREAM = 1000
"""Then it opens a connection anew, so that a worker that was started again gets its share."""
SLOW_PAUSE_S = 0.01
"""Before a call that does not count."""
STREAM_TIMEOUT_S = 300.0
UNANSWERED = 0
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


class Asked:
    """Calls by number, and what came of each. Thread-safe."""

    def __init__(self) -> None:
        self.arms = bytearray()
        """One byte a call: `UNANSWERED`, or one more than the assigned arm that the answer names."""
        self.outcomes: Counter[tuple[int, int]] = Counter()
        """Answers by status and reason."""
        self.answered = 0
        self.failures: list[str] = []
        """Calls that failed for another reason than the death of their worker, and answers that nobody asked for."""
        self._lock = threading.Lock()
        self._finished = False
        self._uncounted = 0
        self._counted_until: int | None = None

    @property
    def counted(self) -> int:
        """Answers, less those that came in `uncounted` blocks."""
        until = self._counted_until
        return (self.answered if until is None else until) - self._uncounted

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Calls go on in the block, at a walking pace, and do not count. Not to be nested."""
        began = self._counted_until = self.answered
        try:
            yield
        finally:
            with self._lock:
                self._uncounted += self.answered - began
                self._counted_until = None

    @property
    def slow(self) -> bool:
        """Whether calls do not count now."""
        return self._counted_until is not None

    @property
    def done(self) -> bool:
        """Whether nothing more is to be asked."""
        return self._finished or bool(self.failures)

    @property
    def unanswered(self) -> int:
        """Calls without an answer."""
        return len(self.arms) - self.answered

    def finish(self) -> None:
        """Enough was asked."""
        self._finished = True

    def take(self) -> int:
        """The number of a new call."""
        with self._lock:
            self.arms.append(UNANSWERED)
            return len(self.arms) - 1

    def keep(self, answer: rerank_pb2.RerankResponse) -> None:
        """Takes in an answer."""
        number = number_of(answer.request_id)
        with self._lock:
            if number is None or number >= len(self.arms) or self.arms[number] != UNANSWERED:
                self.failures.append(f"an answer to {answer.request_id!r}, which is not waiting for one")
                return
            self.arms[number] = answer.assigned_arm + 1
            self.outcomes[answer.status, answer.reason] += 1
            self.answered += 1

    def fail(self, what: str) -> None:
        """A call failed, and no death excuses it."""
        with self._lock:
            self.failures.append(what)


class Callers:
    """So many streams at a time, each opened anew when it ends, until enough was asked."""

    def __init__(self, port: int, mix: Mix, asked: Asked, streams: int) -> None:
        self._port = port
        self._mix = mix
        self._asked = asked
        self._threads = [threading.Thread(target=self._call, name=f"caller-{n}", daemon=True) for n in range(streams)]

    def start(self) -> None:
        """Begins to call."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Returns when every stream has ended."""
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        while not self._asked.done:
            with grpc.insecure_channel(f"127.0.0.1:{self._port}", OPTIONS) as channel:
                _Stream(self._mix, self._asked).run(channel)


class _Stream:
    """One stream, from its first request to its end."""

    def __init__(self, mix: Mix, asked: Asked) -> None:
        self._mix = mix
        self._asked = asked
        self._room = threading.Semaphore(IN_FLIGHT)
        self._ended = False

    def run(self, channel: grpc.Channel) -> None:
        """Until it has made its calls, enough was asked, or its worker is gone."""
        method: Any = channel.stream_stream(STREAM, response_deserializer=rerank_pb2.RerankResponse.FromString)
        try:
            for answer in method(self._requests(), timeout=STREAM_TIMEOUT_S, wait_for_ready=True):
                self._asked.keep(answer)
                self._room.release()
        except grpc.RpcError as error:
            call: Any = error
            if call.code() is not grpc.StatusCode.UNAVAILABLE:
                self._asked.fail(f"a stream ended with {call.code().name}: {call.details()}")
        finally:
            self._ended = True
            self._room.release()

    def _requests(self) -> Iterator[bytes]:
        """Runs on a thread of gRPC's."""
        for _ in range(CALLS_A_STREAM):
            self._room.acquire()
            if self._asked.slow:
                time.sleep(SLOW_PAUSE_S)
            if self._ended or self._asked.done:
                return
            yield self._mix.message(self._asked.take())
