"""One Rerank call, from bytes to an answer.

Admission, the core, and what the core lacked: the embedding of a new text, features of new images, a pool of
candidates. Whatever fails on this side is answered with the baseline order and a reason; only a caller's mistake
is raised.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from ra_guard._core import Answer, Engine, RequestError
from ra_guard.errors import RaGuardError, TooManyCandidates, TritonTimeout
from ra_guard.serving.admission import Admission
from ra_guard.serving.cold import ColdQueue
from ra_guard.v1.rerank_pb2 import (
    REASON_DEADLINE,
    REASON_INTERNAL,
    REASON_MODEL_MISMATCH,
    REASON_NO_FEATURES,
    REASON_OVERLOAD,
    REASON_UNSPECIFIED,
    RerankRequest,
)

SCORING_RESERVE_NS = 2_000_000
"""Kept back from a caller's deadline when something is waited for: enough to score and answer."""

LONGEST_WAIT_NS = 5_000_000_000
"""For callers without a deadline."""


class TextTower(Protocol):
    """Turns query texts into unit vectors of one embedding space."""

    space: str
    """The space's fingerprint."""

    def embed_text(self, text: str, timeout_s: float) -> npt.NDArray[np.float32]:
        """``(dim,) float32``. Raises the Triton errors of errors.py."""


class PoolSource(Protocol):
    """Draws candidates for a request that names none."""

    def search(self, vector: bytes, domain: str, k: int) -> list[bytes]:
        """Ids of the ``k`` nearest images to a ``(dim,) float32`` unit vector, best first; "" means every domain."""


class Reranking:
    """Answers serialised requests with the core. Thread-safe.

    ``text_waits``: calls that may wait for `texts` at a time, so that some threads are always free for warm calls.
    ``report`` is told of every failure that a caller does not see.
    """

    def __init__(
        self,
        core: Engine,
        admission: Admission,
        *,
        text_waits: int,
        report: Callable[[BaseException], None],
        texts: TextTower | None = None,
        pools: PoolSource | None = None,
        cold: ColdQueue | None = None,
        cold_mode: Literal["never_wait", "wait"] = "never_wait",
    ) -> None:
        self._core = core
        self._admission = admission
        self._text_slots = threading.BoundedSemaphore(text_waits)
        self._report = report
        self._texts = texts
        self._pools = pools
        self._cold = cold
        self._awaited = cold if cold_mode == "wait" else None

    def answer(self, request: bytes, arrived_ns: int, waited_ns: int, deadline_ns: int | None) -> Answer:
        """The answer to a request that arrived at ``arrived_ns`` after waiting ``waited_ns`` for a thread.

        Raises RequestError for a caller's mistake and TooManyCandidates for a request that can never be admitted.
        """
        weight = self._admission.weigh(request)
        if not self._admission.try_acquire(weight):
            return self._core.fall_back(request, REASON_OVERLOAD, wait_ns=waited_ns)
        try:
            return self._rank(request, arrived_ns - waited_ns, waited_ns, deadline_ns)
        except (RequestError, TooManyCandidates):
            raise
        except BaseException as failure:  # noqa: BLE001 (fail open; a panic of the core is not an Exception)
            self._report(failure)
            return self._core.fall_back(request, REASON_INTERNAL, wait_ns=waited_ns)
        finally:
            self._admission.release(weight)

    def refuse(self, request: bytes, waited_ns: int) -> Answer:
        """The baseline, for a call that waited too long already. Raises RequestError."""
        return self._core.fall_back(request, REASON_OVERLOAD, wait_ns=waited_ns)

    def _rank(self, request: bytes, since_ns: int, waited_ns: int, deadline_ns: int | None) -> Answer:
        if self._awaited is not None:
            self._await_features(self._awaited, request, deadline_ns)
            waited_ns = time.monotonic_ns() - since_ns
        try:
            answer = self._core.rerank(request, deadline_ns, waited_ns)
        except RequestError:
            pool_request = _pool_request(request)
            if pool_request is None:
                raise
            answer = self._rank_pool(request, pool_request, since_ns, deadline_ns)
        if answer.cold_text is not None:
            answer = self._rank_cold_text(request, answer.cold_text, since_ns, deadline_ns)
        if self._cold is not None and (answer.cold or answer.unknown):
            self._cold.offer(answer.cold_ids)
        return answer

    def _rank_cold_text(self, request: bytes, text: str, since_ns: int, deadline_ns: int | None) -> Answer:
        reason = self._warm_text(text, deadline_ns)
        waited_ns = time.monotonic_ns() - since_ns
        if reason == REASON_UNSPECIFIED:
            answer = self._core.rerank(request, deadline_ns, waited_ns)
            if answer.cold_text is None:
                return answer
            reason = REASON_MODEL_MISMATCH  # embedded, and still not in the gallery's space
        return self._core.fall_back(request, reason, wait_ns=waited_ns)

    def _rank_pool(self, request: bytes, message: RerankRequest, since_ns: int, deadline_ns: int | None) -> Answer:
        vector, reason = self._query_vector(message, deadline_ns)
        if reason != REASON_UNSPECIFIED:
            return self._core.fall_back(request, reason, wait_ns=time.monotonic_ns() - since_ns)
        pool: Sequence[bytes] = ()
        if vector is not None and self._pools is not None:
            pool = self._pools.search(vector, message.domain, message.pool_size)
        return self._core.rerank_pool(request, pool, deadline_ns, time.monotonic_ns() - since_ns)

    def _query_vector(
        self, message: RerankRequest, deadline_ns: int | None
    ) -> tuple[bytes | None, int]:
        """``(dim,) float32`` to search with, or why there is none. None without a reason: the core says what is wrong."""
        generation = self._core.generation()
        if generation is None:
            return None, REASON_NO_FEATURES
        if message.WhichOneof("query") == "embedding":
            values = message.embedding.values
            fits = message.embedding.space == generation.space and len(values) == 4 * generation.dim
            return (values if fits else None), REASON_UNSPECIFIED
        if not message.text:
            return None, REASON_UNSPECIFIED
        if self._core.query_embedding(message.text) is None:
            reason = self._warm_text(message.text, deadline_ns)
            if reason != REASON_UNSPECIFIED:
                return None, reason
        cached = self._core.query_embedding(message.text)
        return cached, REASON_MODEL_MISMATCH if cached is None else REASON_UNSPECIFIED

    def _warm_text(self, text: str, deadline_ns: int | None) -> int:
        """Has a text embedded and cached within the deadline. Returns why not, or REASON_UNSPECIFIED."""
        if self._texts is None:
            return REASON_NO_FEATURES
        budget_ns = _budget_ns(deadline_ns)
        if budget_ns <= 0:
            return REASON_DEADLINE
        if not self._text_slots.acquire(blocking=False):
            return REASON_OVERLOAD
        try:
            vector = self._texts.embed_text(text, budget_ns / 1e9)
            self._core.put_query(text, self._texts.space, np.ascontiguousarray(vector, "<f4").tobytes())
        except TritonTimeout:
            return REASON_DEADLINE if _budget_ns(deadline_ns) <= 0 else REASON_NO_FEATURES
        except RaGuardError as failure:
            self._report(failure)
            return REASON_NO_FEATURES
        except RequestError as failure:  # the model's fault, not the caller's
            self._report(failure)
            return REASON_MODEL_MISMATCH
        else:
            return REASON_UNSPECIFIED
        finally:
            self._text_slots.release()

    def _await_features(self, awaited: ColdQueue, request: bytes, deadline_ns: int | None) -> None:
        """Wait mode: has unknown candidates embedded before the core looks them up, in every arm alike."""
        generation = self._core.generation()
        budget_ns = _budget_ns(deadline_ns)
        message = _decoded(request)
        if generation is None or message is None or not message.candidate_ids or budget_ns <= 0:
            return
        if len(message.candidate_ids) > self._admission.capacity:
            return
        handles = np.frombuffer(generation.lookup([id.encode() for id in message.candidate_ids]), "<u8")
        unknown = [message.candidate_ids[position] for position in np.flatnonzero(handles == _UNKNOWN_HANDLE)]
        if unknown:
            awaited.wait(unknown, budget_ns / 1e9)


_UNKNOWN_HANDLE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def _budget_ns(deadline_ns: int | None) -> int:
    """What may be spent waiting, before the time that scoring needs."""
    if deadline_ns is None:
        return LONGEST_WAIT_NS
    return deadline_ns - time.monotonic_ns() - SCORING_RESERVE_NS


def _decoded(request: bytes) -> RerankRequest | None:
    try:
        return RerankRequest.FromString(request)
    except DecodeError:  # the core words the answer
        return None


def _pool_request(request: bytes) -> RerankRequest | None:
    """The request if it asks the server to draw its candidates."""
    message = _decoded(request)
    return message if message is not None and message.pool_size and not message.candidate_ids else None
