"""A control plane in this process, on a clock that the test moves: real store, real seat, real plane."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ra_guard.experiments.control_store import ControlStore, Entry, OutcomeUnknown, Stored, WriterLease
from ra_guard.experiments.errors import ExperimentError
from ra_guard.experiments.flag import FlagReading, FlagState
from ra_guard.experiments.model import Author
from ra_guard.experiments.plane import ControlPlane
from ra_guard.experiments.seat import WriterSeat

KEY = "ra_guard_enhancement"
ME = Author("me", "a test")
TTL_S = 10.0


class Clock:
    """A steady clock that stands until it is moved."""

    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds

    def now(self) -> datetime:
        """The wall clock that goes with it."""
        return datetime(2026, 3, 4, tzinfo=UTC) + timedelta(seconds=self.now_s)


class RefusingStore:
    """A real store behind a door: while ``refusal`` is set nothing is recorded; ``swallow`` loses one answer."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store
        self.refusal: ExperimentError | None = None
        self.swallow = False
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def record(self, before: int, stored: Stored, entry: Entry, lease: WriterLease) -> None:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        self._store.record(before, stored, entry, lease)
        if self.swallow:
            self.swallow = False
            raise OutcomeUnknown(found="a store that went away", wanted="an answer", cure="read again")


class ScriptedFlags:
    """A provider whose readings a test decides; as with a real one, what was read last still holds."""

    def __init__(self) -> None:
        self._readings: dict[str, FlagReading] = {}
        self.state = FlagState.ON

    def read(self, key: str) -> FlagReading:
        before = self._readings.get(key)
        last = self.state if self.state is not FlagState.UNREADABLE else before.last if before else None
        self._readings[key] = FlagReading("Scripted", self.state, last)
        return self._readings[key]

    def reading(self, key: str) -> FlagReading:
        return self._readings.get(key, FlagReading("Scripted", FlagState.UNREADABLE, None, "not read yet"))


@dataclass
class Instance:
    """One instance of the control plane and what it told."""

    plane: ControlPlane
    seat: WriterSeat
    store: RefusingStore
    announced: list[Entry] = field(default_factory=list)
    spreads_s: list[float] = field(default_factory=list)
    reported: list[BaseException] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)

    def lead(self) -> "Instance":
        """One turn of the seat, one of the plane."""
        self.seat.step()
        self.plane.tick()
        return self

    def close(self) -> None:
        self.store.close()


def instance(url: str, clock: Clock, *, holder: str = "a", flags: ScriptedFlags | None = None) -> Instance:
    """An instance over a store; it leads once `Instance.lead` won the seat."""
    store = RefusingStore(ControlStore.open(url, steady_clock=clock))
    behind_door: Any = store
    seat = WriterSeat(behind_door, holder, wait=lambda _: True, told=lambda _: None, ttl_s=TTL_S, clock=clock)
    announced: list[Entry] = []
    spreads_s: list[float] = []
    reported: list[BaseException] = []
    plane = ControlPlane(
        behind_door,
        seat,
        flags=flags,
        clock=clock.now,
        steady=clock,
        announce=announced.append,
        observe_spread=spreads_s.append,
        report=reported.append,
    )
    made = Instance(plane, seat, store, announced, spreads_s, reported)
    plane.subscribe(made.woken.append)
    return made
