"""A small gallery for programs that are about control and logs, not about speed, and questions to ask of it.

Some rows lack an embedding, some their detections; there are two domains, two licences, and pools. Everything follows
from row numbers and seeds, so two runs ask the same questions.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from ra_guard import _core
from ra_guard.gallery.pools import PoolWriter
from ra_guard.v1 import rerank_pb2

from bench.workload import Vectors, unit_rows

DIM = 32
ROWS = 2000
LABELS = ("dog", "cat", "boat")
DOMAINS = ("pets", "travel")
LICENCES = ("free", "paid")
NO_EMBEDDING_EVERY = 101
NO_DETECTIONS_EVERY = 103
SPACE_JSON = f'{{"cosine_range":[-0.2,0.6],"dim":{DIM},"dtype":"f32","name":"small"}}'
SPACE = _core.space_fingerprint(SPACE_JSON)


def publish(gallery: Path) -> None:
    """Writes the gallery into a folder that does not exist yet."""
    shard = gallery / "shards" / "small.shard"
    shard.parent.mkdir(parents=True)
    writer = _core.ShardWriter(
        str(shard),
        dim=DIM,
        dtype="f16",
        space_json=SPACE_JSON,
        labels=LABELS,
        label_embeddings=vectors(len(LABELS), seed=1).tobytes(),
        domains=DOMAINS,
        licences=LICENCES,
    )
    rows = np.arange(ROWS)
    embeddings = vectors(ROWS, seed=2)
    embeddings[rows % NO_EMBEDDING_EVERY == 0] = np.nan
    counts = np.where(rows % NO_DETECTIONS_EVERY == 0, -1, rows % 4).astype("<i4")
    ids = [image_id(row).encode() for row in range(ROWS)]
    writer.append(
        ids,
        embeddings=embeddings.tobytes(),
        domains=(rows % len(DOMAINS)).astype(np.uint8).tobytes(),
        licences=(rows // 7 % len(LICENCES)).astype(np.uint8).tobytes(),
        phashes=rows.astype("<u8").tobytes(),
        detection_counts=counts.tobytes(),
        detections=_boxes(int(counts.clip(min=0).sum())).tobytes(),
    )
    writer.finish()
    pools = PoolWriter(shard, DIM)
    pools.add(ids, [DOMAINS[row % len(DOMAINS)] for row in range(ROWS)], embeddings)
    pools.finish()
    _core.publish_manifest(str(gallery), [shard.name])


def image_id(row: int) -> str:
    """The id of a row; of rows beyond the gallery, ids that it does not know."""
    return f"image-{row:05d}"


def vectors(count: int, seed: int) -> Vectors:
    """``(count, DIM)`` float32 unit rows."""
    return unit_rows(np.random.default_rng(seed).standard_normal((count, DIM), np.float32))


def embedding(values: Vectors) -> rerank_pb2.QueryEmbedding:
    """A query in the gallery's space."""
    return rerank_pb2.QueryEmbedding(values=values.astype("<f4").tobytes(), space=SPACE)


def questions(count: int, *, candidates: int) -> list[bytes]:
    """Requests of ``count`` users, each user under a request id of its own."""
    rng = np.random.default_rng(3)
    return [
        rerank_pb2.RerankRequest(
            request_id=f"small-{number:05d}",
            user_id=f"user-{number:05d}",
            embedding=embedding(query),
            candidate_ids=[image_id(int(row)) for row in rng.choice(ROWS, candidates, replace=False)],
        ).SerializeToString()
        for number, query in enumerate(vectors(count, seed=4))
    ]


def _boxes(count: int) -> npt.NDArray[np.float32]:
    """``(count, 6)``: label, confidence and corners of boxes anywhere in an image."""
    rng = np.random.default_rng(5)
    low, high = rng.uniform(0.0, 0.4, (count, 2)), rng.uniform(0.5, 1.0, (count, 2))
    columns = [rng.integers(0, len(LABELS), (count, 1)), rng.uniform(0.3, 1.0, (count, 1)), low, high]
    return np.hstack(columns).astype("<f4")
