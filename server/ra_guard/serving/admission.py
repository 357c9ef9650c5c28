"""Weighted admission: how many candidates one worker has in hand at a time.

A permit is a number of candidates, taken before the request is decoded and given back when it is answered, so a
thousand candidates cost what they cost and not "one call".
"""

import threading

from google.protobuf.message import DecodeError

from ra_guard import _core
from ra_guard.errors import TooManyCandidates
from ra_guard.v1.rerank_pb2 import RerankRequest

_CANDIDATE_TAG = bytes([RerankRequest.CANDIDATE_IDS_FIELD_NUMBER << 3 | 2])
_SHORTEST_CANDIDATE_BYTES = 3


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
        """An upper bound on the candidates of a serialised request, without decoding it.

        Each candidate starts with its tag byte, which may also occur inside an id: counting it never undercounts.
        Raises TooManyCandidates for a request that the whole capacity could not hold.
        """
        bound = min(request.count(_CANDIDATE_TAG), len(request) // _SHORTEST_CANDIDATE_BYTES, _core.MAX_CANDIDATES)
        return bound if bound <= self.capacity else self._weigh_exactly(request)

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

    def _weigh_exactly(self, request: bytes) -> int:
        try:
            candidates = len(RerankRequest.FromString(request).candidate_ids)
        except DecodeError:
            return self.capacity  # the core will say what is wrong with it
        if self.capacity < candidates <= _core.MAX_CANDIDATES:
            raise TooManyCandidates(
                f"candidate_ids: found {candidates}, this server takes at most {self.capacity} at a time; "
                "send fewer, or raise server.capacity_candidates"
            )
        return min(candidates, self.capacity)
