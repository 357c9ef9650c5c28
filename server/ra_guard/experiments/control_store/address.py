"""Where a store is: ``sqlite:////whole/path/control.db`` or ``postgresql+psycopg://user@host/database``."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ra_guard.experiments.control_store.backend import Backend
from ra_guard.experiments.control_store.errors import BadStoreUrl
from ra_guard.experiments.control_store.sqlite import SqliteBackend

_POSTGRESQL = ("postgresql+psycopg", "postgresql")


def backend_of(url: str, *, steady_clock: Callable[[], float], boot: Callable[[], str]) -> Backend:
    """The database that an address names; a file is made, a server is not yet asked. Raises BadStoreUrl, StoreGone."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as cause:
        # The text itself is kept out of the message: it may hold a password.
        raise _bad("an address that cannot be read") from cause
    if parsed.drivername in _POSTGRESQL:
        # A third of a second of imports that a store in a file does without.
        from ra_guard.experiments.control_store.postgres import PostgresBackend

        return PostgresBackend(parsed.set(drivername="postgresql+psycopg"))
    if parsed.drivername == "sqlite":
        return SqliteBackend(_file_of(parsed), steady_clock=steady_clock, boot=boot)
    raise _bad(f"an address of {parsed.drivername}")


def _file_of(url: URL) -> Path:
    path = Path(url.database or "")
    if url.query or url.host or not path.is_absolute():
        raise _bad(f"an address of SQLite with path {url.database!r}, host {url.host!r}, options {dict(url.query)}")
    return path


def _bad(found: str) -> BadStoreUrl:
    return BadStoreUrl(
        found=found,
        wanted="sqlite:////whole/path/control.db or postgresql+psycopg://user@host/database",
        cure="correct control.store",
    )
