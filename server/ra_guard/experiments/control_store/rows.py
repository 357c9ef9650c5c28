"""Values to rows and back. A row that does not come back as it was recorded is refused, never served."""

import hashlib
import json

from sqlalchemy import Connection, Row, ScalarSelect, insert, select

from ra_guard.experiments.control_store.errors import StoreCorrupt
from ra_guard.experiments.control_store.records import Entry, Stored
from ra_guard.experiments.control_store.schema import (
    definition_table,
    instant,
    microseconds,
    revision_table,
)
from ra_guard.experiments.errors import InvalidInput

_UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, InvalidInput)
"""What a value of the wrong kind in a row leads to."""


def read_stored(connection: Connection, key: str, revision: int | ScalarSelect[int]) -> Stored | None:
    """One revision with its definition; None when it is not there. Raises StoreCorrupt."""
    row = connection.execute(
        select(revision_table, definition_table.c.body)
        .outerjoin(definition_table, definition_table.c.digest == revision_table.c.definition)
        .where(revision_table.c.key == key, revision_table.c.revision == revision)
    ).one_or_none()
    if row is None:
        return None
    try:
        stored = Stored(
            key=row.key,
            revision=row.revision,
            epoch=row.epoch,
            definition=row.body,
            state=row.state,
            sealed=row.sealed,
            at=instant(row.at_us),
        )
        whole = row.definition == _digest(row.body.encode()) and row.digest == _revision_digest(stored, row.term)
    except _UNREADABLE as cause:
        raise _corrupt(f"revision {row.revision} of {key} unreadable ({cause})") from cause
    if not whole:
        raise _corrupt(f"revision {row.revision} of {key} with other content than was recorded")
    return stored


def read_entry(row: Row[tuple[object, ...]]) -> Entry:
    """A line of the ledger. Raises StoreCorrupt."""
    try:
        return Entry(
            key=row.key,
            revision=row.revision,
            at=instant(row.at_us),
            who=row.who,
            why=row.why,
            what=row.what,
            numbers=json.loads(row.numbers),
        )
    except _UNREADABLE as cause:
        raise _corrupt(f"ledger line {row.id} unreadable ({cause})") from cause


def _corrupt(found: str) -> StoreCorrupt:
    return StoreCorrupt(found=found, wanted="what was recorded", cure="restore the store from a copy")


def revision_row(connection: Connection, stored: Stored, term: int) -> dict[str, object]:
    """The row of a revision, after its definition is kept; revisions with the same text share one."""
    digest = _digest(stored.definition.encode())
    if connection.scalar(select(definition_table.c.digest).where(definition_table.c.digest == digest)) is None:
        connection.execute(insert(definition_table).values(digest=digest, body=stored.definition))
    return {
        "key": stored.key,
        "revision": stored.revision,
        "epoch": stored.epoch,
        "definition": digest,
        "state": stored.state,
        "sealed": stored.sealed,
        "at_us": microseconds(stored.at),
        "term": term,
        "digest": _revision_digest(stored, term),
    }


def ledger_row(entry: Entry, term: int) -> dict[str, object]:
    """The row of a ledger line, without its number: the database counts."""
    return {
        "key": entry.key,
        "revision": entry.revision,
        "at_us": microseconds(entry.at),
        "who": entry.who,
        "why": entry.why,
        "what": entry.what,
        "numbers": json.dumps(dict(entry.numbers), ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        "term": term,
    }


def _revision_digest(stored: Stored, term: int) -> str:
    """Over everything that a revision is. SQLite does not notice a flipped bit in a row by itself."""
    parts = (
        stored.key.encode(),
        b"%d %d %d %d" % (stored.revision, stored.epoch, microseconds(stored.at), term),
        stored.definition.encode(),
        stored.state.encode(),
        stored.sealed,
    )
    return _digest(b"".join(len(part).to_bytes(8, "little") + part for part in parts))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
