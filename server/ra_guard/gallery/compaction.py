"""Merges small shards, so that a look-up asks few of them.

The largest shard stays as it is; the rows that the others serve are written into one. Rows keep their stored values:
f32, f16 and i8 within one step of their precision, for a row is scaled to unit length anew. Presence is computed again
from the stored boxes. The result is another generation, so no replay mixes the two.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ra_guard._core import Generation, ShardWriter
from ra_guard.gallery.features import FeatureSpace
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.pools import PoolWriter, serving_rows
from ra_guard.gallery.publish import Tables, append, next_number, publish_shard
from ra_guard.gallery.rows import Features, Float32, Row, stored_row

MOST_SHARDS = 8
"""Above this, a publish is followed by a merge."""


def compact(folder: GalleryFolder, space: FeatureSpace, most: int = MOST_SHARDS) -> int | None:
    """Merges all shards but the largest when there are more than ``most``; returns the new generation's number."""
    with folder.publishing():
        current = folder.current()
        if current is None or len(current.shards) <= most:
            return None
        space.require(current)
        largest = max(range(len(current.shards)), key=lambda shard: current.shards[shard][1])

        def write(writer: ShardWriter, pool: PoolWriter, tables: Tables) -> None:
            for ids, handles in serving_rows(current):
                chosen = np.flatnonzero(handles >> np.uint64(32) != largest)
                rows = read_rows(current, [ids[row] for row in chosen], handles[chosen].tobytes())
                append(writer, pool, tables, rows, current.dim)

        name = f"merged-{next_number(folder):010}.shard"
        tables = Tables(list(current.domains), list(current.licences))
        return publish_shard(folder, name, [current.shards[largest][0]], tables, space, write)


def read_rows(generation: Generation, ids: Sequence[bytes], handles: bytes) -> list[Row]:
    """Rows of a generation as they are stored."""
    labels = {name: label for label, name in enumerate(generation.labels)}
    embeddings = np.frombuffer(generation.embeddings(handles), np.float32).reshape(len(ids), generation.dim)
    return [_row(generation, labels, *row) for row in zip(ids, embeddings, strict=True)]


def _row(generation: Generation, labels: Mapping[str, int], image_id: bytes, embedding: Float32) -> Row:
    stored = stored_row(generation, image_id.decode())
    if stored is None:
        raise LookupError(f"{image_id!r} is in the generation's list of ids and cannot be looked up")
    boxes = np.array([(labels[label], *rest) for label, *rest in stored.detections], np.float32).reshape(-1, 6)
    features = Features(embedding, boxes) if stored.is_complete else None
    return Row(image_id.decode(), stored.domain, stored.licence, stored.phash, features)
