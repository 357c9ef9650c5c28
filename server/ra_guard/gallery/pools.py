"""Candidate pools: approximate nearest neighbours of a query vector, by domain.

Every shard has its own indexes, built while it is published and never touched again: ``<shard>.pool/`` holds one
usearch index a domain (f16, inner product of unit rows) and the ids of its keys. A new generation therefore costs an
index over its new rows only, however large the gallery is. A search asks the indexes of all shards and leaves out
rows that a newer shard replaces.

Searching holds the interpreter lock: a pool is drawn once a call that names no candidates, never on the hot path.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from ra_guard._core import Generation
from ra_guard.gallery.errors import DiskFull
from ra_guard.gallery.rows import Float32, stored_row

_CONNECTIVITY = 16
_EXPANSION_ADD = 128
_EXPANSION_SEARCH = 256
"""At least as many as the largest pool (200): below it, usearch finds fewer neighbours than asked for."""

_UNUSABLE = (OSError, ValueError, KeyError, RuntimeError, EOFError, BadZipFile)
"""What usearch and numpy raise for files that are missing, cut short or flipped."""

_IDS_AT_A_TIME = 65_536
_ROWS_AT_A_TIME = 4096


def pool_folder(shard: Path) -> Path:
    """Where the indexes of a shard lie."""
    return shard.with_suffix(".pool")


class PoolWriter:
    """Builds the indexes of one shard. One builder a folder; nothing appears before `finish`."""

    def __init__(self, shard: Path, dim: int) -> None:
        self._folder = pool_folder(shard)
        self._dim = dim
        self._ids: dict[str, list[bytes]] = {}
        self._indexes: dict[str, Index] = {}

    def add(self, ids: Sequence[bytes], domains: Sequence[str], embeddings: Float32) -> None:
        """Adds rows; those without an embedding (NaN) are in no pool."""
        usable = np.atleast_1d(np.isfinite(embeddings).all(axis=1))
        for domain in dict.fromkeys(domains):
            rows = [row for row, name in enumerate(domains) if name == domain and usable[row]]
            if not rows:
                continue
            known = self._ids.setdefault(domain, [])
            index = self._indexes.setdefault(domain, _new_index(self._dim))
            index.add(np.arange(len(known), len(known) + len(rows), dtype=np.uint64), embeddings[rows])
            known.extend(ids[row] for row in rows)

    def finish(self) -> None:
        """Writes the folder in one step; a shard whose rows are all cold gets an empty one."""
        temporary = self._folder.with_suffix(".pool.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            for domain, index in self._indexes.items():
                index.save(temporary / f"{quote(domain, safe='')}.usearch")
                _save_ids(temporary / f"{quote(domain, safe='')}.ids.npz", self._ids[domain])
            shutil.rmtree(self._folder, ignore_errors=True)
            temporary.rename(self._folder)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, RuntimeError):  # How usearch reports what the file system refused.
                raise DiskFull(f"{self._folder}: {error}; free space, then run again: nothing is lost") from error
            raise


@dataclass(frozen=True)
class _Pool:
    """The index of one shard and domain, mapped, with the id of each key."""

    shard: int
    domain: str
    index: Index
    offsets: NDArray[np.uint64]
    id_bytes: bytes

    def nearest(self, vector: Float32, k: int) -> Iterator[tuple[float, bytes]]:
        matches = self.index.search(vector, min(k, len(self.index)), threads=1)
        for key, distance in zip(matches.keys.tolist(), matches.distances.tolist(), strict=True):
            yield float(distance), self.id_bytes[int(self.offsets[key]) : int(self.offsets[key + 1])]


class Pools:
    """The pools of one generation, viewed read-only. Immutable; open new ones for a new generation."""

    def __init__(self, generation: Generation, pools: Sequence[_Pool], missing: Sequence[str]) -> None:
        self._generation = generation
        self._pools = tuple(pools)
        self.missing = tuple(missing)
        """Shards without usable indexes: their rows are in no pool until `ra-guard gallery pools` builds them."""

    @staticmethod
    def open(gallery: Path, generation: Generation) -> "Pools":
        """Maps the indexes of every shard of a generation."""
        pools: list[_Pool] = []
        missing = []
        for shard, (file, _, _) in enumerate(generation.shards):
            try:
                pools.extend(_open_folder(pool_folder(gallery / "shards" / file), shard, generation.dim))
            except _UNUSABLE:  # Not there, or not what `finish` wrote: built anew all the same.
                missing.append(file)
        return Pools(generation, pools, missing)

    def search(self, vector: bytes, domain: str, k: int) -> list[bytes]:
        """Ids of the ``k`` rows nearest to a ``(dim,) float32`` unit vector, best first. An empty domain means any.

        Fewer when the domain holds fewer, none when there is no index: the caller then has no candidates.
        """
        query = np.frombuffer(vector, np.float32)
        hits = [
            (distance, image_id, pool.shard)
            for pool in self._pools
            if domain in ("", pool.domain)
            for distance, image_id in pool.nearest(query, k)
        ]
        hits.sort(key=lambda hit: hit[:2])
        return [image_id for image_id, _ in _in_force(self._generation, hits)][:k]


def build_missing(gallery: Path, generation: Generation) -> tuple[str, ...]:
    """Builds the indexes of shards that have none, from the rows they serve; returns their files."""
    missing = Pools.open(gallery, generation).missing
    files = [file for file, _, _ in generation.shards]
    writers = {files.index(file): PoolWriter(gallery / "shards" / file, generation.dim) for file in missing}
    for ids, handles in serving_rows(generation) if writers else ():
        for shard, writer in writers.items():
            _add_rows(generation, ids, handles, shard, writer)
    for writer in writers.values():
        writer.finish()
    return missing


def _add_rows(
    generation: Generation, ids: Sequence[bytes], handles: NDArray[np.uint64], shard: int, writer: PoolWriter
) -> None:
    chosen = np.flatnonzero(handles >> np.uint64(32) == shard)
    for some in np.array_split(chosen, len(chosen) // _ROWS_AT_A_TIME + 1):
        embeddings = np.frombuffer(generation.embeddings(handles[some].tobytes()), np.float32)
        described = [stored_row(generation, ids[row].decode()) for row in some]
        domains = [row.domain if row else "" for row in described]
        writer.add([ids[row] for row in some], domains, embeddings.reshape(-1, generation.dim))


def serving_rows(generation: Generation) -> Iterator[tuple[list[bytes], NDArray[np.uint64]]]:
    """Ids and handles of the rows in serving order, in large portions: each portion walks the ids before it."""
    start = 0
    while ids := generation.ids(start, start + _IDS_AT_A_TIME):
        yield ids, np.frombuffer(generation.lookup(ids), np.uint64)
        start += len(ids)


def _in_force(generation: Generation, hits: Sequence[tuple[float, bytes, int]]) -> Iterable[tuple[bytes, int]]:
    """Leaves out hits on rows that another shard has replaced."""
    handles = np.frombuffer(generation.lookup([image_id for _, image_id, _ in hits]), np.uint64)
    for (_, image_id, shard), serving in zip(hits, (handles >> np.uint64(32)).tolist(), strict=True):
        if serving == shard:
            yield image_id, shard


def _open_folder(folder: Path, shard: int, dim: int) -> list[_Pool]:
    """Raises one of `_UNUSABLE` for a folder that is missing or damaged."""
    pools = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".usearch":
            index = _new_index(dim)
            index.view(path)
            with path.with_suffix(".ids.npz").open("rb") as file, np.load(file) as ids:
                offsets, id_bytes = ids["offsets"], ids["bytes"].tobytes()
            if index.ndim != dim or len(offsets) != len(index) + 1:
                raise ValueError(f"{path}: found {len(index)} rows of dim {index.ndim}")
            pools.append(_Pool(shard, unquote(path.stem), index, offsets, id_bytes))
    return pools


def _new_index(dim: int) -> Index:
    return Index(
        ndim=dim,
        metric="ip",
        dtype="f16",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
        expansion_search=_EXPANSION_SEARCH,
    )


def _save_ids(path: Path, ids: Sequence[bytes]) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(image_id) for image_id in ids])]).astype(np.uint64)
    np.savez(path, offsets=offsets, bytes=np.frombuffer(b"".join(ids), np.uint8))
