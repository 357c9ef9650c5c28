"""What is written down while an experiment is played: the lines that the control plane's ledger would hold."""

from collections.abc import Mapping
from datetime import datetime

from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.model import Author, Experiment, describe, numbers_of
from ra_guard.experiments.monitor.outcomes import BY_ITSELF


class Ledger:
    """Lines in the order in which they were written."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them."""
        return tuple(self._entries)

    def change(
        self,
        before: Experiment | None,
        after: Experiment,
        at: datetime,
        author: Author,
        numbers: Mapping[str, float] | None = None,
    ) -> Experiment:
        """A new revision; returns it."""
        told = numbers_of(before, after, at) | dict(numbers or {})
        what = describe(before, after)
        self._entries.append(Entry(after.key, after.revision, at, author.who, author.why, what, told))
        return after

    def note(
        self,
        experiment: Experiment,
        at: datetime,
        what: str,
        why: str,
        numbers: Mapping[str, float] | None = None,
    ) -> None:
        """Something that changes no revision."""
        self._entries.append(Entry(experiment.key, experiment.revision, at, BY_ITSELF, why, what, numbers or {}))
