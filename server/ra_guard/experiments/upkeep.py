"""What the control plane sees to by itself, every few hundred milliseconds, while it is the writer.

It obeys the feature flags, ends treatment that nobody watches, notes what went badly wrong, and remembers the replicas
for whoever takes over. Steps may raise: the plane reports that, and the others happen all the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, Self

from ra_guard.experiments.condition import Conditions
from ra_guard.experiments.control_store import ControlStore, Entry, WriterLease
from ra_guard.experiments.errors import ExperimentError
from ra_guard.experiments.flag import FlagSource, FlagState
from ra_guard.experiments.model import Author, Experiment
from ra_guard.experiments.published import Changed
from ra_guard.experiments.replicas import Replicas
from ra_guard.experiments.vigil import Vigil, why_unseen

BY_ITSELF: Final = "ra-guard control"
CRITICAL_ERRORS: Final = "critical_errors"
"""What a ledger line about them is called, and the name of their number."""
CRITICAL_ERRORS_EVERY_S: Final = (60.0, 3600.0)
"""Between two ledger lines about critical errors: each waits twice as long as the one before, up to the second, and
the first again after as long without any. A flood of two weeks is a few hundred lines, not twenty thousand."""


@dataclass(frozen=True)
class _Line:
    """When the latest ledger line about critical errors was written, and how long the next one waits."""

    at_s: float
    pause_s: float

    @classmethod
    def after(cls, before: Self | None, now_s: float) -> Self:
        shortest_s, longest_s = CRITICAL_ERRORS_EVERY_S
        if before is None or now_s - before.at_s > before.pause_s + longest_s:
            return cls(now_s, shortest_s)
        return cls(now_s, min(2 * before.pause_s, longest_s))


class Plane(Protocol):
    """What upkeep asks of the control plane."""

    replicas: Replicas
    conditions: Conditions
    vigil: Vigil

    def leads(self) -> bool: ...
    def writer(self) -> WriterLease | None: ...
    def treated(self) -> Mapping[str, Experiment]: ...
    def stored_keys(self) -> list[str]: ...
    def kill(self, key: str, author: Author) -> Changed: ...
    def roll_back(self, key: str, author: Author) -> Changed: ...
    def note(self, key: str, what: str, author: Author, numbers: Mapping[str, float]) -> Entry: ...


class Upkeep:
    """The upkeep of one control plane. `steps` are called in turn, by one thread."""

    def __init__(
        self,
        plane: Plane,
        store: ControlStore,
        flags: FlagSource,
        steady: Callable[[], float],
        report: Callable[[BaseException], None],
    ) -> None:
        self._plane = plane
        self._store = store
        self._flags = flags
        self._steady = steady
        self._report = report
        self._remembered: dict[str, dict[str, int]] = {}
        self._told_critical: dict[str, _Line] = {}

    @property
    def steps(self) -> tuple[Callable[[], None], ...]:
        """Safety first."""
        return tuple(
            self._while_leading(step)
            for step in (self._obey_flags, self._roll_back_unseen, self._note_critical_errors, self._remember_replicas)
        )

    def remember(self, key: str, known: Mapping[str, int]) -> None:
        """What the store knows of an experiment's replicas, read on taking over."""
        self._remembered[key] = dict(known)

    def _while_leading(self, step: Callable[[], None]) -> Callable[[], None]:
        return lambda: step() if self._plane.leads() else None

    def _obey_flags(self) -> None:
        """Every flag is read, also of what is killed already: a replica's lease asks for its last value."""
        for key in self._plane.stored_keys():
            reading = self._flags.read(key)
            if reading is not None and reading.state is FlagState.OFF and key in self._plane.treated():
                self._try(self._plane.kill, key, Author(f"flag {reading.provider}", f"flag {key} is off"))

    def _roll_back_unseen(self) -> None:
        """A treatment that nobody watches is a reason to end it."""
        for key, experiment in self._plane.treated().items():
            patience_s = self._plane.vigil.patience_s(experiment)
            if patience_s is None or patience_s > 0:
                continue
            minutes = self._plane.vigil.unseen_s(key) / 60
            limit = experiment.definition.rollback.without_evidence_minutes
            numbers = {"minutes_without_evidence": minutes, "minutes_allowed": float(limit)}
            self._try(self._plane.roll_back, key, Author(BY_ITSELF, why_unseen(minutes, limit), numbers))

    def _note_critical_errors(self) -> None:
        for key in self._plane.stored_keys():
            count, now_s = self._plane.conditions.new_critical_errors(key), self._steady()
            line = self._told_critical.get(key)
            if count == 0 or (line is not None and now_s - line.at_s < line.pause_s):
                continue
            self._told_critical[key] = _Line.after(line, now_s)
            why = "replicas answered INTERNAL or DATA_LOSS, refused a damaged generation, or crashed"
            self._plane.note(key, CRITICAL_ERRORS, Author(BY_ITSELF, why), {CRITICAL_ERRORS: float(count)})
            self._plane.conditions.took(key, count)

    def _remember_replicas(self) -> None:
        lease, replicas = self._plane.writer(), self._plane.replicas
        if lease is None:
            return
        for key in self._plane.stored_keys():
            replicas.forget_silent(key)
            now, before = replicas.revisions(key), self._remembered.get(key, {})
            self._plane.conditions.keep(key, frozenset(now))
            for replica, revision in now.items() - before.items():
                self._store.remember(key, replica, revision, lease=lease)
            for replica in before.keys() - now.keys():
                self._store.forget(key, replica, lease=lease)
            self._remembered[key] = now

    def _try(self, change: Callable[[str, Author], Changed], key: str, author: Author) -> None:
        """One experiment's change; the others are looked after all the same."""
        try:
            change(key, author)
        except ExperimentError as error:
            self._report(error)
