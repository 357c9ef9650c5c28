"""The store itself: immutable revisions, a ledger that only grows, one writer, and the replicas that were seen.

Every change is one transaction that first locks the writer's row and compares holder and term with the caller's
lease. A writer that was stopped, cut off or slow and has been replaced meanwhile is refused there, whatever it still
believes. SCHEMA.md tells the tables and the lease.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ra_guard.experiments.control_store import schema
from ra_guard.experiments.control_store.address import backend_of
from ra_guard.experiments.control_store.backend import Backend, Moment
from ra_guard.experiments.control_store.errors import BadEntry, OutcomeUnknown, StoreBusy, StoreGone
from ra_guard.experiments.control_store.lease import is_live, locked_writer, require_lease, set_writer
from ra_guard.experiments.control_store.records import (
    MAX_REVISION,
    Entry,
    Stored,
    WriterLease,
    require_holder,
    require_revision,
    require_text,
)
from ra_guard.experiments.control_store.rows import ledger_row, read_entry, read_stored, revision_row
from ra_guard.experiments.control_store.sqlite import boot_id, boot_time_s
from ra_guard.experiments.errors import StaleRevision
from ra_guard.experiments.model import require_key

MAX_TTL_S = 3_600.0

_revisions = schema.revision_table
_ledger = schema.ledger_table
_writer = schema.writer_table
_replicas = schema.replica_table


class ControlStore:
    """One store. Methods are synchronous and may be called from any thread; each is one transaction.

    Every method raises StoreGone, StoreBusy, StoreCorrupt, StoreReadOnly, StoreFull or StoreFailed besides what it
    names, and BadKey for a key that no experiment can have. Bounded: a few seconds, whatever the database does.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._closed = False

    @classmethod
    def open(
        cls, url: str, *, steady_clock: Callable[[], float] = boot_time_s, boot: Callable[[], str] = boot_id
    ) -> "ControlStore":
        """Opens the store at ``sqlite:////whole/path`` or ``postgresql+psycopg://...``; an empty one gets its schema.

        ``steady_clock`` and ``boot`` tell the time of leases in SQLite; PostgreSQL has a clock of its own. Raises
        BadStoreUrl, SchemaVersion.
        """
        store = cls(backend_of(url, steady_clock=steady_clock, boot=boot))
        try:
            store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Closes every connection; a later call of another method raises StoreGone."""
        self._closed = True
        self._backend.close()

    # Reading

    def keys(self) -> list[str]:
        """The experiments that have a revision, sorted."""
        with self._reading() as connection:
            return sorted(connection.scalars(select(_revisions.c.key).distinct()))

    def current(self, key: str) -> Stored | None:
        """The last revision of an experiment; None when it has none."""
        require_key(key)
        latest = select(func.max(_revisions.c.revision)).where(_revisions.c.key == key).scalar_subquery()
        with self._reading() as connection:
            return read_stored(connection, key, latest)

    def at(self, key: str, revision: int) -> Stored | None:
        """One revision, as it was recorded; None when there is none of that number."""
        require_key(key)
        if not 1 <= revision <= MAX_REVISION:
            return None
        with self._reading() as connection:
            return read_stored(connection, key, revision)

    def ledger(self, key: str, limit: int) -> tuple[Entry, ...]:
        """The latest ``limit`` lines of an experiment's ledger, oldest first."""
        require_key(key)
        latest = select(_ledger).where(_ledger.c.key == key).order_by(_ledger.c.id.desc()).limit(max(0, limit))
        with self._reading() as connection:
            return tuple(read_entry(row) for row in reversed(connection.execute(latest).all()))

    # Writing, under the lease

    def record(self, before: int, stored: Stored, entry: Entry, lease: WriterLease) -> None:
        """Adds a revision and its ledger line: both or neither, durable on return.

        ``before`` is the revision that the change was decided on, 0 for an experiment that is new; ``stored`` follows
        it, not always by one: a store that was restored from a copy goes on above what replicas hold. Raises
        LeaseLost, StaleRevision, BadEntry; OutcomeUnknown when the store went away while it committed.
        """
        if (entry.key, entry.revision) != (stored.key, stored.revision) or stored.revision <= before:
            raise BadEntry(
                found=f"revision {stored.revision} of {stored.key} after {before}, "
                f"with a line for revision {entry.revision} of {entry.key}",
                wanted="a later revision, and a line for it",
                cure="record what the transition returned",
            )
        with self._writing() as connection:
            require_lease(connection, lease)
            in_force = _latest_revision(connection, stored.key)
            if in_force != before:
                raise StaleRevision(
                    found=f"revision {in_force} of {stored.key} in force",
                    wanted=f"revision {before}",
                    cure="read the experiment again and decide anew",
                )
            connection.execute(insert(_revisions).values(revision_row(connection, stored, lease.term)))
            connection.execute(insert(_ledger).values(ledger_row(entry, lease.term)))

    def note(self, entry: Entry, lease: WriterLease) -> None:
        """Adds a ledger line to a revision that is recorded. Raises LeaseLost, BadEntry, OutcomeUnknown."""
        with self._writing() as connection:
            require_lease(connection, lease)
            if entry.revision > _latest_revision(connection, entry.key):
                raise BadEntry(
                    found=f"a line for revision {entry.revision} of {entry.key}",
                    wanted="a revision that is recorded",
                    cure="record the revision first",
                )
            connection.execute(insert(_ledger).values(ledger_row(entry, lease.term)))

    # The lease

    def acquire(self, holder: str, ttl_s: float) -> WriterLease | None:
        """Takes the lease for ``ttl_s`` seconds under a new term; None while anyone holds it, ``holder`` itself too.

        Give each process a name of its own: a name says who writes, and does not prove it.
        """
        require_holder(holder)
        _require_ttl(ttl_s)
        with self._writing() as connection:
            row = locked_writer(connection)
            now = self._backend.now(connection)
            if is_live(row, now):
                return None
            lease = WriterLease(holder, row.term + 1)
            set_writer(connection, lease, Moment(now.boot, now.seconds + ttl_s))
            return lease

    def renew(self, lease: WriterLease, ttl_s: float) -> WriterLease:
        """Extends the lease to ``ttl_s`` seconds from now, even if it ran out, unless taken. Raises LeaseLost."""
        _require_ttl(ttl_s)
        with self._writing() as connection:
            require_lease(connection, lease)
            now = self._backend.now(connection)
            set_writer(connection, lease, Moment(now.boot, now.seconds + ttl_s))
            return lease

    def release(self, lease: WriterLease) -> None:
        """Gives the lease back, so that the next holder need not wait. A lease that is lost already stays lost."""
        with self._writing() as connection:
            row = locked_writer(connection)
            if (row.holder, row.term) == (lease.holder, lease.term):
                connection.execute(update(_writer).values(holder=None, expires_s=0.0))

    def writer(self) -> WriterLease | None:
        """Who holds the lease now; None when it ran out or was given back."""
        with self._reading() as connection:
            row = connection.execute(select(_writer)).one()
            return WriterLease(row.holder, row.term) if is_live(row, self._backend.now(connection)) else None

    # Replicas

    def remember(self, key: str, replica: str, revision: int, *, lease: WriterLease | None = None) -> None:
        """Keeps that a replica holds a revision, 0 for none: who takes over knows whom to wait for.

        With a lease it is refused once that is lost, so that a writer that was replaced changes nothing here either.
        Raises BadEntry, LeaseLost.
        """
        require_key(key)
        require_text("replica", replica)
        if revision:
            require_revision(revision)
        with self._writing() as connection:
            if lease is None:
                locked_writer(connection)
            else:
                require_lease(connection, lease)
            connection.execute(delete(_replicas).where(_replicas.c.key == key, _replicas.c.replica == replica))
            connection.execute(insert(_replicas).values(key=key, replica=replica, revision=revision))

    def forget(self, key: str, replica: str, *, lease: WriterLease | None = None) -> None:
        """Drops a replica that serves no more. Raises LeaseLost."""
        require_key(key)
        require_text("replica", replica)
        with self._writing() as connection:
            if lease is not None:
                require_lease(connection, lease)
            connection.execute(delete(_replicas).where(_replicas.c.key == key, _replicas.c.replica == replica))

    def replicas(self, key: str) -> dict[str, int]:
        """Every replica that is remembered, by name, with the revision it holds."""
        require_key(key)
        with self._reading() as connection:
            rows = connection.execute(select(_replicas).where(_replicas.c.key == key).order_by(_replicas.c.replica))
            return {row.replica: row.revision for row in rows}

    # Health

    def check(self) -> None:
        """Returns when a change would be taken now; cheap. It makes one, of nothing, and takes it back."""
        with self._writing() as connection:
            schema.prepare(connection)
            locked_writer(connection)
            connection.execute(update(_writer).values(term=_writer.c.term))
            connection.rollback()

    def verify(self) -> None:
        """Reads the whole store and compares it with itself. Raises StoreCorrupt with the first that differs."""
        with self._reading() as connection:
            self._backend.inspect_storage(connection)
            for key, revision in connection.execute(select(_revisions.c.key, _revisions.c.revision)).all():
                read_stored(connection, key, revision)
            for row in connection.execute(select(_ledger)):
                read_entry(row)

    # Transactions

    def _prepare(self) -> None:
        with self._translated(), self._backend.creating() as connection:
            schema.prepare(connection)
            connection.commit()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._backend.reading() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._translated(), self._backend.writing() as connection:
            yield connection
            try:
                connection.commit()
                self._backend.require_there()
            except (DBAPIError, StoreGone) as cause:
                failure = self._backend.failure(cause) if isinstance(cause, DBAPIError) else cause
                if not isinstance(failure, StoreGone):
                    raise
                raise OutcomeUnknown(
                    found=f"{failure.found}, while it committed",
                    wanted=failure.wanted,
                    cure="read the experiment again: the change is stored whole or not at all",
                ) from cause

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._closed:
            raise StoreGone(found="a store that was closed", wanted="an open one", cure="open it again")
        try:
            yield
        except DBAPIError as cause:
            raise self._backend.failure(cause) from cause
        except PoolTimeout as cause:
            raise StoreBusy(
                found="every connection in use", wanted="a free one", cure="try again; fewer callers at once"
            ) from cause


def _latest_revision(connection: Connection, key: str) -> int:
    return connection.scalar(select(func.max(_revisions.c.revision)).where(_revisions.c.key == key)) or 0


def _require_ttl(ttl_s: float) -> None:
    if not (math.isfinite(ttl_s) and 0 < ttl_s <= MAX_TTL_S):
        raise BadEntry(found=f"a lease of {ttl_s} s", wanted=f"0..{MAX_TTL_S:g} s", cure="correct the setting")
