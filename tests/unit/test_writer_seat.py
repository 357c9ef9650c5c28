"""The seat against a store and a clock that the test moves: never two writers at once, whatever fails or is slow."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.experiments.control_store import LeaseLost, StoreGone, WriterLease
from ra_guard.experiments.errors import WriterBusy
from ra_guard.experiments.seat import WriterSeat

TTL_S = 9.0
Answer = TypeVar("Answer")


@dataclass
class Clock:
    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Store:
    """A lease in memory. ``before_s`` and ``after_s`` pass around what the next call does; ``broken`` fails it."""

    clock: Clock
    broken: bool = False
    before_s: float = 0.0
    after_s: float = 0.0
    holder: str | None = None
    term: int = 0
    until_s: float = 0.0
    released: list[WriterLease] = field(default_factory=list)

    def acquire(self, holder: str, ttl_s: float) -> WriterLease | None:
        return self._answer(lambda: self._acquire(holder, ttl_s))

    def renew(self, lease: WriterLease, ttl_s: float) -> WriterLease:
        return self._answer(lambda: self._renew(lease, ttl_s))

    def release(self, lease: WriterLease) -> None:
        self._answer(lambda: self.released.append(lease))

    def writer(self) -> WriterLease | None:
        return WriterLease(self.holder, self.term) if self.holder and self.clock() < self.until_s else None

    def _answer(self, act: Callable[[], Answer]) -> Answer:
        self.clock.now_s += self.before_s
        if self.broken:
            raise StoreGone(found="no store", wanted="one", cure="wait")
        answer = act()
        self.clock.now_s += self.after_s
        return answer

    def _acquire(self, holder: str, ttl_s: float) -> WriterLease | None:
        if self.writer() is not None:
            return None
        self.holder, self.term, self.until_s = holder, self.term + 1, self.clock() + ttl_s
        return WriterLease(holder, self.term)

    def _renew(self, lease: WriterLease, ttl_s: float) -> WriterLease:
        if (self.holder, self.term) != (lease.holder, lease.term):
            raise LeaseLost(found="another", wanted=lease.holder, cure="stop")
        self.until_s = self.clock() + ttl_s
        return lease


def seat_of(store: Store, holder: str, heard: list[WriterLease | None]) -> WriterSeat:
    return WriterSeat(store, holder, wait=lambda _: True, told=heard.append, ttl_s=TTL_S, clock=store.clock)


def holds(seat: WriterSeat) -> bool:
    try:
        seat.lease()
    except WriterBusy:
        return False
    return True


@pytest.fixture
def store() -> Store:
    return Store(Clock())


def test_a_seat_takes_the_lease_and_renews_it_three_times_as_often_as_needed(store: Store) -> None:
    heard: list[WriterLease | None] = []
    seat = seat_of(store, "a", heard)
    for _ in range(20):
        pause_s = seat.step()
        assert pause_s == TTL_S / 3
        assert seat.lease() == WriterLease("a", 1)
        store.clock.now_s += pause_s
    assert heard == [WriterLease("a", 1)]


def test_a_second_seat_names_the_first(store: Store) -> None:
    seat_of(store, "a", []).step()
    other = seat_of(store, "b", [])
    other.step()
    with pytest.raises(WriterBusy) as refused:
        other.lease()
    assert refused.value.found == "a as the writer, with term 1"


def test_a_store_that_fails_costs_the_seat_only_after_the_whole_lease(store: Store) -> None:
    heard: list[WriterLease | None] = []
    seat = seat_of(store, "a", heard)
    seat.step()
    lost_at = store.clock() + TTL_S
    store.broken = True
    while store.clock() < lost_at:
        assert holds(seat)
        store.clock.now_s += seat.step()
    assert not holds(seat)
    assert store.clock() == lost_at
    seat.step()
    assert heard == [WriterLease("a", 1), None]
    assert isinstance(seat.trouble, StoreGone)
    store.broken = False
    seat.step()
    assert heard[2:] == [WriterLease("a", 2)]


def test_a_seat_that_was_replaced_hears_it_at_its_next_question(store: Store) -> None:
    heard: list[WriterLease | None] = []
    first = seat_of(store, "a", heard)
    first.step()
    store.clock.now_s += TTL_S
    seat_of(store, "b", []).step()
    assert first.step() == 0.0
    first.step()
    assert heard == [WriterLease("a", 1), None]
    assert store.writer() == WriterLease("b", 2)


def test_a_run_that_ends_gives_the_lease_back_and_says_so(store: Store) -> None:
    heard: list[WriterLease | None] = []
    answers = iter([False, False, True])
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return next(answers)

    WriterSeat(store, "a", wait=wait, told=heard.append, ttl_s=TTL_S, clock=store.clock).run()
    assert heard == [WriterLease("a", 1), None]
    assert store.released == [WriterLease("a", 1)]
    assert waited == [TTL_S / 3] * 3


def test_a_seat_that_cannot_give_back_ends_all_the_same(store: Store) -> None:
    seat = seat_of(store, "a", [])
    seat.step()
    store.broken = True
    seat.leave()
    assert not holds(seat)


moves = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.booleans(),
        st.floats(0, 2 * TTL_S),
        st.floats(0, 2 * TTL_S),
        st.floats(0, TTL_S),
    ),
    max_size=60,
)


@given(moves)
def test_two_seats_are_never_held_at_once(steps: list[tuple[str, bool, float, float, float]]) -> None:
    store = Store(Clock())
    heard: dict[str, list[WriterLease | None]] = {name: [] for name in "abc"}
    seats = {name: seat_of(store, name, heard[name]) for name in "abc"}
    for name, broken, before_s, after_s, pause_s in steps:
        store.broken, store.before_s, store.after_s = broken, before_s, after_s
        seats[name].step()
        store.clock.now_s += pause_s
        holding = [name for name, seat in seats.items() if holds(seat)]
        assert len(holding) <= 1
        if holding:
            assert store.writer() == seats[holding[0]].lease()
    for changes in heard.values():
        assert all(change is not None for change in changes[::2])
        assert all(change is None for change in changes[1::2])
    terms = [change.term for changes in heard.values() for change in changes if change is not None]
    assert len(terms) == len(set(terms))
