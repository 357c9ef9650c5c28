"""Metadata of every image, by id: where it lies, where it came from, what may be done with it.

Features are not here but in the shards; a row of the catalogue says which content has which id, so that an ingest can
tell in one look-up what it has seen. SQLite, one file; rows are only ever added.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id         TEXT PRIMARY KEY,
    digest     TEXT NOT NULL UNIQUE,   -- xxh3-128 of the encoded bytes, 32 hex digits
    url_path   TEXT NOT NULL,          -- below objects/
    domain     TEXT NOT NULL,
    provider   TEXT NOT NULL,
    license    TEXT NOT NULL,
    phash      TEXT NOT NULL,          -- 64-bit perceptual hash, 16 hex digits
    width      INTEGER NOT NULL,
    height     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    source     TEXT NOT NULL,
    created_at TEXT NOT NULL           -- ISO 8601, UTC
) STRICT
"""


@dataclass(frozen=True)
class ImageRecord:
    """One image, in the order of the table's columns."""

    id: str
    digest: str
    url_path: str
    domain: str
    provider: str
    license: str
    phash: str
    width: int
    height: int
    bytes: int
    source: str
    created_at: str


_COLUMNS = ", ".join(field.name for field in fields(ImageRecord))


class Catalogue:
    """The catalogue of one gallery. One thread at a time; several processes may."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @staticmethod
    @contextmanager
    def open(path: Path) -> Iterator["Catalogue"]:
        """Opens the file, making it when it is missing."""
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            # Records that a power cut takes away come back with the next ingest: what is published is in the shards.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
            yield Catalogue(connection)

    def add(self, records: Iterable[ImageRecord]) -> None:
        """Adds records, all or none; those whose id or content is there already stay as they are."""
        marks = ", ".join("?" * len(fields(ImageRecord)))
        with self._connection:
            self._connection.executemany(
                f"INSERT OR IGNORE INTO images ({_COLUMNS}) VALUES ({marks})",  # noqa: S608 -- no outside text in it
                map(astuple, records),
            )

    def by_digest(self, digest: str) -> ImageRecord | None:
        """The image with this content."""
        return self._one("digest", digest)

    def by_id(self, image_id: str) -> ImageRecord | None:
        """The image of this id."""
        return self._one("id", image_id)

    def __len__(self) -> int:
        (count,) = self._connection.execute("SELECT count(*) FROM images").fetchone()
        return int(count)

    def _one(self, column: str, value: str) -> ImageRecord | None:
        query = f"SELECT {_COLUMNS} FROM images WHERE {column} = ?"  # noqa: S608 -- column is one of two literals
        row = self._connection.execute(query, (value,)).fetchone()
        return None if row is None else ImageRecord(*row)
