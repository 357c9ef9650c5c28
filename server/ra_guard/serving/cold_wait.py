"""Wait mode: candidates without features are embedded before the core looks them up, while the deadline lasts.

Every arm waits alike, so that the latencies of the arms stay comparable. The request is decoded here too: whoever
chose this mode chose features over microseconds.
"""

import threading

import numpy as np
from google.protobuf.message import DecodeError

from ra_guard._core import MAX_CANDIDATES, Engine, Generation
from ra_guard.serving.cold import ColdQueue
from ra_guard.serving.deadline import budget_ns
from ra_guard.v1.rerank_pb2 import RerankRequest

_UNKNOWN = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


class ColdWait:
    """Waits for a `ColdQueue` on behalf of calls.

    ``waits``: calls that may wait at a time, so that some threads are always free for warm candidates; the others are
    answered as if nobody waited.
    """

    def __init__(self, core: Engine, queue: ColdQueue, *, waits: int) -> None:
        self._core = core
        self._queue = queue
        self._waits = threading.BoundedSemaphore(waits)

    def until_warm(self, request: bytes, deadline_ns: int | None) -> None:
        """Returns once every candidate that can have features has them, or when no time or no place is left."""
        generation = self._core.generation()
        budget = budget_ns(deadline_ns)
        ids = _candidates(request)
        if generation is None or budget <= 0 or not 1 <= len(ids) <= MAX_CANDIDATES:
            return
        cold = without_features(generation, ids)
        if not cold or not self._waits.acquire(blocking=False):
            return
        try:
            self._queue.wait(cold, budget / 1e9)
        finally:
            self._waits.release()


def without_features(generation: Generation, ids: list[str]) -> list[str]:
    """Ids that the generation does not know, or knows without an embedding."""
    handles = np.frombuffer(generation.lookup([image.encode() for image in ids]), "<u8")
    known = handles != _UNKNOWN
    vectors = np.frombuffer(generation.embeddings(handles[known].tobytes()), "<f4").reshape(-1, generation.dim)
    cold = ~known
    cold[known] = np.isnan(vectors[:, 0])
    return [ids[position] for position in np.flatnonzero(cold)]


def _candidates(request: bytes) -> list[str]:
    try:
        return list(RerankRequest.FromString(request).candidate_ids)
    except DecodeError:  # the core words the answer
        return []
