"""The control path's store: what every experiment was and is, who changed it, and who may write. See SCHEMA.md.

Only this package knows SQLAlchemy, SQLite and PostgreSQL.
"""

from ra_guard.experiments.control_store.errors import (
    AppendOnly,
    BadEntry,
    BadStoreUrl,
    LeaseLost,
    OutcomeUnknown,
    SchemaVersion,
    StoreBusy,
    StoreCorrupt,
    StoreFailed,
    StoreFull,
    StoreGone,
    StoreReadOnly,
)
from ra_guard.experiments.control_store.records import Entry, Stored, WriterLease
from ra_guard.experiments.control_store.sqlite import boot_time_s
from ra_guard.experiments.control_store.store import ControlStore

__all__ = [
    "AppendOnly",
    "BadEntry",
    "BadStoreUrl",
    "ControlStore",
    "Entry",
    "LeaseLost",
    "OutcomeUnknown",
    "SchemaVersion",
    "StoreBusy",
    "StoreCorrupt",
    "StoreFailed",
    "StoreFull",
    "StoreGone",
    "StoreReadOnly",
    "Stored",
    "WriterLease",
    "boot_time_s",
]
