"""One row of a shard in Python, and rows as the columns that the core takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ra_guard._core import Generation

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """What the models saw in one image."""

    embedding: Float32
    """``(dim,) float32``, unit length."""
    detections: Float32
    """``(n, 6) float32``: label, confidence, x0, y0, x1, y1; corners as fractions, origin top left."""


@dataclass(frozen=True)
class Row:
    """One image of a shard; ``features`` is None while it is cold."""

    id: str
    domain: str
    licence: str
    phash: int
    features: Features | None


@dataclass(frozen=True)
class StoredRow:
    """One image as a generation holds it."""

    domain: str
    licence: str
    phash: int
    has_embedding: bool
    has_detections: bool
    detections: tuple[tuple[str, float, float, float, float, float], ...]
    """Label, confidence, x0, y0, x1, y1; most confident first."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to compute. Half of the features count as none: both are computed together."""
        return self.has_embedding and self.has_detections


def stored_row(generation: Generation | None, image_id: str) -> StoredRow | None:
    """The row of an id; None when there is none, or no generation."""
    found: dict[str, Any] | None = generation.describe_row(image_id.encode()) if generation else None
    return None if found is None else StoredRow(**{**found, "detections": tuple(found["detections"])})


class Columns(TypedDict):
    """Arguments of `ShardWriter.append` after the ids."""

    embeddings: bytes
    domains: bytes
    licences: bytes
    phashes: bytes
    detection_counts: bytes
    detections: bytes


def columns(rows: Sequence[Row], dim: int, domains: Sequence[str], licences: Sequence[str]) -> Columns:
    """Rows as columns; every domain and licence must be in its table."""
    domain_codes = {name: code for code, name in enumerate(domains)}
    licence_codes = {name: code for code, name in enumerate(licences)}
    detections = [row.features.detections for row in rows if row.features is not None]
    counts = [-1 if row.features is None else len(row.features.detections) for row in rows]
    return Columns(
        embeddings=embedding_matrix(rows, dim).tobytes(),
        domains=bytes(domain_codes[row.domain] for row in rows),
        licences=bytes(licence_codes[row.licence] for row in rows),
        phashes=np.array([row.phash for row in rows], np.uint64).tobytes(),
        detection_counts=np.array(counts, np.int32).tobytes(),
        detections=np.concatenate([np.empty((0, 6), np.float32), *detections]).astype(np.float32).tobytes(),
    )


def embedding_matrix(rows: Sequence[Row], dim: int) -> Float32:
    """``(n, dim) float32``; rows of NaN where there is no embedding."""
    matrix = np.full((len(rows), dim), np.nan, np.float32)
    for position, row in enumerate(rows):
        if row.features is not None:
            matrix[position] = row.features.embedding
    return matrix


def extended(table: Sequence[str], names: Sequence[str]) -> list[str]:
    """A code table with new names at its end: a code that was given out keeps its meaning."""
    return list(dict.fromkeys([*table, *names]))
