"""Synthetic galleries: unit embeddings and plausible detections for any number of rows, without storing them twice.

Rows come in blocks of 65 536. Block ``b`` is block 0 with its embedding axis rotated by ``b`` places and its labels
moved on by ``b``, so ten million distinct rows cost one small block of random numbers, and any row can be told from
its number alone: that is what answers are checked against. Galleries are written once through the product's own
writer and kept.
"""

import mmap
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ra_guard import _core

from bench import machine, workload
from bench.workload import DIM, LABELS, Rows, Vectors

VERSION = 1
"""Raised whenever the rows below change, so that a kept gallery is never mistaken for a current one."""
BLOCK_ROWS = 65_536
MAX_BOXES = 6
HEADER_BYTES = 4096
"""The embeddings of a shard begin right behind its header: shard/FORMAT.md."""
PAGE_BYTES = 4096
SPARE_BYTES = 2 << 30
ROW_OVERHEAD_BYTES = 256
"""Record, index slots, id, offsets and boxes of one row, generously."""

SPACE_JSON = (
    '{"cosine_range":[-0.2,0.3],"dim":512,"dtype":"f32","image":{"kind":"synthetic","weights_sha256":""},'
    '"name":"bench","preprocessing":"none","text":{"kind":"synthetic","weights_sha256":""}}'
)
STORED_TYPES: dict[str, type[np.float32] | type[np.float16] | type[np.int8]] = {
    "f32": np.float32,
    "f16": np.float16,
    "i8": np.int8,
}


@dataclass(frozen=True)
class Detections:
    """Boxes of the rows of a block, flattened in row order and by descending confidence within a row."""

    counts: npt.NDArray[np.int32]
    """``(rows,)``, 1..MAX_BOXES."""
    boxes: Vectors
    """``(sum of counts, 6)``: label, confidence, x0, y0, x1, y1."""

    def moved_on(self, places: int) -> "Detections":
        """The same boxes with every label ``places`` further along."""
        boxes = self.boxes.copy()
        boxes[:, 0] = (boxes[:, 0] + places) % LABELS
        return Detections(self.counts, boxes)

    def first(self, rows: int) -> "Detections":
        """The boxes of the first rows."""
        counts = self.counts[:rows]
        return Detections(counts, self.boxes[: int(counts.sum())])

    def presences(self) -> Vectors:
        """``(rows, LABELS)``: noisy-or of confidence times geometry over the boxes of a label, see detection.rs."""
        label, confidence, x0, y0, x1, y1 = self.boxes.astype(np.float64).T
        area = (x1 - x0) * (y1 - y0)
        off_centre = 2 * (((x0 + x1) / 2 - 0.5) ** 2 + ((y0 + y1) / 2 - 0.5) ** 2)
        seen = confidence * (0.5 + 0.5 * np.sqrt(area)) * (1 - 0.5 * off_centre)
        absent = np.ones((len(self.counts), LABELS))
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        np.multiply.at(absent, (rows, label.astype(np.int64)), 1 - seen)
        return (1 - absent).astype(np.float32)


class Block:
    """Block 0, from which all others follow."""

    @cached_property
    def embeddings(self) -> Vectors:
        """``(BLOCK_ROWS, DIM)`` unit rows."""
        return workload.unit_rows(np.random.default_rng(11).standard_normal((BLOCK_ROWS, DIM), np.float32))

    @cached_property
    def detections(self) -> Detections:
        """Labels by Zipf's law, confidences from 0.3, boxes of all sizes."""
        rng = np.random.default_rng(13)
        counts = rng.integers(1, MAX_BOXES + 1, BLOCK_ROWS, dtype=np.int32)
        total = int(counts.sum())
        confidence = rng.uniform(0.3, 1.0, total).astype(np.float32)
        rows = np.repeat(np.arange(BLOCK_ROWS), counts)
        confidence = confidence[np.lexsort((-confidence, rows))]
        size = rng.uniform(0.05, 0.9, (total, 2))
        corner = rng.uniform(0, 1, (total, 2)) * (1 - size)
        labels = (rng.zipf(1.3, total) - 1) % LABELS
        boxes = np.column_stack((labels, confidence, corner, corner + size)).astype(np.float32)
        return Detections(counts, boxes)

    @cached_property
    def presences(self) -> Vectors:
        """``(BLOCK_ROWS, LABELS)``."""
        return self.detections.presences()


@lru_cache(maxsize=1)
def block() -> Block:
    """The one block of this process."""
    return Block()


def embeddings_of(rows: Rows) -> Vectors:
    """``(n, DIM)`` float32: the rows before they are stored in any type."""
    columns = (np.arange(DIM)[None, :] - (rows // BLOCK_ROWS)[:, None]) % DIM
    embeddings: Vectors = block().embeddings[(rows % BLOCK_ROWS)[:, None], columns]
    return embeddings


def presences_of(rows: Rows) -> Vectors:
    """``(n, LABELS)`` float32."""
    columns = (np.arange(LABELS)[None, :] - (rows // BLOCK_ROWS)[:, None]) % LABELS
    presences: Vectors = block().presences[(rows % BLOCK_ROWS)[:, None], columns]
    return presences


def spans(rows: int) -> Iterator[tuple[int, int]]:
    """The first and the end row of each block of a gallery."""
    return pairwise([*range(0, rows, BLOCK_ROWS), rows])


def matrix(rows: int) -> Vectors:
    """``(rows, DIM)`` float32, the whole gallery in memory."""
    whole = np.empty((rows, DIM), np.float32)
    for start, end in spans(rows):
        whole[start:end] = np.roll(block().embeddings[: end - start], start // BLOCK_ROWS, axis=1)
    return whole


def presence_matrix(rows: int) -> npt.NDArray[np.uint16]:
    """``(LABELS, rows)`` uint16, presence in steps of 1/65535: a column a label."""
    whole = np.empty((LABELS, rows), np.uint16)
    for start, end in spans(rows):
        moved = np.roll(block().presences[: end - start], start // BLOCK_ROWS, axis=1)
        whole[:, start:end] = np.rint(moved.T * 65535)
    return whole


def stored(vectors: Vectors, dtype: str) -> tuple[npt.NDArray[np.generic], Vectors]:
    """What a shard of that type keeps of rows: the values, and the ``(n,)`` scale that turns them back.

    Follows shard/FORMAT.md to the bit, so that an i8 value on the edge between two steps falls on the same side.
    """
    unit = workload.unit_rows(vectors)
    if dtype != "i8":
        return unit.astype(STORED_TYPES[dtype]), np.ones(len(unit), np.float32)
    scales = row_scales(unit)
    return _half_away_from_zero((unit / scales[:, None]).astype(np.float64)), scales


def stored_queries(queries: Vectors, dtype: str) -> tuple[npt.NDArray[np.generic], Vectors]:
    """Queries in the type of the rows, as kernel/query.rs rounds them for i8, and the scale of each."""
    if dtype != "i8":
        return queries.astype(STORED_TYPES[dtype]), np.ones(len(queries), np.float32)
    steps = 127 / np.abs(queries).max(axis=1, keepdims=True).astype(np.float64)
    return _half_away_from_zero(queries * steps), row_scales(queries)


def row_scales(vectors: Vectors) -> Vectors:
    """``(n,)``: one step of i8 in each row."""
    scales: Vectors = (np.abs(vectors).max(axis=1) / np.float32(127)).astype(np.float32)
    return scales


def decoded(values: npt.NDArray[np.generic], scales: Vectors) -> Vectors:
    """``(n, DIM)`` float32: what stored values stand for."""
    return values.astype(np.float32) * scales[:, None]


def _half_away_from_zero(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    return np.trunc(steps + np.copysign(0.5, steps)).clip(-127, 127).astype(np.int8)


@dataclass(frozen=True)
class Gallery:
    """A gallery on disk: one shard, one generation."""

    folder: Path
    rows: int
    dtype: str

    @property
    def shard(self) -> Path:
        """Its only shard."""
        return self.folder / "shards" / "bench.shard"

    def open(self) -> _core.Generation:
        """Maps it and walks every page with the processor, as a worker does before it serves."""
        generation = _core.Generation.open(str(self.folder))
        generation.populate()
        return generation

    def mapped_rows(self) -> npt.NDArray[np.generic]:
        """``(rows, DIM)``: the shard's own embeddings through numpy, so that rivals read the very same pages.

        Mapped with the advice that the product gives, in large pages where there are some, and walked as it does.
        """
        with self.shard.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with suppress(OSError):  # advice: a kernel without huge pages does without
            mapping.madvise(mmap.MADV_HUGEPAGE)
        stored = np.frombuffer(mapping, STORED_TYPES[self.dtype], self.rows * DIM, HEADER_BYTES)
        int(np.count_nonzero(stored[:: PAGE_BYTES // stored.itemsize]))
        return stored.reshape(self.rows, DIM)


def room_for(rows: int, dtype: str, state: Path) -> str | None:
    """Why a gallery of that size cannot be measured here, or None when it can."""
    size = np.dtype(STORED_TYPES[dtype]).itemsize
    wanted = rows * (DIM * size + ROW_OVERHEAD_BYTES) + SPARE_BYTES
    if machine.available_memory_bytes() < wanted:
        found = machine.available_memory_bytes() >> 20
        return f"{rows} {dtype} rows want {wanted >> 20} MiB of memory, found {found}"
    if _complete(_folder(rows, dtype, state)):
        return None
    state.mkdir(parents=True, exist_ok=True)
    if machine.free_disk_bytes(state) < wanted:
        found = machine.free_disk_bytes(state) >> 20
        return f"{rows} {dtype} rows want {wanted >> 20} MiB of disk, found {found}"
    return None


def gallery(rows: int, dtype: str, state: Path) -> Gallery:
    """The kept gallery of that size and type, written now if there is none."""
    kept = Gallery(_folder(rows, dtype, state), rows, dtype)
    if not _complete(kept.folder):
        shutil.rmtree(kept.folder, ignore_errors=True)
        _write(kept)
    return kept


def _folder(rows: int, dtype: str, state: Path) -> Path:
    return state / f"{dtype}-{rows}-v{VERSION}.{_core.FORMAT_VERSION}"


def _complete(folder: Path) -> bool:
    """CURRENT is written last."""
    return (folder / "CURRENT").exists()


def _write(target: Gallery) -> None:
    target.shard.parent.mkdir(parents=True)
    writer = _core.ShardWriter(
        str(target.shard),
        dim=DIM,
        dtype=target.dtype,
        space_json=SPACE_JSON,
        labels=workload.label_names(),
        label_embeddings=workload.label_embeddings().tobytes(),
        domains=["bench"],
        licences=["any"],
    )
    for start, end in spans(target.rows):
        _append(writer, start, end)
    writer.finish()
    _core.publish_manifest(str(target.folder), [target.shard.name])


def _append(writer: _core.ShardWriter, start: int, end: int) -> None:
    rows, number = end - start, start // BLOCK_ROWS
    detections = block().detections.first(rows).moved_on(number)
    zeros = bytes(rows)
    writer.append(
        workload.ids_of(np.arange(start, end)),
        embeddings=np.roll(block().embeddings[:rows], number, axis=1).tobytes(),
        domains=zeros,
        licences=zeros,
        phashes=np.arange(start, end, dtype=np.uint64).tobytes(),
        detection_counts=detections.counts.tobytes(),
        detections=detections.boxes.tobytes(),
    )
