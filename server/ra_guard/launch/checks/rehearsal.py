"""Real calls before anybody is treated: the core that answers calls, over the gallery in service, in this process.

Before the launch nobody is enrolled, so the server reranks for nobody; afterwards, a call of ours would be an exposure.
So the plan of the definition is rehearsed here, at full ramp, without a log.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Self

import numpy as np

from ra_guard import _core
from ra_guard.experiments import model, publish
from ra_guard.experiments.allocation import MAX_RAMP_BP, Arm
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Mode
from ra_guard.launch.checks.system import System, unit_in
from ra_guard.launch.errors import NothingToRehearse
from ra_guard.v1 import rerank_pb2 as wire

ROWS_TRIED: Final = 4096
"""Among which a row with an embedding must be found."""


class Rehearsal:
    """The gallery of a system under its definition."""

    def __init__(self, definition: Definition, generation: _core.Generation) -> None:
        self.generation = generation
        full = replace(
            model.first(definition.model_copy(update={"mode": Mode.AB}), datetime.now(UTC)), ramp_bp=MAX_RAMP_BP
        )
        self._user = unit_in(Arm.TREATMENT, full.key, full.salt, MAX_RAMP_BP) or ""
        self._engine = _core.Engine(query_cache_entries=1)
        self._engine.publish_generation(generation)
        self._revision = self._engine.publish_plan(publish.seal(full))
        self._query = self._first_embedding()

    @classmethod
    def of(cls, system: System) -> Self:
        """Over the generation in force. Raises ShardError, PlanRefused, NothingToRehearse."""
        return cls(system.definition, _core.Generation.open(str(system.settings.gallery_dir)))

    @property
    def query(self) -> wire.QueryEmbedding:
        """The embedding of an image of the gallery: "more like this one"."""
        return wire.QueryEmbedding(values=self._query, space=self.generation.space)

    def rerank(self, ids: Sequence[bytes], domain: str = "") -> wire.RerankResponse:
        """One call of a treated user."""
        self._engine.renew_lease(self._revision)
        request = wire.RerankRequest(
            request_id=f"readiness-{time.monotonic_ns()}",
            user_id=self._user,
            embedding=self.query,
            domain=domain,
            candidate_ids=[image_id.decode() for image_id in ids],
        )
        return wire.RerankResponse.FromString(self._engine.rerank(request.SerializeToString()).response)

    def portions(self, size: int) -> Iterator[list[bytes]]:
        """Every id of the gallery, some at a time."""
        start = 0
        while ids := self.generation.ids(start, start + size):
            yield ids
            start += len(ids)

    def _first_embedding(self) -> bytes:
        ids = self.generation.ids(0, ROWS_TRIED)
        rows = np.frombuffer(self.generation.embeddings(self.generation.lookup(ids)), np.float32)
        embeddings = rows.reshape(-1, self.generation.dim)
        usable = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
        if not usable.size:
            raise NothingToRehearse(
                found=f"no embedding among the first {len(ids)} images",
                wanted="at least one",
                cure="run ra-guard gallery ingest with Triton at hand",
            )
        row = embeddings[usable[0]]
        return bytes((row / np.linalg.norm(row)).astype("<f4").tobytes())
