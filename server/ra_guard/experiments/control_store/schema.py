"""The tables of the store, the same in SQLite and PostgreSQL. SCHEMA.md is their page: columns, invariants, lease.

Times are whole microseconds since 1970 in UTC: both databases keep them exactly and compare them alike.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
)

from ra_guard.experiments.control_store.errors import SchemaVersion, StoreCorrupt
from ra_guard.experiments.control_store.triggers import statements_for

VERSION = 1
PREFIX = "control_"
"""Of every table: a database may hold other tables beside these."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

metadata = MetaData()

version_table = Table(
    "control_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)

definition_table = Table(
    "control_definition",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

revision_table = Table(
    "control_revision",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("definition", Text, ForeignKey("control_definition.digest"), nullable=False),
    Column("state", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    CheckConstraint("revision >= 1", name="control_revision_counts_from_1"),
)

ledger_table = Table(
    "control_ledger",
    metadata,
    # SQLite numbers rows by itself only under this very type; PostgreSQL without a sequence to grant.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("key", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("numbers", Text, nullable=False),
    Column("term", BigInteger, nullable=False),
    ForeignKeyConstraint(["key", "revision"], ["control_revision.key", "control_revision.revision"]),
    Index("control_ledger_by_key", "key", "id"),
    sqlite_autoincrement=True,
)

writer_table = Table(
    "control_writer",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text),
    Column("term", BigInteger, nullable=False),
    Column("boot", Text, nullable=False),
    Column("expires_s", Float(53), nullable=False),
    CheckConstraint("id = 1", name="control_writer_is_one_row"),
)

replica_table = Table(
    "control_replica",
    metadata,
    Column("key", Text, primary_key=True),
    Column("replica", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)


def prepare(connection: Connection) -> None:
    """Creates the schema where there is none, and refuses one that is not this version's whole.

    Call in a transaction that no other one of its kind runs beside. Raises SchemaVersion.
    """
    present = {name for name in inspect(connection).get_table_names() if name.startswith(PREFIX)}
    if not present:
        _create(connection)
        return
    require_version(connection, present)
    if missing := sorted(metadata.tables.keys() - present):
        raise StoreCorrupt(
            found=f"a store without {', '.join(missing)}",
            wanted=f"every table of schema version {VERSION}",
            cure="restore the store from a copy",
        )


def require_version(connection: Connection, present: set[str]) -> None:
    """Refuses tables that carry another version, or none. Raises SchemaVersion."""
    versions = connection.scalars(select(version_table.c.version)).all() if version_table.name in present else []
    if versions != [VERSION]:
        raise SchemaVersion(
            found=f"tables {PREFIX}* of schema version {', '.join(map(str, versions)) or 'unknown'}",
            wanted=f"version {VERSION}",
            cure="run the release that wrote the store, or name an empty one",
        )


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    for statement in statements_for(connection.dialect.name):
        connection.exec_driver_sql(statement)
    connection.execute(insert(version_table).values(version=VERSION))
    connection.execute(insert(writer_table).values(id=1, holder=None, term=0, boot="", expires_s=0.0))


def microseconds(at: datetime) -> int:
    """A time as the tables keep it."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(at_us: int) -> datetime:
    """The time of a column."""
    return _EPOCH + timedelta(microseconds=at_us)
