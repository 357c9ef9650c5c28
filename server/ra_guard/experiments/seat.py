"""The seat of the one writer: takes the store's lease, keeps it, and says when it is lost.

A seat trusts its own clock, not only the store's answers: a lease that could not be renewed for its whole time counts
as lost here, since another holder may have it by then. The clock is read before the store is asked, so a seat ends no
later than its lease. Whatever a seat believes, the store refuses a term that is over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ra_guard.experiments.control_store import LeaseLost, WriterLease, boot_time_s
from ra_guard.experiments.errors import ExperimentError, WriterBusy

DEFAULT_TTL_S = 15.0
"""Longer than the store may take to answer, so that one slow renewal does not cost the seat."""


class LeaseStore(Protocol):
    """What a seat needs of a store; `control_store.ControlStore` is one."""

    def acquire(self, holder: str, ttl_s: float) -> WriterLease | None: ...
    def renew(self, lease: WriterLease, ttl_s: float) -> WriterLease: ...
    def release(self, lease: WriterLease) -> None: ...
    def writer(self) -> WriterLease | None: ...


@dataclass(frozen=True, slots=True)
class _Held:
    lease: WriterLease
    until_s: float


class WriterSeat:
    """One process's claim to be the writer. `run` keeps it in a thread of its own; `lease` may be asked from any.

    ``wait`` sleeps for the seconds given and returns whether to end: `threading.Event.wait` of a stop event is one.
    ``told`` hears every change, from the thread that runs: the lease when it is gained, None when it is lost.
    """

    def __init__(
        self,
        store: LeaseStore,
        holder: str,
        *,
        wait: Callable[[float], bool],
        told: Callable[[WriterLease | None], None],
        ttl_s: float = DEFAULT_TTL_S,
        clock: Callable[[], float] = boot_time_s,
    ) -> None:
        self._store = store
        self._holder = holder
        self._wait = wait
        self._told = told
        self._ttl_s = ttl_s
        self._clock = clock
        self._held: _Held | None = None
        self._other: WriterLease | None = None
        self.trouble: ExperimentError | None = None
        """Why the last question to the store failed; None when it was answered."""

    def lease(self) -> WriterLease:
        """The lease to write under. Raises WriterBusy when this process is not the writer, or no longer surely."""
        held = self._held
        if held is not None and self._clock() < held.until_s:
            return held.lease
        other, trouble = self._other, self.trouble
        if held is None and other is not None:
            found = f"{other.holder} as the writer, with term {other.term}"
        elif trouble is not None:
            found = f"a lease that could not be had ({trouble.found})"
        else:
            found = "a lease that is not there yet"
        raise WriterBusy(
            found=found,
            wanted=f"{self._holder} as the writer",
            cure=f"ask the writer, or try again: within {self._ttl_s:g} s a writer that is gone is replaced",
        )

    def run(self) -> None:
        """Takes and keeps the lease until ``wait`` says to end, then gives it back."""
        while not self._wait(self.step()):
            pass
        self.leave()

    def step(self) -> float:
        """Asks the store once, and says in how many seconds to ask again."""
        held = self._held
        return self._take() if held is None else self._keep(held)

    def leave(self) -> None:
        """Gives the lease back. When the store does not answer, the lease runs out by itself."""
        held = self._held
        if held is None:
            return
        self._lose()
        try:
            self._store.release(held.lease)
        except ExperimentError as error:
            self.trouble = error

    def _take(self) -> float:
        asked_s = self._clock()
        try:
            lease = self._store.acquire(self._holder, self._ttl_s)
            self._other = self._store.writer() if lease is None else None
        except ExperimentError as error:
            self.trouble = error
            return self._ttl_s / 3
        self.trouble = None
        if lease is not None:
            self._held = _Held(lease, asked_s + self._ttl_s)
            self._told(lease)
        return self._ttl_s / 3

    def _keep(self, held: _Held) -> float:
        asked_s = self._clock()
        try:
            lease = self._store.renew(held.lease, self._ttl_s)
        except LeaseLost as error:
            self.trouble = error
            self._lose()
            return 0.0
        except ExperimentError as error:
            self.trouble = error
            left_s = held.until_s - self._clock()
            if left_s <= 0:
                self._lose()
            return max(0.0, min(left_s, self._ttl_s / 6))
        self.trouble = None
        self._held = _Held(lease, asked_s + self._ttl_s)
        return self._ttl_s / 3

    def _lose(self) -> None:
        self._held = None
        self._told(None)
