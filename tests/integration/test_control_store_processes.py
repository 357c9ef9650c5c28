"""Several processes on one store: races, a writer that is killed, and one that wakes too late."""

import itertools

import pytest
from ra_guard.experiments.control_store import ControlStore, StoreBusy, WriterLease

from tests.stand_ins.control_stores import KEY, TTL_S, acquired, record, run_out, stored
from tests.stand_ins.store_processes import Started

pytest_plugins = ["tests.stand_ins.control_store_fixtures"]


def test_of_two_processes_that_record_the_same_revision_one_wins(
    store_url: str, store: ControlStore, started: Started
) -> None:
    """Two callers of one writer: the lease does not part them, the revision in force does."""
    lease = acquired(store)
    racers = [started("race", store_url, lease.holder, str(lease.term), "40") for _ in range(2)]
    assert [racer.heard() for racer in racers] == [{"ready": True}] * 2
    for racer in racers:
        racer.go_on()
    won = [[line["won"] for line in racer.rest()] for racer in racers]
    assert sorted(itertools.chain(*won)) == list(range(1, 81))  # type: ignore[type-var]
    assert [line.revision for line in store.ledger(KEY, 100)] == list(range(1, 81))
    assert len({line.who for line in store.ledger(KEY, 100)}) == 2
    store.verify()


def test_of_many_processes_one_becomes_the_writer(store_url: str, store: ControlStore, started: Started) -> None:
    contenders = [started("contend", store_url, f"holder-{number}") for number in range(4)]
    assert [contender.heard() for contender in contenders] == [{"ready": True}] * 4
    for contender in contenders:
        contender.go_on()
    terms = [line["term"] for contender in contenders for line in contender.rest()]
    assert sorted(terms, key=str) == [1, None, None, None]
    assert store.writer() == WriterLease(f"holder-{terms.index(1)}", 1)


@pytest.mark.parametrize("after", [1, 7, 30])
def test_a_writer_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost(
    store_url: str, store: ControlStore, started: Started, after: int
) -> None:
    writer = started("write_on", store_url, "dead", "0.5")
    assert writer.heard() == {"term": 1}
    acknowledged = 0
    while acknowledged < after:
        heard = writer.heard()
        assert heard == {"recorded": acknowledged + 1}
        acknowledged += 1
    writer.kill()
    acknowledged += len(writer.rest())  # what it said before it died, and nobody had read yet

    while (lease := store.acquire("heir", TTL_S)) is None:
        pass  # the dead writer's lease runs out by itself
    assert lease == WriterLease("heir", 2)
    current = store.current(KEY)
    assert current is not None
    # One more may have been stored without the word for it getting out.
    assert current.revision in (acknowledged, acknowledged + 1)
    assert [line.revision for line in store.ledger(KEY, 10_000)] == list(range(1, current.revision + 1))
    store.verify()
    record(store, current.revision + 1, lease)


def test_a_writer_that_wakes_after_it_was_replaced_is_refused(
    store_url: str, store: ControlStore, started: Started
) -> None:
    late = started("write_late", store_url, "late", str(TTL_S))
    assert late.heard() == {"recorded": 1, "term": 1}
    run_out(store_url)
    lease = acquired(store, "heir")
    late.go_on()
    assert late.rest() == [{"refused": "LeaseLost"}]
    assert store.current(KEY) == stored(1)
    assert store.writer() == lease == WriterLease("heir", 2)


def test_the_seat_of_a_process_that_is_killed_goes_to_another(store_url: str, started: Started) -> None:
    first = started("sit", store_url, "first", "1.5")
    assert first.heard() == {"term": 1}
    second = started("sit", store_url, "second", "1.5")
    first.kill()
    assert second.heard() == {"term": 2}


def test_a_seat_that_stood_still_hears_that_it_was_replaced(
    store_url: str, store: ControlStore, started: Started
) -> None:
    """Its process was stopped for longer than the lease, and knows nothing of that."""
    first = started("sit", store_url, "first", "1.5")
    assert first.heard() == {"term": 1}
    first.hold_still()
    # A process that is stopped while it renews holds SQLite's lock: nothing can be done about the store until it goes
    # on or ends, so the test begins again from there.
    lease = None
    while lease is None:
        try:
            lease = store.acquire("heir", TTL_S)
        except StoreBusy:
            first.let_go()
            first.hold_still()
    first.let_go()
    assert first.heard() == {"term": None}
    record(store, 1, lease)
