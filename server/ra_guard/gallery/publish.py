"""Rows in, a published generation out: one new shard in front of those that are there.

Everything that touches the manifest happens under the gallery's writer lock: read the generation in force, write the
shard and its pool, swap. Whatever fails before the swap leaves the old generation in force and its own files removed.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_guard._core import Generation, ShardWriter, publish_manifest
from ra_guard.gallery.errors import BadName
from ra_guard.gallery.features import FeatureSpace
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.pools import PoolWriter, pool_folder
from ra_guard.gallery.rows import Row, columns, embedding_matrix, extended, stored_row

KEPT_GENERATIONS = 3
"""Replicas that are behind may still open the last few; older shards and manifests are removed."""

MOST_CODES = 256
"""A row has one byte for its domain and one for its licence."""

# Only files of this module are ever removed, never one that a person put there.
_OUR_SHARD = re.compile(r"(rows|merged)-\d{10}\.shard")
_UNFINISHED = re.compile(r"(rows|merged)-\d{10}\.(shard\.\d+|pool)\.tmp")


@dataclass(frozen=True)
class Published:
    """What a publish came to."""

    generation: int
    rows: int
    """Rows of the new shard."""


def still_needed(generation: Generation | None, row: Row) -> bool:
    """Whether a row brings something that the generation lacks."""
    stored = stored_row(generation, row.id)
    return stored is None or (row.features is not None and not stored.is_complete)


def publish_rows(folder: GalleryFolder, space: FeatureSpace, rows: Sequence[Row]) -> Published | None:
    """Publishes rows as a new shard; those that another process has published meanwhile are left out.

    None when nothing is left. Raises ShardError (disk full, a row that no shard takes) and SpaceConflict; the
    generation in force is then as it was.
    """
    folder.create()
    with folder.publishing():
        current = folder.current()
        if current is not None:
            space.require(current)
        needed = [row for row in rows if still_needed(current, row)]
        if not needed:
            return None
        name = f"rows-{next_number(folder):010}.shard"
        present = [file for file, _, _ in current.shards] if current else []

        def write(writer: ShardWriter, pool: PoolWriter, tables: Tables) -> None:
            append(writer, pool, tables, needed, space.space.dim)

        tables = Tables.extending(current, needed)
        number = publish_shard(folder, name, present, tables, space, write)
        return Published(number, len(needed))


@dataclass(frozen=True)
class Tables:
    """Codes of a shard: a row stores positions in these."""

    domains: list[str]
    licences: list[str]

    @staticmethod
    def extending(generation: Generation | None, rows: Iterable[Row]) -> "Tables":
        """The generation's tables, with the names that rows bring at the end. Raises BadName when a table is full."""
        rows = list(rows)
        domains = extended(generation.domains if generation else [], [row.domain for row in rows])
        licences = extended(generation.licences if generation else [], [row.licence for row in rows])
        for field, table in (("domain", domains), ("licence", licences)):
            if len(table) > MOST_CODES:
                raise BadName(f"{field}: found {len(table)} different ones, wanted at most {MOST_CODES} in a gallery")
        return Tables(domains, licences)


def append(writer: ShardWriter, pool: PoolWriter, tables: Tables, rows: Sequence[Row], dim: int) -> None:
    """Adds rows to a shard in the making and to its pool."""
    ids = [row.id.encode() for row in rows]
    writer.append(ids, **columns(rows, dim, tables.domains, tables.licences))
    pool.add(ids, [row.domain for row in rows], embedding_matrix(rows, dim))


def publish_shard(
    folder: GalleryFolder,
    name: str,
    behind: Sequence[str],
    tables: Tables,
    space: FeatureSpace,
    write: Callable[[ShardWriter, PoolWriter, Tables], None],
) -> int:
    """Writes one shard with what ``write`` adds, and publishes it in front of the files ``behind``.

    Call inside `GalleryFolder.publishing`. Returns the new generation's number.
    """
    path = folder.shards / name
    remove_shard(path)  # What a publish that was killed before its manifest has left under this number.
    try:
        writer = ShardWriter(
            str(path),
            dim=space.space.dim,
            dtype=space.dtype,
            space_json=space.space.json(),
            labels=space.space.labels,
            label_embeddings=space.label_embeddings.tobytes(),
            domains=tables.domains,
            licences=tables.licences,
        )
        pool = PoolWriter(path, space.space.dim)
        write(writer, pool, tables)
        writer.finish()
        pool.finish()
        number = publish_manifest(str(folder.path), [name, *behind])
    except BaseException:
        named = shards_named(folder)
        if named is not None and name not in named:
            remove_shard(path)
        raise
    remove_unnamed(folder)
    return number


def next_number(folder: GalleryFolder) -> int:
    """One more than the newest manifest's."""
    return 1 + max((int(path.stem) for path in manifests(folder)), default=0)


def manifests(folder: GalleryFolder) -> list[Path]:
    """Manifests, oldest first."""
    return sorted(path for path in folder.generations.glob("*.json") if path.stem.isdigit())


def shards_named(folder: GalleryFolder) -> set[str] | None:
    """Files that some manifest names; None when a manifest cannot be read, for then nobody knows."""
    try:
        contents = [json.loads(path.read_bytes()) for path in manifests(folder)]
        return {shard["file"] for manifest in contents for shard in manifest["shards"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_unnamed(folder: GalleryFolder) -> None:
    """Removes manifests older than the last few, and the shards that none of the rest names.

    A mapping outlives its file's name, so calls in flight are not disturbed.
    """
    for path in manifests(folder)[:-KEPT_GENERATIONS]:
        path.unlink()
    named = shards_named(folder)
    if named is None:
        return
    for path in folder.shards.iterdir():
        if _OUR_SHARD.fullmatch(path.name) and path.name not in named:
            remove_shard(path)
        elif _UNFINISHED.fullmatch(path.name):  # Of a publisher that was killed: we hold its lock.
            _remove(path)


def remove_shard(path: Path) -> None:
    """Removes a shard and its pool, as far as they are there."""
    _remove(path)
    _remove(pool_folder(path))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
