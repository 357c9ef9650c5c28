"""One Rerank call, from bytes to an answer.

Admission, the core, and what the core lacked: the embedding of a new text, features of new images, a pool of
candidates. Whatever fails on this side is answered with the baseline order and a reason; only a caller's mistake
is raised.
"""

import time
from collections.abc import Callable

from ra_guard._core import Answer, Engine, RequestError
from ra_guard.serving.admission import Admission
from ra_guard.serving.cold import ColdQueue
from ra_guard.serving.cold_text import ColdTexts
from ra_guard.serving.cold_wait import ColdWait
from ra_guard.serving.pool import PoolDraw
from ra_guard.v1.rerank_pb2 import (
    REASON_INTERNAL,
    REASON_MODEL_MISMATCH,
    REASON_OVERLOAD,
    REASON_UNSPECIFIED,
    RerankRequest,
)


class Reranking:
    """Answers serialised requests with the core. Thread-safe.

    ``cold`` has images embedded after a call, ``cold_wait`` before it. ``report`` is told of every failure that a
    caller does not see.
    """

    def __init__(
        self,
        core: Engine,
        admission: Admission,
        *,
        texts: ColdTexts,
        pools: PoolDraw,
        cold: ColdQueue | None,
        cold_wait: ColdWait | None,
        report: Callable[[BaseException], None],
    ) -> None:
        self._core = core
        self._admission = admission
        self._texts = texts
        self._pools = pools
        self._cold = cold
        self._cold_wait = cold_wait
        self._report = report

    def answer(self, request: bytes, queued_ns: int, waited_ns: int, deadline_ns: int | None) -> Answer:
        """The answer to a request that was queued at ``queued_ns`` and waited ``waited_ns`` for a thread.

        Raises RequestError for a caller's mistake and TooManyCandidates for a request that can never be admitted.
        """
        weight = self._admission.weigh(request)
        if not self._admission.try_acquire(weight):
            return self.refuse(request, waited_ns)
        try:
            return self._rank(request, queued_ns, waited_ns, deadline_ns)
        except RequestError:
            raise
        except BaseException as failure:  # noqa: BLE001 (fail open; a panic of the core is not an Exception)
            self._report(failure)
            return self._core.fall_back(request, REASON_INTERNAL, wait_ns=time.monotonic_ns() - queued_ns)
        finally:
            self._admission.release(weight)

    def refuse(self, request: bytes, waited_ns: int) -> Answer:
        """The baseline, for a call that found no room or waited too long for it. Raises RequestError."""
        return self._core.fall_back(request, REASON_OVERLOAD, wait_ns=waited_ns)

    def _rank(self, request: bytes, queued_ns: int, waited_ns: int, deadline_ns: int | None) -> Answer:
        if self._cold_wait is not None:
            self._cold_wait.until_warm(request, deadline_ns)
            waited_ns = time.monotonic_ns() - queued_ns
        try:
            answer = self._ask(request, None, queued_ns, waited_ns, deadline_ns)
        except RequestError as mistake:
            if mistake.variant != "NoCandidates":
                raise
            answer = self._rank_pool(request, queued_ns, deadline_ns)
        if self._cold is not None and (answer.cold or answer.unknown):
            self._cold.offer(answer.cold_ids)
        return answer

    def _rank_pool(self, request: bytes, queued_ns: int, deadline_ns: int | None) -> Answer:
        """Ranks a pool drawn for a request without candidates; without a pool size, the core refuses it once more."""
        pool, reason = self._pools.draw(RerankRequest.FromString(request), deadline_ns)
        waited_ns = time.monotonic_ns() - queued_ns
        if reason != REASON_UNSPECIFIED:
            return self._core.fall_back(request, reason, pool, waited_ns)
        return self._ask(request, pool, queued_ns, waited_ns, deadline_ns)

    def _ask(
        self, request: bytes, pool: list[bytes] | None, queued_ns: int, waited_ns: int, deadline_ns: int | None
    ) -> Answer:
        """The core's answer over the request's candidates or the pool, once more after a cold text was warmed."""
        answer = self._once(request, pool, deadline_ns, waited_ns)
        if answer.cold_text is None:
            return answer
        reason = self._texts.warm(answer.cold_text, deadline_ns)
        waited_ns = time.monotonic_ns() - queued_ns
        if reason == REASON_UNSPECIFIED:
            answer = self._once(request, pool, deadline_ns, waited_ns)
            if answer.cold_text is None:
                return answer
            reason = REASON_MODEL_MISMATCH  # embedded, and still not in the gallery's space
        return self._core.fall_back(request, reason, pool, waited_ns)

    def _once(self, request: bytes, pool: list[bytes] | None, deadline_ns: int | None, waited_ns: int) -> Answer:
        if pool is None:
            return self._core.rerank(request, deadline_ns, waited_ns)
        return self._core.rerank_pool(request, pool, deadline_ns, waited_ns)
