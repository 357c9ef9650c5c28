"""The store against a model of itself in plain Python, over both databases: any sequence of calls, any content."""

import itertools
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from ra_guard.experiments.control_store import BadEntry, ControlStore, Entry, LeaseLost, Stored, WriterLease
from ra_guard.experiments.errors import StaleRevision

from tests.stand_ins.control_stores import TTL_S, acquired, entry, new_schema, run_out, stored
from tests.stand_ins.postgres import PostgresServer

pytest_plugins = ["tests.stand_ins.control_store_fixtures"]

KEYS = ("one", "two")
HOLDERS = ("a", "b")
REPLICAS = ("replica-1", "replica-2")


class StoreMachine(RuleBasedStateMachine):
    """Every call is made on the store and on the model; what one refuses, the other must refuse."""

    new_url: Callable[[], str]

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.url = type(self).new_url()
        self.store = ControlStore.open(self.url)
        self.revisions: dict[str, list[Stored]] = {key: [] for key in KEYS}
        self.lines: dict[str, list[Entry]] = {key: [] for key in KEYS}
        self.remembered: dict[str, dict[str, int]] = {key: {} for key in KEYS}
        self.holder: str | None = None
        self.term = 0
        self.live = False

    def in_force(self, lease: WriterLease) -> bool:
        return (self.holder, self.term) == (lease.holder, lease.term)

    @rule(target=leases, holder=st.sampled_from(HOLDERS))
    def acquire(self, holder: str) -> object:
        lease = self.store.acquire(holder, TTL_S)
        if self.live:
            assert lease is None
            return multiple()
        self.holder, self.term, self.live = holder, self.term + 1, True
        assert lease == WriterLease(holder, self.term)
        return lease

    @rule(lease=leases)
    def renew(self, lease: WriterLease) -> None:
        if self.in_force(lease):
            assert self.store.renew(lease, TTL_S) == lease
            self.live = True
        else:
            with pytest.raises(LeaseLost):
                self.store.renew(lease, TTL_S)

    @rule(lease=leases)
    def release(self, lease: WriterLease) -> None:
        self.store.release(lease)
        if self.in_force(lease):
            self.holder, self.live = None, False

    @rule()
    def time_passes(self) -> None:
        run_out(self.url)
        self.live = False

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = ControlStore.open(self.url)

    @rule(lease=leases, key=st.sampled_from(KEYS), off=st.integers(0, 1), step=st.sampled_from([1, 1, 1, 5]))
    def record(self, lease: WriterLease, key: str, off: int, step: int) -> None:
        last = self.revisions[key][-1].revision if self.revisions[key] else 0
        after = stored(last + off + step, key, definition=f"# {step}")
        line = entry(after.revision, key, who=lease.holder)
        if not self.in_force(lease):
            with pytest.raises(LeaseLost):
                self.store.record(last + off, after, line, lease)
        elif off:
            with pytest.raises(StaleRevision):
                self.store.record(last + off, after, line, lease)
        else:
            self.store.record(last, after, line, lease)
            self.revisions[key].append(after)
            self.lines[key].append(line)

    @rule(lease=leases, key=st.sampled_from(KEYS), ahead=st.booleans())
    def note(self, lease: WriterLease, key: str, ahead: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        last = self.revisions[key][-1].revision if self.revisions[key] else 0
        line = entry(last + ahead or 1, key, what="note")
        if not self.in_force(lease):
            with pytest.raises(LeaseLost):
                self.store.note(line, lease)
        elif line.revision > last:
            with pytest.raises(BadEntry):
                self.store.note(line, lease)
        else:
            self.store.note(line, lease)
            self.lines[key].append(line)

    @rule(
        lease=leases, key=st.sampled_from(KEYS), replica=st.sampled_from(REPLICAS), revision=st.integers(0, 2**63 - 1)
    )
    def remember(self, lease: WriterLease, key: str, replica: str, revision: int) -> None:
        if self.in_force(lease):
            self.store.remember(key, replica, revision, lease=lease)
            self.remembered[key][replica] = revision
        else:
            with pytest.raises(LeaseLost):
                self.store.remember(key, replica, revision, lease=lease)

    @rule(key=st.sampled_from(KEYS), replica=st.sampled_from(REPLICAS))
    def forget(self, key: str, replica: str) -> None:
        self.store.forget(key, replica)
        self.remembered[key].pop(replica, None)

    @invariant()
    def everything_reads_as_the_model_says(self) -> None:
        assert self.store.keys() == [key for key in KEYS if self.revisions[key]]
        for key in KEYS:
            revisions = self.revisions[key]
            assert self.store.current(key) == (revisions[-1] if revisions else None)
            assert [self.store.at(key, each.revision) for each in revisions] == revisions
            assert list(self.store.ledger(key, 1_000)) == self.lines[key]
            assert list(self.store.ledger(key, 2)) == self.lines[key][-2:]
            assert self.store.replicas(key) == self.remembered[key]
        assert self.store.writer() == (WriterLease(self.holder, self.term) if self.holder and self.live else None)

    def teardown(self) -> None:
        self.store.verify()
        self.store.close()


def machine_of(url: Callable[[], str]) -> type[StoreMachine]:
    class Machine(StoreMachine):
        new_url = staticmethod(url)

    return Machine


def test_any_sequence_of_calls_on_sqlite() -> None:
    with TemporaryDirectory() as folder:
        numbers = itertools.count()
        machine = machine_of(lambda: f"sqlite:///{folder}/{next(numbers)}/control.db")
        run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))


def test_any_sequence_of_calls_on_postgresql(postgres: PostgresServer) -> None:
    machine = machine_of(lambda: new_schema(postgres))
    run_state_machine_as_test(machine, settings=settings(max_examples=10, stateful_step_count=25, deadline=None))


texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=200)
numbers = st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=5)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of naive draws


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    definition=texts,
    state=texts,
    sealed=st.binary(max_size=500),
    epoch=st.integers(1, 2**63 - 1),
    at=instants,
    who=texts,
    why=texts,
    what=texts,
    numbers=numbers,
    revision=st.integers(1, 2**63 - 1),
)
def test_any_content_comes_back_as_it_was(
    store_url: str,
    definition: str,
    state: str,
    sealed: bytes,
    epoch: int,
    at: datetime,
    who: str,
    why: str,
    what: str,
    numbers: dict[str, float],
    revision: int,
) -> None:
    with closing(ControlStore.open(store_url)) as store:
        lease = acquired(store)
        key = f"key-{len(store.keys())}"
        recorded = Stored(key, revision, epoch, definition, state, sealed, at)
        line = Entry(key, revision, at, who, why, what, numbers)
        store.record(0, recorded, line, lease)
        assert store.current(key) == store.at(key, revision) == recorded
        assert store.ledger(key, 1) == (line,)
        store.release(lease)
