"""A circuit breaker: after enough failures in a row, callers are refused at once instead of waiting for the next one.

Closed, it admits everyone. After ``failures`` in a row it opens and admits nobody for ``reset_s``; then it is half
open and admits one call, whose outcome closes it or opens it again. Thread-safe.
"""

import threading
import time
from collections.abc import Callable
from enum import Enum


class Outcome(Enum):
    """What a call says about the health of whoever it called."""

    ALIVE = "alive"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The call ended before it could tell, for instance because the caller had next to no time."""


class BreakerState(Enum):
    """What the next call will meet."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """``admit`` before a call, ``record`` after each admitted one."""

    def __init__(self, *, failures: int, reset_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed_failures = failures
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        with self._lock:
            return self._state()

    def admit(self) -> bool:
        """Whether the caller may go on. In the half-open state only the first may."""
        with self._lock:
            state = self._state()
            if state is BreakerState.HALF_OPEN and not self._probing:
                self._probing = True
                return True
            return state is BreakerState.CLOSED

    def record(self, outcome: Outcome) -> None:
        """Counts how an admitted call ended."""
        with self._lock:
            self._probing = False
            if outcome is Outcome.ALIVE:
                self._failures, self._opened_at = 0, None
            elif outcome is Outcome.FAILED:
                self._failures += 1
                if self._failures >= self._allowed_failures:
                    self._opened_at = self._clock()

    def _state(self) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._clock() - self._opened_at >= self._reset_s else BreakerState.OPEN
