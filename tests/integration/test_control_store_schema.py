"""The tables: what they refuse by themselves, which versions are read, and what damage is noticed. See SCHEMA.md."""

import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ra_guard.errors import Code
from ra_guard.experiments import control_store
from ra_guard.experiments.control_store import ControlStore, SchemaVersion, StoreCorrupt
from ra_guard.experiments.errors import ExperimentError

from tests.stand_ins.control_stores import KEY, acquired, entry, execute, record, stored

pytest_plugins = ["tests.stand_ins.control_store_fixtures"]

Opened = Callable[[str], ControlStore]
PAGE = Path(control_store.__file__).with_name("SCHEMA.md").read_text(encoding="utf-8")


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


# What the databases refuse by themselves

COPIED = "key, {revision}, epoch, definition, 'x', sealed, at_us, term, digest FROM control_revision"
APPEND_ONLY = [
    "UPDATE control_definition SET body = 'x'",
    "DELETE FROM control_definition",
    "UPDATE control_revision SET state = 'x'",
    "UPDATE control_revision SET revision = 9 WHERE revision = 2",
    "DELETE FROM control_revision WHERE revision = 2",
    f"INSERT INTO control_revision SELECT {COPIED.format(revision=1)} WHERE revision = 3",
    "UPDATE control_ledger SET why = 'x'",
    "DELETE FROM control_ledger",
    "DELETE FROM control_writer",
    "UPDATE control_writer SET term = term - 1",
    "UPDATE control_writer SET holder = 'thief'",
    "INSERT INTO control_writer VALUES (2, 'second', 9, '', 0)",
]
ALL_LINES = "id, key, revision, at_us, who, 'x', what, numbers, term FROM control_ledger"
BY_DIALECT = {
    "sqlite": [
        "INSERT OR REPLACE INTO control_definition SELECT digest, 'x' FROM control_definition",
        f"INSERT OR REPLACE INTO control_revision SELECT {COPIED.format(revision='revision')}",
        f"INSERT OR REPLACE INTO control_ledger SELECT {ALL_LINES}",
        "INSERT OR REPLACE INTO control_writer VALUES (1, 'thief', 1, '', 0)",
    ],
    "postgresql": [
        "TRUNCATE control_ledger",
        "TRUNCATE control_writer",
        "TRUNCATE control_definition, control_revision, control_ledger",
        f"INSERT INTO control_ledger SELECT {ALL_LINES} ON CONFLICT (id) DO UPDATE SET why = 'x'",
    ],
}


def test_nothing_recorded_can_be_changed_by_anyone(store_url: str, store: ControlStore) -> None:
    lease = acquired(store)
    store.record(0, stored(2), entry(2), lease)
    store.record(2, stored(3), entry(3), lease)
    tables = ("control_definition", "control_revision", "control_ledger", "control_writer")
    before = [execute(store_url, f"SELECT * FROM {table}") for table in tables]
    for statement in APPEND_ONLY + BY_DIALECT["sqlite" if is_sqlite(store_url) else "postgresql"]:
        with pytest.raises(Exception, match=r"append-only|control_writer_is_one_row"):
            execute(store_url, statement)
    assert [execute(store_url, f"SELECT * FROM {table}") for table in tables] == before
    store.verify()


# Schema


def test_a_store_opened_by_many_at_once_gets_one_schema(store_url: str) -> None:
    barrier = threading.Barrier(6)
    stores: list[ControlStore] = []
    failures: list[ExperimentError] = []

    def open_store() -> None:
        barrier.wait()
        try:
            stores.append(ControlStore.open(store_url))
        except ExperimentError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_store) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert failures == []
    assert execute(store_url, "SELECT version FROM control_schema") == [(1,)]


@pytest.mark.parametrize("change", ["INSERT INTO control_schema VALUES (2)", "DELETE FROM control_schema"])
def test_a_schema_of_another_version_is_left_alone(store_url: str, opened: Opened, change: str) -> None:
    store = opened(store_url)
    execute(store_url, change)
    with pytest.raises(SchemaVersion) as refused:
        opened(store_url)
    assert refused.value.status_code is Code.FAILED_PRECONDITION
    with pytest.raises(SchemaVersion):
        store.check()


def test_a_schema_without_a_version_is_left_alone(store_url: str, opened: Opened) -> None:
    opened(store_url)
    execute(store_url, "DROP TABLE control_schema")
    with pytest.raises(SchemaVersion):
        opened(store_url)


def test_a_schema_that_lost_a_table_is_corrupt(store_url: str, opened: Opened) -> None:
    opened(store_url)
    execute(store_url, "DROP TABLE control_ledger")
    with pytest.raises(StoreCorrupt):
        opened(store_url)


def test_other_tables_of_the_database_are_not_the_stores_business(store_url: str, opened: Opened) -> None:
    opened(store_url)
    execute(store_url, "CREATE TABLE images (id TEXT)")
    opened(store_url).verify()


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE control_revision SET state = '{}'",
        "UPDATE control_revision SET epoch = 2",
        "UPDATE control_revision SET term = 2",
        "UPDATE control_revision SET at_us = at_us + 1",
        "UPDATE control_revision SET at_us = 9000000000000000000",
        "UPDATE control_revision SET epoch = 0",
        "UPDATE control_definition SET body = body || ' '",
    ],
)
def test_a_revision_with_other_content_is_not_served(store_url: str, store: ControlStore, damage: str) -> None:
    record(store, 1, acquired(store))
    table = damage.split()[1]
    trigger = f"{table}_update" if is_sqlite(store_url) else f"{table}_change ON {table}"
    execute(store_url, f"DROP TRIGGER {trigger}")
    execute(store_url, damage)
    reads: list[Callable[[], object]] = [lambda: store.current(KEY), lambda: store.at(KEY, 1), store.verify]
    for read in reads:
        with pytest.raises(StoreCorrupt):
            read()


def test_a_ledger_line_that_cannot_be_read_is_not_served(store_url: str, store: ControlStore) -> None:
    record(store, 1, acquired(store))
    trigger = "control_ledger_update" if is_sqlite(store_url) else "control_ledger_change ON control_ledger"
    execute(store_url, f"DROP TRIGGER {trigger}")
    execute(store_url, "UPDATE control_ledger SET numbers = '[1'")
    reads: list[Callable[[], object]] = [lambda: store.ledger(KEY, 1), store.verify]
    for read in reads:
        with pytest.raises(StoreCorrupt):
            read()


# The page


def columns(url: str) -> set[tuple[str, str]]:
    if is_sqlite(url):
        statement = (
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c "
            "WHERE m.type = 'table' AND m.name LIKE 'control_%'"
        )
    else:
        statement = (
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND table_name LIKE 'control_%'"
        )
    return {(str(table), str(column)) for table, column in execute(url, statement)}


def test_the_page_names_every_column_and_no_other(store_url: str, opened: Opened) -> None:
    opened(store_url)
    described: set[tuple[str, str]] = set()
    table = ""
    for line in PAGE[PAGE.index("## Tables") : PAGE.index("## What must stay true")].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and "`" in cells[1]:
            table = cells[0].strip("`") or table
            described |= {(table, column) for column in re.findall(r"`(\w+)`", cells[1])}
    assert described == columns(store_url)


def test_the_page_names_every_error_with_its_status() -> None:
    rows = PAGE[PAGE.index("| error | status |") :].splitlines()
    named = {
        (name, cells[1])
        for cells in ([cell.strip() for cell in row.split("|")[1:-1]] for row in rows if row.startswith("| `"))
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    kinds = [kind for kind in vars(control_store).values() if isinstance(kind, type)]
    raised = {(kind.__name__, str(kind.status_code)) for kind in kinds if issubclass(kind, ExperimentError)}
    assert named == raised | {("StaleRevision", "ABORTED")}


def test_the_digest_of_a_revision_is_what_the_page_says(store_url: str, store: ControlStore) -> None:
    record(store, 1, acquired(store))
    one = stored(1)
    at_us = 1_767_323_045_678_901 + 1_000_000
    parts = (
        one.key.encode(),
        f"1 1 {at_us} 1".encode(),
        one.definition.encode(),
        one.state.encode(),
        one.sealed,
    )
    whole = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    definition = hashlib.sha256(one.definition.encode()).hexdigest()
    assert execute(store_url, "SELECT at_us, definition, digest FROM control_revision") == [
        (at_us, definition, hashlib.sha256(whole).hexdigest())
    ]
