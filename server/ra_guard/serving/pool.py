"""Requests that name no candidates: the server draws them from the neighbours of the query.

Off the hot path, so the request is decoded here too.
"""

from typing import Protocol

from ra_guard._core import Engine
from ra_guard.serving.cold_text import ColdTexts
from ra_guard.v1.rerank_pb2 import (
    REASON_MODEL_MISMATCH,
    REASON_NO_FEATURES,
    REASON_UNSPECIFIED,
    RerankRequest,
)


class PoolSource(Protocol):
    """Nearest neighbours in the gallery."""

    def search(self, vector: bytes, domain: str, k: int) -> list[bytes]:
        """Ids of the ``k`` nearest images to a ``(dim,) float32`` unit vector, best first; "" means every domain."""


class PoolDraw:
    """Draws pools. Thread-safe."""

    def __init__(self, core: Engine, texts: ColdTexts, source: PoolSource | None) -> None:
        self._core = core
        self._texts = texts
        self._source = source

    def draw(self, message: RerankRequest, deadline_ns: int | None) -> tuple[list[bytes], int]:
        """Ids, best first, or the Reason why there are none. Neither: the core will say what is wrong."""
        if not message.pool_size:
            return [], REASON_UNSPECIFIED
        vector, reason = self._query_vector(message, deadline_ns)
        if vector is None or self._source is None:
            return [], reason
        return self._source.search(vector, message.domain, message.pool_size), REASON_UNSPECIFIED

    def _query_vector(self, message: RerankRequest, deadline_ns: int | None) -> tuple[bytes | None, int]:
        """``(dim,) float32`` to search with."""
        generation = self._core.generation()
        if generation is None:
            return None, REASON_NO_FEATURES
        if message.WhichOneof("query") == "embedding":
            values = message.embedding.values
            fits = message.embedding.space == generation.space and len(values) == 4 * generation.dim
            return (values if fits else None), REASON_UNSPECIFIED
        vector = self._core.query_embedding(message.text)
        if vector is None and message.text:
            reason = self._texts.warm(message.text, deadline_ns)
            if reason != REASON_UNSPECIFIED:
                return None, reason
            vector = self._core.query_embedding(message.text)
            return vector, REASON_MODEL_MISMATCH if vector is None else REASON_UNSPECIFIED
        return vector, REASON_UNSPECIFIED
