"""A core that answers what a test tells it to: for tests of the front end, which must not depend on scores."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ra_guard import _core
from ra_guard.v1 import rerank_pb2 as wire


@dataclass
class ScriptedAnswer:
    """The fields of `_core.Answer` that the front end reads."""

    response: bytes = b"response"
    cold_text: str | None = None
    cold_ids: list[str] = field(default_factory=list)
    request_id: str = "request-1"
    user_id: str = "user-1"
    assigned_arm: int = wire.ARM_TREATMENT
    served_arm: int = wire.ARM_TREATMENT
    status: int = wire.STATUS_RERANKED
    reason: int = wire.REASON_UNSPECIFIED
    plan_revision: int = 1
    generation: int = 1
    candidates: int = 2
    scored: int = 2
    cold: int = 0
    unknown: int = 0
    unlicensed: int = 0
    decode_ns: int = 1_000
    assign_ns: int = 200
    lookup_ns: int = 3_000
    score_ns: int = 20_000
    order_ns: int = 900
    encode_ns: int = 1_500


def answer(**fields: object) -> _core.Answer:
    return cast(_core.Answer, ScriptedAnswer(**fields))  # type: ignore[arg-type]


def fallback(reason: int) -> _core.Answer:
    return answer(served_arm=wire.ARM_CONTROL, status=wire.STATUS_BASELINE, reason=reason, scored=0)


def core_error(kind: type[_core.CoreError], variant: str, message: str = "found this, wanted that") -> _core.CoreError:
    error = kind(message)
    error.variant = variant
    return error


class ScriptedCore:
    """Answers `rerank` by ``script``, one call after the other; the last entry repeats. Records what it was asked."""

    def __init__(self, *script: _core.Answer | BaseException | Callable[[], _core.Answer]) -> None:
        self._script = list(script) or [answer()]
        self._lock = threading.Lock()
        self.waits_ns: list[int] = []
        self.deadlines_ns: list[int | None] = []
        self.fallbacks: list[int] = []
        self.pools: list[Sequence[bytes]] = []
        self.pool_script: list[_core.Answer] = []
        self.queries: dict[str, bytes] = {}
        self.refuses_query: _core.CoreError | None = None
        self.serving: Any = None
        self.revision = 0

    @property
    def engine(self) -> _core.Engine:
        return cast(_core.Engine, self)

    def rerank(self, request: bytes, deadline_ns: int | None = None, wait_ns: int = 0) -> _core.Answer:
        with self._lock:
            self.waits_ns.append(wait_ns)
            self.deadlines_ns.append(deadline_ns)
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step

    def rerank_pool(
        self, request: bytes, pool: Sequence[bytes], deadline_ns: int | None = None, wait_ns: int = 0
    ) -> _core.Answer:
        self.pools.append(pool)
        return self.pool_script.pop(0) if self.pool_script else answer(candidates=len(pool))

    def fall_back(self, request: bytes, reason: int, pool: Sequence[bytes] = (), wait_ns: int = 0) -> _core.Answer:
        self.fallbacks.append(reason)
        self.waits_ns.append(wait_ns)
        return fallback(reason)

    def put_query(self, text: str, space: str, embedding: bytes) -> None:
        if self.refuses_query is not None:
            raise self.refuses_query
        self.queries[text] = embedding

    def query_embedding(self, text: str) -> bytes | None:
        return self.queries.get(text)

    def generation(self) -> Any:
        return self.serving

    def publish_generation(self, generation: object) -> int:
        before, self.serving = self.serving, generation
        return getattr(before, "number", 0)
