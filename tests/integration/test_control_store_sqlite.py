"""What happens to an SQLite file, and what the store says then: each from its real cause. And its lease's clock."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ra_guard.errors import Code
from ra_guard.experiments.control_store import (
    AppendOnly,
    ControlStore,
    OutcomeUnknown,
    StoreBusy,
    StoreCorrupt,
    StoreFailed,
    StoreFull,
    StoreGone,
    StoreReadOnly,
    WriterLease,
)
from ra_guard.experiments.control_store.sqlite import failure_of
from ra_guard.experiments.errors import ExperimentError

from tests.stand_ins.control_stores import KEY, TTL_S, acquired, record, stored
from tests.stand_ins.small_disk import make_room, needs_mount, on_small_disk
from tests.stand_ins.store_processes import Started

pytest_plugins = ["tests.stand_ins.control_store_fixtures"]

Opened = Callable[[str], ControlStore]
BOUND = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
"""A launcher of processes that file modes bind, root's too."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "control" / "a control.db"


@pytest.fixture
def store(file: Path, opened: Opened) -> ControlStore:
    return opened(url_of(file))


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


def attempts_on(store: ControlStore, lease: WriterLease) -> list[Callable[[], object]]:
    return [store.check, lambda: store.current(KEY), lambda: record(store, 2, lease), lambda: store.renew(lease, TTL_S)]


def test_a_folder_that_is_removed_is_gone_and_not_made_anew(file: Path, store: ControlStore) -> None:
    """SQLite itself would write on to the removed file."""
    lease = acquired(store)
    record(store, 1, lease)
    shutil.rmtree(file.parent)
    for attempt in attempts_on(store, lease):
        with pytest.raises(StoreGone) as gone:
            attempt()
        assert gone.value.status_code is Code.UNAVAILABLE
    assert not file.parent.exists()


def test_a_file_that_is_replaced_under_the_store_is_not_written(file: Path, store: ControlStore) -> None:
    lease = acquired(store)
    record(store, 1, lease)
    store.verify()
    copy = file.with_name("copy.db")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    content = copy.read_bytes()
    copy.replace(file)
    for attempt in attempts_on(store, lease):
        with pytest.raises(StoreGone):
            attempt()
    assert file.read_bytes() == content


def test_a_file_that_goes_while_a_change_commits_leaves_the_outcome_unknown(file: Path, store: ControlStore) -> None:
    lease = acquired(store)
    with pytest.raises(OutcomeUnknown), store._writing() as connection:  # noqa: PT012 - what happens before the commit
        connection.exec_driver_sql("UPDATE control_writer SET expires_s = 1")
        file.rename(file.with_name("moved.db"))
    assert lease == WriterLease("a", 1)


def test_a_file_where_a_folder_should_be_is_gone(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("no folder")
    with pytest.raises(StoreGone):
        ControlStore.open(f"sqlite:///{tmp_path}/control/control.db")


@pytest.mark.parametrize("modes", [(0o444, 0o755), (0o644, 0o555)], ids=["file", "folder"])
def test_a_file_that_may_not_be_written_is_read_only(
    file: Path, store: ControlStore, started: Started, modes: tuple[int, int]
) -> None:
    record(store, 1, acquired(store))
    store.close()
    file.chmod(modes[0])
    file.parent.chmod(modes[1])
    try:
        assert started("check", url_of(file), launcher=BOUND).rest() == [{"refused": "StoreReadOnly"}]
    finally:
        file.parent.chmod(0o755)


def test_a_folder_that_may_not_be_made_is_read_only(tmp_path: Path, started: Started) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    process = started("check", f"sqlite:///{closed}/control/control.db", launcher=BOUND)
    assert process.rest() == [{"refused": "StoreReadOnly"}]


@needs_mount
def test_a_full_disk_refuses_and_takes_more_once_there_is_room(tmp_path: Path, started: Started) -> None:
    disk = tmp_path / "small"
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    process = started("fill", f"sqlite:///{disk}/space/control.db", launcher=on_small_disk(disk, megabytes=8))
    assert process.heard() == {"refused": "StoreFull", "lost": 0}
    make_room(process.id, disk)
    process.go_on()
    assert process.rest() == [{"recorded": True}]


def test_another_process_that_holds_the_lock_is_waited_for_and_then_named(file: Path, store: ControlStore) -> None:
    lease = acquired(store)
    record(store, 1, lease)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.current(KEY) == stored(1), "readers are not held up"
        with pytest.raises(StoreBusy) as busy:
            record(store, 2, lease)
        assert busy.value.status_code is Code.ABORTED
        other.execute("ROLLBACK")
    record(store, 2, lease)


def test_a_file_of_something_else_is_corrupt_and_stays_as_it_is(file: Path, opened: Opened) -> None:
    file.parent.mkdir()
    file.write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreCorrupt) as corrupt:
        opened(url_of(file))
    assert corrupt.value.status_code is Code.DATA_LOSS
    assert file.read_bytes() == b"no database" * 1_000


def test_damaged_pages_are_found(file: Path, store: ControlStore, opened: Opened) -> None:
    lease = acquired(store)
    for revision in range(1, 30):
        record(store, revision, lease)
    store.close()
    content = bytearray(file.read_bytes())
    for page in range(4_096, len(content), 4_096):
        content[page : page + 16] = b"\xaa" * 16
    file.write_bytes(content)
    with pytest.raises(StoreCorrupt):
        opened(url_of(file)).verify()


def test_an_index_that_lost_a_row_is_found(file: Path, store: ControlStore) -> None:
    """What only SQLite's own check sees."""
    record(store, 1, acquired(store))
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("DROP TRIGGER control_definition_delete")
        other.execute("DELETE FROM control_definition")
    with pytest.raises(StoreCorrupt, match="foreign_key_check"):
        store.verify()


# The clock of the lease


class Clock:
    def __init__(self) -> None:
        self.now_s = 5_000.0

    def __call__(self) -> float:
        return self.now_s


def opened_at(file: Path, clock: Clock, boot: str = "first") -> ControlStore:
    return ControlStore.open(url_of(file), steady_clock=clock, boot=lambda: boot)


def test_a_lease_runs_by_the_steady_clock(file: Path) -> None:
    clock = Clock()
    with closing(opened_at(file, clock)) as one, closing(opened_at(file, clock)) as other:
        lease = acquired(one, "a", ttl_s=10.0)
        clock.now_s += 9.9
        assert other.acquire("b", 10.0) is None
        one.renew(lease, 10.0)
        clock.now_s += 9.9
        assert other.writer() == lease
        clock.now_s += 0.1
        assert other.writer() is None
        assert acquired(other, "b").term == 2


def test_a_holder_of_an_earlier_boot_is_dead(file: Path) -> None:
    """After a reboot the steady clock begins again: its times say nothing about those before."""
    clock = Clock()
    with closing(opened_at(file, clock)) as before:
        acquired(before, "a", ttl_s=3_600.0)
    clock.now_s = 3.0
    with closing(opened_at(file, clock, boot="second")) as after:
        assert after.writer() is None
        assert acquired(after, "b") == WriterLease("b", 2)


def test_the_default_clock_is_the_machines_own(file: Path) -> None:
    with closing(ControlStore.open(url_of(file))) as store:
        lease = acquired(store)
        assert store.writer() == lease
    with closing(sqlite3.connect(file)) as other:
        boot, expires_s = other.execute("SELECT boot, expires_s FROM control_writer").fetchone()
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert 0 < expires_s - TTL_S < float(Path("/proc/uptime").read_text().split()[0]) + 1


# Result codes


def cause(file: Path, *statements: str) -> sqlite3.Error:
    """The error that the last of the statements fails with."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements[:-1]:
            connection.execute(statement)
        with pytest.raises(sqlite3.Error) as raised:
            connection.execute(statements[-1])
    return raised.value


INSERT = "INSERT INTO control_replica VALUES ('key', 'replica', zeroblob(100000))"


@pytest.mark.parametrize(
    ("statements", "meaning"),
    [
        (["PRAGMA query_only = ON", INSERT], StoreReadOnly),
        (["PRAGMA max_page_count = 1", INSERT], StoreFull),
        (["DELETE FROM control_writer"], AppendOnly),
        (["INSERT INTO control_writer VALUES (2, '', 1, '', 0)"], AppendOnly),
        (["INSERT INTO control_schema VALUES (1)"], StoreCorrupt),
        (["SELECT * FROM no_table"], StoreFailed),
    ],
)
def test_what_a_result_code_means(
    file: Path, store: ControlStore, statements: list[str], meaning: type[ExperimentError]
) -> None:
    store.close()
    failure = failure_of(cause(file, *statements), file)
    assert type(failure) is meaning
    assert failure.found.startswith("SQLITE_")
