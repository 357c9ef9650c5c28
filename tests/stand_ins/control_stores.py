"""What tests fill a control store with, and what they do to it behind its back."""

import itertools
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
from ra_guard.experiments.control_store import ControlStore, Entry, Stored, WriterLease

from tests.stand_ins.postgres import PostgresServer

KEY = "ra_guard_enhancement"
START = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
TTL_S = 600.0
"""Of leases that a test does not want to run out."""

_names = (f"store_{number}" for number in itertools.count())


def stored(revision: int = 1, key: str = KEY, **changed: object) -> Stored:
    values: dict[str, object] = {
        "key": key,
        "revision": revision,
        "epoch": 1,
        "definition": 'format = 1\nkey = "é"\n',
        "state": f'{{"revision":{revision}}}',
        "sealed": b"\x00\xff" + bytes([revision % 256]) * 40,
        "at": START + timedelta(seconds=revision),
    }
    return Stored(**{**values, **changed})  # type: ignore[arg-type]


def entry(revision: int = 1, key: str = KEY, **changed: object) -> Entry:
    values: dict[str, object] = {
        "key": key,
        "revision": revision,
        "at": START + timedelta(seconds=revision),
        "who": "ana",
        "why": "naïve reasons, 理由",
        "what": f"step {revision}",
        "numbers": {"ramp_bp": float(revision), "users": 0.1},
    }
    return Entry(**{**values, **changed})  # type: ignore[arg-type]


def record(store: ControlStore, revision: int, lease: WriterLease, key: str = KEY) -> None:
    """One revision after the one before it."""
    store.record(revision - 1, stored(revision, key), entry(revision, key), lease)


def acquired(store: ControlStore, holder: str = "a", ttl_s: float = TTL_S) -> WriterLease:
    lease = store.acquire(holder, ttl_s)
    assert lease is not None
    return lease


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """One statement by a client of the database's own: what a person at a shell could do."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def run_out(url: str) -> None:
    """Ends the time of the lease in force, whoever holds it."""
    execute(url, "UPDATE control_writer SET expires_s = 0")


def new_database(server: PostgresServer) -> str:
    name = next(_names)
    server.execute(f"CREATE DATABASE {name}")
    return server.url(name)


def new_schema(server: PostgresServer) -> str:
    """A store's address in a schema of its own: much cheaper than a database where nothing is set for all of it."""
    name = next(_names)
    server.execute(f"CREATE SCHEMA {name}")
    return f"{server.url()}?options=-csearch_path%3D{name}"
