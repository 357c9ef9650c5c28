"""One epoch of one experiment, played from its evidence: hour by hour while far behind, then minute by minute.

Whoever starts late, a watch after a crash or a command that makes a report, comes to where one that never stopped
would be: windows add up the same rows, and the minutes that triggers remember are played again. Only evidence that
arrived later than its minute is seen earlier than it was.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ra_guard.evidence.contrast import Contrast, Evidence, Exposure, Vitals
from ra_guard.evidence.tally import Batch, joined, nothing, of_domain, split
from ra_guard.evidence.window import PartWindow
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Alarm
from ra_guard.experiments.model import Experiment
from ra_guard.experiments.monitor.monitor import Monitor
from ra_guard.experiments.monitor.outcomes import Assessment, Tick
from ra_guard.reports.content import Hour
from ra_guard.reports.history import History
from ra_guard.watch.seen import Ramped, Seen

MINUTES: Final = 60
MARGIN_MINUTES: Final = 60
"""Played minute by minute beyond the longest span that a trigger remembers."""


def minute_of(at: datetime) -> int:
    """Minutes since the Unix epoch."""
    return int(at.timestamp()) // 60


def moment_of(minute: int) -> datetime:
    """The end of a minute since the Unix epoch."""
    return datetime.fromtimestamp((minute + 1) * 60, UTC)


class Epoch:
    """An analysis in the making. Not thread-safe."""

    def __init__(self, seen: Seen) -> None:
        experiment = seen.experiment
        self.number = experiment.epoch
        self.began_at = seen.began_at
        self._since = minute_of(self.began_at)
        self._as_of = self._since - 1
        self._definition = experiment.definition
        self._monitor = Monitor(
            experiment.definition, epoch_since=self._since, stage_bp=0, stage_since=minute_of(experiment.stage_since)
        )
        self._history = History(experiment.definition)
        self._ramp = Ramped(self.began_at, 0)
        self._waiting: Batch = nothing()
        self._domains: dict[int, PartWindow] = {}

    @property
    def as_of(self) -> int:
        """The minute that was played last; before the first one, the one before the epoch."""
        return self._as_of

    @property
    def has_played(self) -> bool:
        """Whether there was a first one."""
        return self._as_of >= self._since

    @property
    def ramp_bp(self) -> int:
        """Where the ramp stood at that minute."""
        return self._ramp.ramp_bp

    def play(self, seen: Seen, batch: Batch, exposure: Exposure, until: int) -> tuple[Tick, ...]:
        """Takes new evidence up to a minute; the ticks of the minutes that were played one by one, oldest first."""
        self._redefine(seen.experiment)
        for domain in map(int, {*batch.calls.domain.tolist(), *batch.changes.domain.tolist()}):
            self._domains.setdefault(domain, PartWindow(self._since)).add(of_domain(batch, domain))
        self._waiting = joined([self._waiting, batch])
        ticks = []
        for minute in self._minutes(until):
            self._ramp_up_to(seen.ramps(), minute)
            now, self._waiting = split(self._waiting, minute)
            self._history.add(now)
            self._monitor.add(now)
            # What replicas say of themselves is known of now alone.
            vitals: Vitals | None = seen.vitals() if minute == until else None
            ticks.append(self._monitor.step(minute, exposure, vitals))
            self._as_of = minute
            if (minute + 1) % MINUTES == 0 or minute == until:
                self._history.step(self._monitor.evidence(), self._monitor.assess(), self.ramp_bp)
        return tuple(ticks)

    def assess(self) -> Assessment:
        """All that can be said at the minute that was played last; there must be one."""
        return self._monitor.assess()

    def evidence(self) -> Evidence:
        """What is known at the minute that was played last; there must be one."""
        return self._monitor.evidence()

    def hours(self) -> tuple[Hour, ...]:
        """The epoch so far, an entry an hour."""
        return self._history.hours()

    def domains(self) -> dict[int, Contrast]:
        """The epoch so far, by the number of the gallery domain."""
        return {domain: window.contrast() for domain, window in sorted(self._domains.items())}

    def _minutes(self, until: int) -> Sequence[int]:
        longest = max((alarm.for_minutes for alarm in _alarms(self._definition)), default=0)
        first, near = self._as_of + 1, until - longest - MARGIN_MINUTES
        ends_of_hours = range(first + (MINUTES - 1 - first % MINUTES), near, MINUTES)
        return [*ends_of_hours, *range(max([first, *(hour + 1 for hour in ends_of_hours[-1:])]), until + 1)]

    def _ramp_up_to(self, ramps: Sequence[Ramped], minute: int) -> None:
        for ramped in ramps:
            if minute_of(ramped.at) <= minute and (ramped.at, ramped.ramp_bp) > (self._ramp.at, self._ramp.ramp_bp):
                self._ramp = ramped
                self._monitor.stage(ramped.ramp_bp, minute_of(ramped.at))

    def _redefine(self, experiment: Experiment) -> None:
        if experiment.definition != self._definition:
            self._definition = experiment.definition
            self._monitor.redefine(experiment.definition)


def _alarms(definition: Definition) -> Sequence[Alarm]:
    return [*definition.triggers, *definition.alerts]
