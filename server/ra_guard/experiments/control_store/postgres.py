"""The store in PostgreSQL: the writer's row locks out other writing transactions, leases run by the server's clock.

Nothing waits for long. The server bounds a statement, a lock and an idle transaction; this side bounds the connection
and every answer, since a server that is stopped or cut off keeps no promise of its own.
"""

import select as io_select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from ra_guard.experiments.control_store.backend import Moment
from ra_guard.experiments.control_store.errors import (
    AppendOnly,
    BadEntry,
    SchemaVersion,
    StoreBusy,
    StoreCorrupt,
    StoreFailed,
    StoreFull,
    StoreGone,
    StoreReadOnly,
)
from ra_guard.experiments.control_store.triggers import REFUSED_STATE
from ra_guard.experiments.errors import ExperimentError

CONNECT_S = 3
STATEMENT_S = 4
LOCK_S = 3
ANSWER_S = 5.0
"""Longer than what the server allows itself: it is this side's turn only when the server says nothing."""
IDLE_TRANSACTION_S = 5
"""After this the server ends the transaction of a client that was stopped while it held the writer's row."""
_CONNECTIONS = 8
_CREATION_LOCK = 0x72615F67756172

_Answer = TypeVar("_Answer")


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is closed when the server leaves a statement unanswered for `ANSWER_S`."""

    def wait(self, gen: PQGen[_Answer], interval: float = 0.1, timeout: float | None = ANSWER_S) -> _Answer:
        """Every exchange of a connection goes through here."""
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            # An answer that comes later must not be read as that of the next statement.
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.close()
            raise


class PostgresBackend:
    """A `Backend` over one database."""

    def __init__(self, url: URL) -> None:
        self._where = url.render_as_string(hide_password=True)
        self._arguments, options = url.get_dialect()().create_connect_args(url)
        self._options = _bounded(options)
        self._engine = create_engine(
            url,
            creator=self._connect,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=LOCK_S,
            # Looking for a type that the store has no use for would cost an exchange each connection.
            use_native_hstore=False,
            # A change reads what is in force after it has the writer's row. A snapshot from before that is stale.
            isolation_level="READ COMMITTED",
        )
        event.listen(self._engine, "checkout", _refuse_hung_up)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Backend`."""
        with self._engine.connect() as connection:
            yield connection

    writing = reading

    @contextmanager
    def creating(self) -> Iterator[Connection]:
        """See `Backend`."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATION_LOCK})
            yield connection

    def now(self, connection: Connection) -> Moment:
        """See `Backend`. One clock for all holders: the server's, at this statement."""
        seconds = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
        return Moment("", float(seconds or 0.0))

    def require_there(self) -> None:
        """See `Backend`. The server's connection tells."""

    def inspect_storage(self, connection: Connection) -> None:
        """See `Backend`. Pages are the server's to check, where it was set up with checksums."""

    def failure(self, error: DBAPIError) -> ExperimentError:
        """See `Backend`."""
        return failure_of(error.orig, self._where)

    def close(self) -> None:
        """See `Backend`."""
        self._engine.dispose()

    def _connect(self) -> DBAPIConnection:
        return cast(DBAPIConnection, BoundedConnection.connect(*self._arguments, **self._options))


def _bounded(options: Mapping[str, Any]) -> dict[str, Any]:
    """The address's own options, after ours: who names a bound in the address decides it."""
    limits = {
        "statement_timeout": f"{STATEMENT_S}s",
        "lock_timeout": f"{LOCK_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_S}s",
        # What a database set to be fast may lose, a change that was answered must not.
        "synchronous_commit": "on",
    }
    settings = " ".join(f"-c {name}={limit}" for name, limit in limits.items())
    ours = {
        "connect_timeout": CONNECT_S,
        "application_name": "ra-guard-control",
        "client_encoding": "utf8",
        # Statements prepared by name do not survive a pooler between here and the server.
        "prepare_threshold": None,
    }
    return {**ours, **options, "options": f"{settings} {options.get('options', '')}".strip()}


def _refuse_hung_up(connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:  # noqa: ARG001
    """An idle connection with something to read was ended by the server: the pool opens another one."""
    if connection.closed:
        raise DisconnectionError("the connection was closed")
    poll = io_select.poll()
    poll.register(connection.fileno(), io_select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError("the server hung up")


def failure_of(error: BaseException | None, where: str) -> ExperimentError:
    """What an error of psycopg means, by its SQLSTATE; an error without one is of the connection."""
    said = " ".join(str(error).split())
    state = getattr(error, "sqlstate", None)
    if state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return _gone(f"no answer from {where} ({said})")
    found = f"{state or type(error).__name__} from {where} ({said})"
    if state is not None:
        for states, meaning in _MEANINGS:
            if state.startswith(states):
                return meaning(found)
    if isinstance(error, psycopg.DataError):
        return _bad_entry(found)
    return StoreFailed(found=found, wanted="an answer from PostgreSQL", cure="see the cause in the log")


def _read_only(found: str) -> ExperimentError:
    return StoreReadOnly(
        found=found,
        wanted="a primary server, and a role that may insert",
        cure="name the primary, or grant the role its tables",
    )


def _full(found: str) -> ExperimentError:
    return StoreFull(found=found, wanted="room to write", cure="free space on the server's disk")


def _busy(found: str) -> ExperimentError:
    return StoreBusy(found=found, wanted=f"a lock within {LOCK_S} s", cure="try again")


def _gone(found: str) -> ExperimentError:
    return StoreGone(
        found=found, wanted="a PostgreSQL server that answers", cure="start the server, or correct control.store"
    )


def _corrupt(found: str) -> ExperimentError:
    return StoreCorrupt(found=found, wanted="a database that is whole", cure="restore it from a copy")


def _bad_entry(found: str) -> ExperimentError:
    return BadEntry(found=found, wanted="text in UTF-8 that the database can hold", cure="correct the value named")


def _schema(found: str) -> ExperimentError:
    return SchemaVersion(
        found=found, wanted="the store's own tables", cure="restore the store, or name an empty database"
    )


def _append_only(found: str) -> ExperimentError:
    return AppendOnly(found=found, wanted="rows that are only added", cure="write through `ra-guard experiment`")


_MEANINGS = (
    ((REFUSED_STATE,), _append_only),
    (("25006", "42501"), _read_only),  # read-only transaction; insufficient privilege
    (("53100", "53200", "53400"), _full),  # disk, memory, configured limit
    (("40", "55P03", "57014"), _busy),  # serialisation, deadlock; lock not available; statement cancelled by its time
    (("08", "57P", "25P03", "58030"), _gone),  # connection; server going down; idle too long; input or output
    (("XX001", "XX002", "58P01", "23"), _corrupt),  # pages, indexes, files; rows that contradict each other
    (("42P01", "42703"), _schema),  # no such table, no such column
    (("22",), _bad_entry),
)
"""By the beginning of a SQLSTATE, first match first."""
