"""The hand-over from threads that answer to the thread that tells: one small record a call, in a bounded queue."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from ra_guard._core import Answer


class CallRecord(NamedTuple):
    """One finished call. Times are of `time.monotonic_ns`."""

    method: str
    """"Rerank" or "RerankStream"."""
    started_ns: int
    finished_ns: int
    metadata: Sequence[tuple[str, str | bytes]]
    answer: Answer | None
    """None when the caller got an error."""
    code: str
    """The gRPC status by name."""


class FailureRecord(NamedTuple):
    """Something went wrong that no caller saw as an error."""

    error: BaseException
    at_ns: int


class Records:
    """A bounded queue of records: full, it drops and counts. Appending takes no lock and never waits."""

    def __init__(self, capacity: int, clock_ns: Callable[[], int]) -> None:
        self._capacity = capacity
        self._clock_ns = clock_ns
        self._queue: deque[CallRecord | FailureRecord] = deque()
        self._drops = count()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Records dropped so far."""
        return self._dropped

    def append(self, record: CallRecord | FailureRecord) -> None:
        """Hands a record over, or drops it when the queue is full."""
        if len(self._queue) < self._capacity:
            self._queue.append(record)
        else:
            self._dropped = next(self._drops) + 1  # next() is one step under the interpreter lock, += is not

    def report(self, error: BaseException) -> None:
        """Hands a failure over."""
        self.append(FailureRecord(error, self._clock_ns()))

    def take(self) -> CallRecord | FailureRecord | None:
        """The oldest record, None when there is none."""
        try:
            return self._queue.popleft()
        except IndexError:
            return None
