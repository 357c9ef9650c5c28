"""What happens to a PostgreSQL server, and what the store says then: each from its real cause."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest
from ra_guard.errors import Code
from ra_guard.experiments.control_store import (
    AppendOnly,
    BadEntry,
    ControlStore,
    OutcomeUnknown,
    SchemaVersion,
    StoreBusy,
    StoreCorrupt,
    StoreFailed,
    StoreFull,
    StoreGone,
    StoreReadOnly,
    WriterLease,
)
from ra_guard.experiments.control_store.postgres import failure_of
from ra_guard.experiments.errors import ExperimentError, StaleRevision

from tests.stand_ins.control_stores import KEY, TTL_S, acquired, entry, execute, new_database, record, stored
from tests.stand_ins.postgres import PostgresServer, public_folder
from tests.stand_ins.small_disk import make_room, needs_mount, on_small_disk

pytest_plugins = ["tests.stand_ins.control_store_fixtures"]

Opened = Callable[[str], ControlStore]


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that these tests may stop; each leaves it running."""
    server = PostgresServer(public_folder())
    server.start()
    yield server
    server.remove()


def test_a_server_that_stops_is_gone_and_comes_back(own_server: PostgresServer, opened: Opened) -> None:
    store = opened(new_database(own_server))
    lease = acquired(store)
    record(store, 1, lease)
    own_server.stop()
    attempts: list[Callable[[], object]] = [
        store.check,
        lambda: store.current(KEY),
        lambda: record(store, 2, lease),
        lambda: store.renew(lease, TTL_S),
    ]
    for attempt in attempts:
        with pytest.raises(StoreGone) as gone:
            attempt()
        assert gone.value.status_code is Code.UNAVAILABLE
    own_server.start()
    assert store.writer() == lease
    record(store, 2, lease)
    assert store.current(KEY) == stored(2)


def test_a_server_that_crashes_keeps_what_was_acknowledged(own_server: PostgresServer, opened: Opened) -> None:
    store = opened(new_database(own_server))
    lease = acquired(store)
    for revision in range(1, 6):
        record(store, revision, lease)
    own_server.crash()
    own_server.start()
    assert store.current(KEY) == stored(5)
    record(store, 6, lease)
    store.verify()


def test_connections_that_the_server_ended_are_replaced_unseen(own_server: PostgresServer, opened: Opened) -> None:
    """A restart between two uses costs nobody an error."""
    store = opened(new_database(own_server))
    record(store, 1, acquired(store))
    own_server.stop()
    own_server.start()
    assert store.current(KEY) == stored(1)


def test_a_server_that_holds_still_is_an_error_and_not_a_wait(own_server: PostgresServer, opened: Opened) -> None:
    """The kernel acknowledges what a stopped process is sent: no time-out of TCP ends such a wait."""
    store = opened(new_database(own_server))
    lease = acquired(store)
    record(store, 1, lease)
    own_server.hold_still()
    try:
        with pytest.raises(StoreGone):
            store.current(KEY)
        with pytest.raises(StoreGone):
            record(store, 2, lease)
    finally:
        own_server.let_go()
    assert store.current(KEY) == stored(1)
    record(store, 2, lease)


def test_a_commit_that_the_server_never_answers_has_an_unknown_outcome(
    postgres: PostgresServer, opened: Opened
) -> None:
    url = new_database(postgres)
    store = opened(url)
    lease = acquired(store)
    record(store, 1, lease)
    execute(
        url,
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
    )
    execute(
        url,
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON control_ledger DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION hang_up()",
    )
    with pytest.raises(OutcomeUnknown):
        record(store, 2, lease)
    assert store.current(KEY) == stored(1)


@pytest.mark.parametrize("setting", ["default_transaction_read_only = on", "role = reader"])
def test_a_database_that_takes_no_writes_is_read_only(postgres: PostgresServer, opened: Opened, setting: str) -> None:
    url = new_database(postgres)
    store = opened(url)
    lease = acquired(store)
    record(store, 1, lease)
    store.close()
    with suppress(psycopg.errors.DuplicateObject):
        execute(url, "CREATE ROLE reader")
    execute(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    execute(url, f"ALTER DATABASE {url.rsplit('/', 1)[1]} SET {setting}")
    store = opened(url)
    attempts: list[Callable[[], object]] = [
        lambda: record(store, 2, lease),
        lambda: store.remember(KEY, "replica", 1),
        store.check,
    ]
    for attempt in attempts:
        with pytest.raises(StoreReadOnly):
            attempt()
    assert store.current(KEY) == stored(1)


def test_the_grants_that_the_schema_page_names_are_enough(postgres: PostgresServer, opened: Opened) -> None:
    url = new_database(postgres)
    opened(url).close()
    with suppress(psycopg.errors.DuplicateObject):
        execute(url, "CREATE ROLE control LOGIN")
    execute(url, "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO control")
    execute(url, "GRANT UPDATE ON control_writer TO control")
    execute(url, "GRANT DELETE ON control_replica TO control")
    store = opened(url.replace("postgres@", "control@"))
    lease = acquired(store)
    record(store, 1, lease)
    store.note(entry(1), lease)
    store.remember(KEY, "replica", 1, lease=lease)
    store.forget(KEY, "replica")
    store.renew(lease, TTL_S)
    store.check()
    store.verify()
    store.release(lease)


@needs_mount
def test_a_full_disk_refuses_and_takes_more_once_there_is_room(opened: Opened) -> None:
    home = public_folder()
    disk = home / "small"
    server = PostgresServer(home, launcher=on_small_disk(disk, megabytes=24))
    server.start()
    try:
        server.execute(f"CREATE TABLESPACE small LOCATION '{disk}/space'")
        server.execute("CREATE DATABASE small TABLESPACE small")
        url = server.url("small")
        store = opened(url)
        lease = acquired(store)
        revision = 0
        with pytest.raises(StoreFull) as full:  # noqa: PT012 - whichever insert is the first without room
            while True:
                definition = f"# {revision + 1}\n" + "".join(f"{n * n * 7919:x}" for n in range(40_000))
                store.record(revision, stored(revision + 1, definition=definition), entry(revision + 1), lease)
                revision += 1
        assert full.value.status_code is Code.RESOURCE_EXHAUSTED
        current = store.current(KEY)
        assert current is not None
        assert current.revision == revision
        make_room(server.process, disk)
        record(store, revision + 1, lease)
        store.verify()
    finally:
        server.remove()


def test_a_client_that_stops_in_the_middle_does_not_hold_the_writers_row_for_ever(
    postgres: PostgresServer, opened: Opened
) -> None:
    url = new_database(postgres)
    stuck, other = opened(url), opened(url)
    holding, go_on = threading.Event(), threading.Event()
    failures: list[ExperimentError] = []

    def hold() -> None:
        try:
            with stuck._writing() as connection:
                connection.exec_driver_sql("SELECT * FROM control_writer FOR UPDATE")
                holding.set()
                go_on.wait()
        except ExperimentError as error:
            failures.append(error)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    with pytest.raises(StoreBusy):
        other.acquire("other", TTL_S)
    lease = None
    while lease is None:  # until the server ends the transaction that does nothing
        with suppress(StoreBusy):
            lease = other.acquire("other", TTL_S)
    go_on.set()
    thread.join()
    assert lease == WriterLease("other", 1)
    assert [type(error) for error in failures] == [OutcomeUnknown]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_the_revision_in_force_is_read_after_the_lock_whatever_the_database_prefers(
    postgres: PostgresServer, opened: Opened, isolation: str
) -> None:
    """Two changes of the same revision: the second waits for the first and must see it."""
    url = new_database(postgres)
    execute(url, f"ALTER DATABASE {url.rsplit('/', 1)[1]} SET default_transaction_isolation = '{isolation}'")
    store = opened(url)
    lease = acquired(store)
    refused: list[ExperimentError] = []
    barrier = threading.Barrier(4)

    def change() -> None:
        barrier.wait()
        try:
            record(store, 1, lease)
        except ExperimentError as error:
            refused.append(error)

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in refused] == [StaleRevision] * 3


def test_a_change_is_durable_whatever_the_database_prefers(postgres: PostgresServer, opened: Opened) -> None:
    url = new_database(postgres)
    execute(url, f"ALTER DATABASE {url.rsplit('/', 1)[1]} SET synchronous_commit = off")
    with opened(url)._writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


def test_tables_that_are_dropped_under_the_store_are_named(postgres: PostgresServer, opened: Opened) -> None:
    url = new_database(postgres)
    store = opened(url)
    execute(url, "DROP TABLE control_replica")
    with pytest.raises(SchemaVersion):
        store.replicas(KEY)


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://user:s3cret@127.0.0.1:1/db", "postgresql://user:s3cret@no-such-host.invalid/db"],
)
def test_a_server_that_is_not_there_is_gone_and_its_password_stays_unsaid(url: str) -> None:
    with pytest.raises(StoreGone) as gone:
        ControlStore.open(url)
    assert "s3cret" not in str(gone.value)


def test_a_database_that_does_not_exist_is_gone(postgres: PostgresServer) -> None:
    with pytest.raises(StoreGone, match="no_such_database"):
        ControlStore.open(postgres.url("no_such_database"))


def test_leases_run_by_the_servers_clock_alone(postgres: PostgresServer) -> None:
    """Two holders whose own clocks disagree by a day agree on who holds the lease."""
    url = new_database(postgres)
    behind = ControlStore.open(url, steady_clock=lambda: 0.0, boot=lambda: "one")
    ahead = ControlStore.open(url, steady_clock=lambda: 86_400.0, boot=lambda: "other")
    try:
        lease = acquired(behind, ttl_s=60.0)
        assert ahead.acquire("b", 60.0) is None
        assert ahead.writer() == lease
    finally:
        behind.close()
        ahead.close()


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("RA001", AppendOnly),
        ("25006", StoreReadOnly),
        ("42501", StoreReadOnly),
        ("53100", StoreFull),
        ("53200", StoreFull),
        ("53400", StoreFull),
        ("40001", StoreBusy),
        ("40P01", StoreBusy),
        ("55P03", StoreBusy),
        ("57014", StoreBusy),
        ("08006", StoreGone),
        ("57P01", StoreGone),
        ("57P02", StoreGone),
        ("57P03", StoreGone),
        ("25P03", StoreGone),
        ("58030", StoreGone),
        ("XX001", StoreCorrupt),
        ("XX002", StoreCorrupt),
        ("58P01", StoreCorrupt),
        ("23505", StoreCorrupt),
        ("42P01", SchemaVersion),
        ("42703", SchemaVersion),
        ("22P05", BadEntry),
        ("XX000", StoreFailed),
        ("42601", StoreFailed),
    ],
)
def test_what_a_state_means(postgres: PostgresServer, state: str, meaning: type[ExperimentError]) -> None:
    """Raised by the server itself under each state, then mapped."""
    with pytest.raises(psycopg.Error) as raised:
        postgres.execute(f"DO $$ BEGIN RAISE EXCEPTION 'told to' USING ERRCODE = '{state}'; END $$")
    failure = failure_of(raised.value, "here")
    assert type(failure) is meaning
    assert failure.found == f"{state} from here ({' '.join(str(raised.value).split())})"
