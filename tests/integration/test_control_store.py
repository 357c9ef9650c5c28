"""The store's promises, on SQLite and on a real PostgreSQL alike."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from ra_guard.errors import Code
from ra_guard.experiments.control_store import (
    BadEntry,
    BadStoreUrl,
    ControlStore,
    Entry,
    LeaseLost,
    StoreGone,
    WriterLease,
)
from ra_guard.experiments.errors import BadKey, StaleRevision

from tests.stand_ins.control_stores import KEY, START, TTL_S, acquired, entry, execute, record, run_out, stored

pytest_plugins = ["tests.stand_ins.control_store_fixtures"]

Opened = Callable[[str], ControlStore]


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def test_a_new_store_is_empty_and_whole(store: ControlStore) -> None:
    assert store.keys() == []
    assert store.current(KEY) is None
    assert store.at(KEY, 1) is None
    assert store.ledger(KEY, 10) == ()
    assert store.replicas(KEY) == {}
    assert store.writer() is None
    store.check()
    store.verify()


def test_what_is_recorded_comes_back_after_a_restart(store_url: str, opened: Opened) -> None:
    first = opened(store_url)
    lease = acquired(first)
    record(first, 1, lease)
    first.record(1, stored(2, definition="another"), entry(2), lease)
    first.note(replace(entry(2), what="reached 3 replicas", numbers={"seconds": 0.25}), lease)
    record(first, 1, lease, key="other")
    first.close()

    store = opened(store_url)
    assert store.keys() == ["other", KEY]
    assert store.current(KEY) == stored(2, definition="another")
    assert store.at(KEY, 1) == stored(1)
    assert store.at(KEY, 3) is None
    assert store.at(KEY, 2**64) is None
    assert [line.what for line in store.ledger(KEY, 10)] == ["step 1", "step 2", "reached 3 replicas"]
    assert store.ledger(KEY, 10)[:2] == (entry(1), entry(2))
    assert [line.what for line in store.ledger(KEY, 2)] == ["step 2", "reached 3 replicas"]
    assert store.ledger(KEY, 0) == ()
    store.verify()


def test_a_definition_that_did_not_change_is_kept_once(store_url: str, store: ControlStore) -> None:
    lease = acquired(store)
    for revision in range(1, 4):
        record(store, revision, lease)
    assert execute(store_url, "SELECT count(*) FROM control_definition") == [(1,)]


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_change_of_another_revision_than_the_one_in_force_is_stale(store: ControlStore, before: int) -> None:
    lease = acquired(store)
    record(store, 1, lease)
    record(store, 2, lease)
    with pytest.raises(StaleRevision):
        store.record(before, stored(4), entry(4), lease)
    assert store.current(KEY) == stored(2)
    assert len(store.ledger(KEY, 10)) == 2


def test_a_restored_store_may_go_on_above_what_replicas_hold(store: ControlStore) -> None:
    lease = acquired(store)
    record(store, 1, lease)
    store.record(1, stored(50), entry(50), lease)
    assert store.current(KEY) == stored(50)


@pytest.mark.parametrize(
    ("before", "line"), [(0, entry(2)), (0, entry(1, key="other")), (2, entry(1))], ids=["line", "key", "before"]
)
def test_a_line_belongs_to_its_revision(store: ControlStore, before: int, line: Entry) -> None:
    lease = acquired(store)
    with pytest.raises(BadEntry):
        store.record(before, stored(1), line, lease)
    assert store.keys() == []


def test_a_note_needs_a_revision(store: ControlStore) -> None:
    with pytest.raises(BadEntry):
        store.note(entry(1), acquired(store))


# The lease


def test_one_holder_at_a_time_each_under_a_higher_term(store_url: str, store: ControlStore) -> None:
    first = acquired(store, "a")
    assert store.writer() == first == WriterLease("a", 1)
    assert store.acquire("b", TTL_S) is None
    assert store.acquire("a", TTL_S) is None, "a name does not prove who asks"
    run_out(store_url)
    assert store.writer() is None
    second = acquired(store, "b")
    assert store.writer() == second == WriterLease("b", 2)
    store.release(second)
    assert store.writer() is None
    assert acquired(store, "a") == WriterLease("a", 3)


def test_a_replaced_writer_changes_nothing(store_url: str, opened: Opened) -> None:
    old, new = opened(store_url), opened(store_url)
    late = acquired(old, "a")
    record(old, 1, late)
    old.remember(KEY, "replica-1", 1, lease=late)
    run_out(store_url)
    lease = acquired(new, "b")
    attempts: list[Callable[[], object]] = [
        lambda: record(old, 2, late),
        lambda: old.note(entry(1), late),
        lambda: old.renew(late, TTL_S),
        lambda: old.remember(KEY, "replica-1", 9, lease=late),
        lambda: old.forget(KEY, "replica-1", lease=late),
    ]
    for attempt in attempts:
        with pytest.raises(LeaseLost) as refused:
            attempt()
        assert refused.value.found == "b with term 2"
    old.release(late)
    assert new.writer() == lease
    assert new.current(KEY) == stored(1)
    assert new.ledger(KEY, 10) == (entry(1),)
    assert new.replicas(KEY) == {"replica-1": 1}
    record(new, 2, lease)


@pytest.mark.parametrize("forged", [WriterLease("a", 2), WriterLease("b", 1), WriterLease("", 0)])
def test_holder_and_term_must_both_be_those_in_force(store: ControlStore, forged: WriterLease) -> None:
    acquired(store, "a")
    with pytest.raises(LeaseLost):
        record(store, 1, forged)


def test_a_lease_that_ran_out_and_that_nobody_took_is_still_the_latest(store_url: str, store: ControlStore) -> None:
    lease = acquired(store)
    run_out(store_url)
    record(store, 1, lease)
    assert store.renew(lease, TTL_S) == lease
    assert store.writer() == lease


def test_a_lease_given_back_writes_no_more(store: ControlStore) -> None:
    lease = acquired(store)
    store.release(lease)
    with pytest.raises(LeaseLost) as refused:
        record(store, 1, lease)
    assert refused.value.found == "nobody with term 1"
    with pytest.raises(LeaseLost):
        store.renew(lease, TTL_S)
    store.release(lease)


def test_a_lease_is_as_long_as_was_asked_for(store: ControlStore) -> None:
    """Waits for the lease to run out by itself, by whatever clock the store has."""
    acquired(store, "a", ttl_s=0.2)
    while (lease := store.acquire("b", TTL_S)) is None:
        pass
    assert lease == WriterLease("b", 2)


def test_a_hundred_leases_never_reuse_a_term(store: ControlStore) -> None:
    terms = []
    for _ in range(100):
        lease = acquired(store)
        terms.append(lease.term)
        store.release(lease)
    assert terms == list(range(1, 101))


# Replicas


def test_replicas_are_remembered_by_experiment(store_url: str, opened: Opened) -> None:
    store = opened(store_url)
    store.remember(KEY, "b", 3)
    store.remember(KEY, "a", 0)
    store.remember(KEY, "b", 2)
    store.remember("other", "b", 7)
    assert list(opened(store_url).replicas(KEY).items()) == [("a", 0), ("b", 2)]
    store.forget(KEY, "b")
    store.forget(KEY, "nobody")
    assert store.replicas(KEY) == {"a": 0}
    assert store.replicas("other") == {"b": 7}


# What cannot be stored


@pytest.mark.parametrize(
    "make",
    [
        lambda: stored(0),
        lambda: replace(stored(), revision=2**63),
        lambda: stored(epoch=0),
        lambda: stored(definition="zero \0 byte"),
        lambda: stored(state="half \ud800 a character"),
        lambda: stored(at=datetime(2026, 1, 1)),  # noqa: DTZ001 - the mistake under test
        lambda: entry(0),
        lambda: entry(at=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda: entry(who="\0"),
        lambda: entry(why="\0"),
        lambda: entry(what="\0"),
        lambda: entry(numbers={"p": float("nan")}),
        lambda: entry(numbers={"p": float("inf")}),
        lambda: entry(numbers={"\0": 1.0}),
    ],
)
def test_a_value_that_no_store_holds_cannot_be_made(make: Callable[[], object]) -> None:
    with pytest.raises(BadEntry) as refused:
        make()
    assert refused.value.status_code is Code.INVALID_ARGUMENT


def test_a_key_that_no_experiment_has_is_refused(store: ControlStore) -> None:
    bad = "no/key"
    for ask in (store.current, store.replicas, lambda key: store.at(key, 1), lambda key: store.ledger(key, 1)):
        with pytest.raises(BadKey):
            ask(bad)
    with pytest.raises(BadKey):
        store.remember(bad, "replica", 1)
    with pytest.raises(BadKey):
        store.forget(bad, "replica")
    with pytest.raises(BadKey):
        stored(key=bad)
    with pytest.raises(BadKey):
        entry(key=bad)


@pytest.mark.parametrize(
    ("holder", "ttl_s"), [("", 1), ("h" * 257, 1), ("\0", 1), ("a", 0), ("a", 3_601), ("a", 1e400)]
)
def test_a_lease_needs_a_name_and_an_end(store: ControlStore, holder: str, ttl_s: float) -> None:
    with pytest.raises(BadEntry):
        store.acquire(holder, ttl_s)
    assert store.writer() is None


def test_a_replica_needs_a_name_and_a_revision(store: ControlStore) -> None:
    with pytest.raises(BadEntry):
        store.remember(KEY, "\0", 1)
    with pytest.raises(BadEntry):
        store.remember(KEY, "replica", -1)
    assert store.replicas(KEY) == {}


# Use


def test_threads_share_a_store(store: ControlStore) -> None:
    """Each thread raises its own experiment; all of them write one table under one lease."""
    lease = acquired(store)
    failures: list[BaseException] = []

    def work(key: str) -> None:
        try:
            for revision in range(1, 11):
                record(store, revision, lease, key)
                store.remember(key, "replica", revision)
                assert store.current(key) == stored(revision, key)
                store.renew(lease, TTL_S)
        except BaseException as error:  # noqa: BLE001 - told by the thread that asserts
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"key-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [store.replicas(f"key-{number}") for number in range(6)] == [{"replica": 10}] * 6


def test_a_closed_store_says_so(store: ControlStore) -> None:
    store.close()
    with pytest.raises(StoreGone):
        store.keys()
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no address with s3cret",
        "mysql://user:s3cret@host/db",
        "sqlite://",
        "sqlite:///relative.db",
        "sqlite:///:memory:",
        "sqlite:////file.db?mode=ro",
        "postgresql+asyncpg://user:s3cret@host/db",
    ],
)
def test_an_address_that_names_no_store_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadStoreUrl) as refused:
        ControlStore.open(url)
    assert "s3cret" not in str(refused.value)


def test_times_are_kept_to_the_microsecond(store: ControlStore) -> None:
    record(store, 1, acquired(store))
    kept = store.current(KEY)
    assert kept is not None
    assert (kept.at - START).total_seconds() == 1
    assert kept.at.microsecond == START.microsecond
