"""Weighted admission: how many candidates one worker has in hand at a time.

A permit is a number of candidates, taken before the request is decoded and given back when it is answered, so a
thousand candidates cost what they cost and not "one call".
"""

import threading

from ra_guard import _core
from ra_guard.errors import TooManyCandidates


class Admission:
    """Permits for ``capacity`` candidates. Thread-safe; never waits."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._in_hand = 0
        self._lock = threading.Lock()

    @property
    def in_hand(self) -> int:
        """Candidates admitted and not yet answered."""
        return self._in_hand

    def weigh(self, request: bytes) -> int:
        """The candidates of a serialised request, counted without decoding it.

        Raises TooManyCandidates for a request that the whole capacity could not hold. One that names more than any
        request may is admitted as far as that goes: the core says what is wrong with it.
        """
        candidates = _core.count_candidates(request)
        if self.capacity < candidates <= _core.MAX_CANDIDATES:
            raise TooManyCandidates(
                f"candidate_ids: found {candidates}, this server takes at most {self.capacity} at a time; "
                "send fewer, or raise server.capacity_candidates"
            )
        return min(candidates, self.capacity)

    def try_acquire(self, weight: int) -> bool:
        """Takes a permit if there is room now."""
        with self._lock:
            if self._in_hand + weight > self.capacity:
                return False
            self._in_hand += weight
            return True

    def release(self, weight: int) -> None:
        """Gives a permit back."""
        with self._lock:
            self._in_hand -= weight
