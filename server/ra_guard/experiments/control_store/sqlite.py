"""The store in one SQLite file: write-ahead log, synchronous = FULL, one writing transaction at a time.

Leases run by CLOCK_BOOTTIME, which no change of the wall clock moves and a suspended machine does not stop, together
with the kernel's boot id. SQLite goes on writing to a file that was removed or replaced under it; what a connection
opened is therefore compared with what the path names, before each transaction and after each commit.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ra_guard.experiments.control_store.backend import Moment
from ra_guard.experiments.control_store.errors import (
    AppendOnly,
    StoreBusy,
    StoreCorrupt,
    StoreFailed,
    StoreFull,
    StoreGone,
    StoreReadOnly,
)
from ra_guard.experiments.control_store.triggers import REFUSED
from ra_guard.experiments.errors import ExperimentError

BUSY_S = 3.0
"""How long a transaction waits for another one's lock, and a caller for a connection."""
_RETRY_S = 0.02
_CONNECTIONS = 8
_WRITES = "ra_guard_writes"


def boot_time_s() -> float:
    """Seconds since the machine started, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The name of this boot of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class SqliteBackend:
    """A `Backend` over one file. The file and its folder are made when they are not there."""

    def __init__(self, path: Path, *, steady_clock: Callable[[], float], boot: Callable[[], str]) -> None:
        self._path = path
        self._steady_clock = steady_clock
        self._boot = boot()
        self._identity = _create_file(path)
        self._engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=BUSY_S,
        )
        event.listen(self._engine, "begin", _begin)
        self._writer: Engine = self._engine.execution_options(**{_WRITES: True})

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Backend`."""
        self.require_there()
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """See `Backend`. Takes SQLite's write lock at once: a reader that becomes a writer halfway may only fail."""
        self.require_there()
        with self._writer.connect() as connection:
            yield connection

    creating = writing

    def now(self, connection: Connection) -> Moment:  # noqa: ARG002 - the machine's clock, not the database's
        """See `Backend`."""
        return Moment(self._boot, self._steady_clock())

    def require_there(self) -> None:
        """See `Backend`."""
        try:
            there = self._path.stat()
        except OSError as cause:
            raise _gone(self._path, f"no {self._path} any more ({cause.strerror})") from cause
        if (there.st_dev, there.st_ino) != self._identity:
            raise _gone(self._path, f"another file at {self._path} than the one opened")

    def inspect_storage(self, connection: Connection) -> None:
        """See `Backend`."""
        for pragma in ("integrity_check", "foreign_key_check"):
            rows = connection.exec_driver_sql(f"PRAGMA {pragma}").all()
            if found := [" ".join(map(str, row)) for row in rows if tuple(row) != ("ok",)]:
                raise StoreCorrupt(
                    found=f"{len(found)} faults in {self._path.name}, first: {found[0]}",
                    wanted=f"a file that {pragma} passes",
                    cure="restore the file from a copy",
                )

    def failure(self, error: DBAPIError) -> ExperimentError:
        """See `Backend`."""
        return failure_of(error.orig, self._path)

    def close(self) -> None:
        """See `Backend`."""
        self._engine.dispose()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            # rw: a path that lost its file must not quietly become an empty store.
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,  # transactions begin where _begin says so
            check_same_thread=False,  # the pool hands a connection to one thread at a time
        )
        try:
            for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _create_file(path: Path) -> tuple[int, int]:
    """Makes folder and file, turns the write-ahead log on, and says which file it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    except PermissionError as cause:
        raise _read_only(f"a folder {path.parent} that this user may not make") from cause
    except OSError as cause:
        raise _gone(path, f"no folder {path.parent} ({cause.strerror})") from cause
    except sqlite3.Error as cause:
        raise failure_of(cause, path) from cause
    try:
        _turn_on_write_ahead_log(connection, path)
    except sqlite3.Error as cause:
        raise failure_of(cause, path) from cause
    finally:
        connection.close()
    _sync_folder(path.parent)
    made = path.stat()
    return made.st_dev, made.st_ino


def _turn_on_write_ahead_log(connection: sqlite3.Connection, path: Path) -> None:
    """The mode lasts with the file. The switch needs the file alone, and SQLite fails rather than wait for that."""
    deadline = time.monotonic() + BUSY_S
    while (mode := _journal_mode(connection)) != "wal":
        try:
            mode = str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as cause:
            if cause.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
            continue
        if mode != "wal":
            raise StoreReadOnly(
                found=f"{path.name} with journal mode {mode}",
                wanted="a file system that a write-ahead log works on",
                cure="put the store on a local file system, or use PostgreSQL",
            )


def _journal_mode(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _sync_folder(folder: Path) -> None:
    """Makes the file's name durable; SQLite itself syncs the names of its logs."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_only(found: str) -> StoreReadOnly:
    return StoreReadOnly(
        found=found, wanted="a file that may be written", cure="check the file, its folder and its mount"
    )


def _gone(path: Path, found: str) -> StoreGone:
    return StoreGone(
        found=found,
        wanted="the file that holds the store",
        cure=f"restore {path.name} in its folder, then start the control plane again",
    )


def failure_of(error: BaseException | None, path: Path) -> ExperimentError:
    """What an error of SQLite means, by its result code; the low byte is the primary one."""
    name, code = getattr(error, "sqlite_errorname", type(error).__name__), getattr(error, "sqlite_errorcode", 0)
    found = f"{name} from {path.name} ({error})"
    if code == sqlite3.SQLITE_CONSTRAINT_TRIGGER and REFUSED in str(error):
        return AppendOnly(found=found, wanted="rows that are only added", cure="write through `ra-guard experiment`")
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return _gone(path, found)
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(
                found=f"{found} after {BUSY_S:g} s",
                wanted="the file's write lock",
                cure="try again; a process that holds it stopped may have to be ended",
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return _read_only(found)
        case sqlite3.SQLITE_FULL:
            return StoreFull(found=found, wanted="room to write", cure="free space on the store's file system")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(found=found, wanted="an SQLite file that is whole", cure="restore it from a copy")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR:
            # SQLite does not pass on why the system refused; a write-ahead log needs the folder, too.
            if path.exists() and not all(os.access(each, os.W_OK) for each in (path, path.parent)):
                return _read_only(found)
            return _gone(path, found)
        case sqlite3.SQLITE_CONSTRAINT:
            return StoreCorrupt(
                found=found, wanted="rows that agree with each other", cure="run `ra-guard experiment check`"
            )
        case _:
            return StoreFailed(found=found, wanted="an answer from SQLite", cure="see the cause in the log")
