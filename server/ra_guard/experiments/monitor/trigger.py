"""When an alarm fires: a pure memory of which minutes had a reading and which of them did not cross.

An alarm fires when each reading of the last ``for_minutes`` crosses and readings are there in ``coverage_percent`` of
those minutes. A reading that does not cross resets it; a minute that was skipped or could not be told only lowers the
coverage. With ``for_minutes = 0`` this minute's reading decides alone.

The memory is one bit a minute and nothing older than ``for_minutes``. A minute that comes twice, or goes back, is
ignored: what was read then stands. Once the readings stop crossing an alert has recovered; a rollback needs a person
to resume, which the experiment's state remembers, not this.
"""

from dataclasses import dataclass
from typing import Self

from ra_guard.experiments.definition.measures import Alarm, Evidence
from ra_guard.experiments.monitor.outcomes import Reading
from ra_guard.experiments.monitor.question import Question
from ra_guard.experiments.monitor.verdict import is_impossible


def crosses(alarm: Alarm, reading: Reading) -> bool | None:
    """Whether a reading crosses an alarm's bound; None where it cannot be told."""
    return crossed_by(Question.of(alarm), reading)


def crossed_by(question: Question, reading: Reading) -> bool | None:
    """The same, of a question that was made before.

    A bound whose crossing must be proven is not crossed as long as it is not, and cannot be told where the value
    crosses and the data give no interval.
    """
    if reading.value is None or is_impossible(reading):
        return None
    if question.evidence is Evidence.OBSERVED or not question.holds(reading.value):
        return question.holds(reading.value)
    return None if reading.interval is None else question.is_proven(reading.interval)


@dataclass(frozen=True)
class Memory:
    """Of one alarm. Bit i of a word is the minute ``minute - i``."""

    for_minutes: int
    coverage_percent: float
    minute: int | None = None
    """The latest that was read, or tried to be; None before the first."""
    read: int = 0
    """Minutes that have a reading."""
    reset: int = 0
    """Minutes whose reading did not cross."""
    run_since: int | None = None
    """The first minute of the present run of crossings."""
    last_crossed: int | None = None

    @classmethod
    def of(cls, alarm: Alarm) -> Self:
        """Without any reading."""
        return cls(alarm.for_minutes, alarm.coverage_percent or 100.0)

    def at(self, minute: int, *, crossed: bool | None) -> "Memory":
        """After this minute's reading, or, for None, without one."""
        if self.minute is not None and minute <= self.minute:
            return self
        passed = self._span if self.minute is None else min(minute - self.minute, self._span)
        kept = (1 << self._span) - 1
        run_since = self.run_since
        if crossed is False:
            run_since = None
        elif crossed and (
            run_since is None or self.last_crossed is None or minute - self.last_crossed - 1 > self._longest_gap
        ):
            run_since = minute
        return Memory(
            self.for_minutes,
            self.coverage_percent,
            minute,
            (self.read << passed) & kept | (crossed is not None),
            (self.reset << passed) & kept | (crossed is False),
            run_since,
            minute if crossed else self.last_crossed,
        )

    @property
    def coverage(self) -> float:
        """Share of the last ``for_minutes`` that have a reading."""
        return self.read.bit_count() / self.for_minutes if self.for_minutes else 1.0

    @property
    def is_firing(self) -> bool:
        """Whether the alarm fires at the latest minute."""
        return self.read > 0 and not self.reset and 100 * self.read.bit_count() >= self.coverage_percent * self._span

    @property
    def minutes_crossed(self) -> int:
        """Minutes from the first crossing of the present run to the latest minute, gaps within coverage included."""
        if self.minute is None or self.run_since is None or self.last_crossed is None:
            return 0
        return 0 if self.minute - self.last_crossed > self._longest_gap else self.minute - self.run_since + 1

    @property
    def _span(self) -> int:
        return max(self.for_minutes, 1)

    @property
    def _longest_gap(self) -> int:
        return int(self._span * (100 - self.coverage_percent) / 100)
