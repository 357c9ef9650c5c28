"""The writer's row: who may write, under which term, until when. The row is also the lock of every change."""

from sqlalchemy import Connection, Row, select, update

from ra_guard.experiments.control_store.backend import Moment
from ra_guard.experiments.control_store.errors import LeaseLost
from ra_guard.experiments.control_store.records import WriterLease
from ra_guard.experiments.control_store.schema import writer_table


def locked_writer(connection: Connection) -> Row[tuple[object, ...]]:
    """The writer's row, which no other transaction changes until this one ends."""
    return connection.execute(select(writer_table).with_for_update()).one()


def require_lease(connection: Connection, lease: WriterLease) -> None:
    """Fences: refuses a lease whose term is over. One that ran out and that nobody took is the latest still."""
    row = locked_writer(connection)
    if (row.holder, row.term) != (lease.holder, lease.term):
        raise LeaseLost(
            found=f"{row.holder or 'nobody'} with term {row.term}",
            wanted=f"{lease.holder} with term {lease.term}",
            cure="stop writing; acquire the lease again and read anew",
        )


def is_live(row: Row[tuple[object, ...]], now: Moment) -> bool:
    """Whether someone holds the lease at ``now``; a holder of another boot is dead."""
    return row.holder is not None and row.boot == now.boot and now.seconds < row.expires_s


def set_writer(connection: Connection, lease: WriterLease, until: Moment) -> None:
    """Gives the lease, under the row's lock."""
    connection.execute(
        update(writer_table).values(holder=lease.holder, term=lease.term, boot=until.boot, expires_s=until.seconds)
    )
