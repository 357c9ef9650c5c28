"""An experiment from its launch to its end or rollback, through the code that a real one goes through.

Every minute: what became known goes to the monitor, its tick is asked whether to roll back; so is the control plane's
own rule about an hour without evidence. Every hour: an assessment, the ramp, a look where one is due. A rollback ends
the play, since only a person leads on from there. A minute of calls is known two minutes after it ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, Protocol

from ra_guard.evidence.contrast import Evidence, Exposure, Vitals
from ra_guard.evidence.tally import Batch, Quantity
from ra_guard.experiments import upkeep
from ra_guard.experiments.allocation import hash_seed
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Approval
from ra_guard.experiments.model import Author, Experiment, Pace, first
from ra_guard.experiments.monitor import decision, looks, rollout
from ra_guard.experiments.monitor.monitor import Monitor
from ra_guard.experiments.monitor.outcomes import (
    BY_ITSELF,
    Advance,
    Assessment,
    Decision,
    Look,
    RollBack,
    Tick,
    Verdict,
)
from ra_guard.experiments.monitor.reading import MEANS
from ra_guard.experiments.vigil import why_unseen
from ra_guard.simulation import faults
from ra_guard.simulation.calls import draw_calls
from ra_guard.simulation.errors import WrongTicks
from ra_guard.simulation.ledger import Ledger
from ra_guard.simulation.notes import AlertCount, Alerts, Notes
from ra_guard.simulation.people import Allocation, draw_people
from ra_guard.simulation.quiet import Quiet
from ra_guard.simulation.scenario import HOUR_MINUTES, LAG_MINUTES, Scenario
from ra_guard.simulation.traffic import Traffic
from ra_guard.stats.outcome import Insufficient

LAUNCH: Final = datetime(2025, 10, 24, tzinfo=UTC)
"""When every simulation begins: the plan's date."""
NO_EVIDENCE: Final = "no evidence"
"""The cause of a rollback by the control plane's own rule."""


class Detail(Enum):
    """How much of an experiment is played. What decides, ramps or rolls back is the same in both, to the bit."""

    ALL = "all"
    DECIDING = "deciding"
    """Without alerts, without what no gate, guardrail or trigger asks about, and without minutes in which nothing can
    roll back: for many replications."""


@dataclass(frozen=True)
class Script:
    """What is played. ``tick_minutes`` above 1 is for statistics alone: nothing rolls back then."""

    scenario: Scenario
    definition: Definition
    allocation: Allocation = Allocation.HASH
    tick_minutes: int = 1
    detail: Detail = Detail.ALL

    def __post_init__(self) -> None:
        if self.tick_minutes < 1 or HOUR_MINUTES % self.tick_minutes:
            raise WrongTicks(
                found=f"a tick of {self.tick_minutes} minutes", wanted="minutes that divide an hour", cure="try 1 or 60"
            )

    @property
    def rolls_back(self) -> bool:
        """Whether triggers, guardrails and missing evidence end it."""
        return self.tick_minutes == 1

    @property
    def watched(self) -> Definition:
        """What the monitor is told."""
        return self.definition if self.detail is Detail.ALL else self.definition.model_copy(update={"alerts": ()})

    @property
    def quantities(self) -> frozenset[Quantity]:
        """What evidence is made of."""
        if self.detail is Detail.ALL:
            return frozenset(Quantity)
        gates = (gate for stage in self.definition.stages for gate in stage.gates)
        bounds = (*gates, *self.definition.metrics.guardrails, *self.definition.triggers)
        asked = {MEANS[bound.metric].quantity for bound in bounds if bound.metric in MEANS}
        return frozenset({Quantity.NDCG} | asked)


@dataclass(frozen=True)
class Ending:
    """What ended a run before its time."""

    minute: int
    """Since the launch."""
    causes: tuple[str, ...]
    """Triggers and guardrails by their metric, or `NO_EVIDENCE`."""
    why: str


@dataclass(frozen=True)
class Run:
    """One experiment that was played."""

    script: Script
    seed: int
    experiment: Experiment
    minutes: int
    """From the launch to the end."""
    ending: Ending | None
    """None: it ran for all of its hours."""
    looks: tuple[Look, ...]
    assessment: Assessment
    evidence: Evidence
    decision: Decision
    alerts: tuple[AlertCount, ...]
    ledger: tuple[Entry, ...]


class Audience(Protocol):
    """Who sees a play as it goes on."""

    def batch(self, batch: Batch) -> None:
        """Evidence that arrived."""

    def hour(self, evidence: Evidence, assessment: Assessment, ramp_bp: int) -> None:
        """What stood at the end of an hour, and when it was rolled back."""

    def look(self, look: Look, looks: tuple[Look, ...]) -> None:
        """A planned look that was taken, and all so far."""


def play(script: Script, seed: int, audience: Audience) -> Run:
    """Plays one experiment. The same script and seed give the same run, to the bit."""
    return _Play(script, seed, audience).run()


class _Play:
    def __init__(self, script: Script, seed: int, audience: Audience) -> None:
        scenario, definition = script.scenario, script.definition
        self._script, self._seed, self._audience = script, seed, audience
        self._launch_minute = round(LAUNCH.timestamp()) // 60
        self._ledger = Ledger()
        self._experiment = self._launched()
        people = draw_people(scenario, seed, script.allocation, hash_seed(definition.key, definition.salt))
        calls = draw_calls(scenario, people, seed)
        self._traffic = Traffic(scenario, people, calls, self._launch_minute, script.quantities)
        self._monitor = Monitor(
            script.watched,
            epoch_since=self._launch_minute,
            stage_bp=self._experiment.ramp_bp,
            stage_since=self._launch_minute,
        )
        self._notes = Notes(self._ledger)
        self._alerts = Alerts(script.watched)
        self._looks: list[Look] = []
        self._assessment: Assessment | None = None
        # Before the first minute nothing is known, and that can be said too.
        self._tick = self._monitor.step(self._launch_minute - 1, Exposure(0, 0, 0, 0, 0), None)
        self._known = 0
        """The wall clock's minute of the latest evidence."""
        self._is_silent = False
        passes_over = script.detail is Detail.DECIDING and script.rolls_back
        self._quiet = Quiet(definition, scenario) if passes_over else None

    def run(self) -> Run:
        for hour in range(self._script.scenario.hours):
            calls = self._traffic.open_hour(hour, self._experiment.ramp_bp)
            if self._quiet is not None:
                self._quiet.hear(hour, calls, self._launch_minute)
            for minute in self._minutes(hour):
                if ending := self._minute(minute):
                    return self._ended(minute, ending)
            self._hour((hour + 1) * HOUR_MINUTES)
        return self._ended(self._script.scenario.hours * HOUR_MINUTES, None)

    def _minutes(self, hour: int) -> Iterator[int]:
        """Of the wall clock since the launch: those to play in an hour, the full hour last."""
        if self._quiet is not None:
            return self._quiet.minutes(hour, self._tick)
        tick = self._script.tick_minutes
        ticks = range(hour * HOUR_MINUTES + tick, (hour + 1) * HOUR_MINUTES + 1, tick)
        return (minute for minute in ticks if minute > LAG_MINUTES)

    def _launched(self) -> Experiment:
        """Ramped to the first stage, as people do it."""
        definition = self._script.definition
        stage = definition.stages[0]
        people = Author(definition.decision_makers[0].role, "the simulation launches the experiment")
        made = self._ledger.change(None, first(definition, LAUNCH), LAUNCH, people)
        if stage.approval is Approval.REQUIRED:
            made = self._ledger.change(made, made.approve(stage.ramp_bp), LAUNCH, people)
        return self._ledger.change(made, made.ramp(stage.ramp_bp, Pace.BY_STAGE, LAUNCH), LAUNCH, people)

    # Every minute

    def _minute(self, minute: int) -> Ending | None:
        """``minute`` is the wall clock's, since the launch."""
        scenario, at = self._script.scenario, at_minute(minute)
        cut_off = faults.replicas_cut_off(scenario.faults, minute)
        vitals = Vitals(scenario.replicas - cut_off, 0, 0, 0)
        self._notes.replicas(self._experiment, at, heard=vitals.replicas, of=scenario.replicas)
        if faults.is_silent(scenario.faults, minute):
            return self._without_evidence(minute)
        if self._is_silent:
            self._notes.evidence(self._experiment, at, minute - self._known - self._script.tick_minutes)
        self._is_silent, self._known = False, minute
        as_of = minute - LAG_MINUTES - 1
        batch = self._traffic.take(as_of)
        self._monitor.add(batch)
        self._audience.batch(batch)
        self._tick = tick = self._monitor.step(self._launch_minute + as_of, self._traffic.exposure(as_of), vitals)
        self._alerts.hear(tick, minute, at)
        if self._script.rolls_back and (found := rollout.rollback_due(self._experiment, tick)):
            return self._roll_back(minute, found, _causes(tick), BY_ITSELF)
        return None

    def _without_evidence(self, minute: int) -> Ending | None:
        allowed = self._script.definition.rollback.without_evidence_minutes
        self._is_silent, missing = True, minute - self._known
        if not self._script.rolls_back or missing < allowed or not rollout.is_treating(self._experiment):
            return None
        found = RollBack(
            why_unseen(missing, allowed), {"minutes_without_evidence": float(missing)}, has_shared_cause=False
        )
        return self._roll_back(minute, found, (NO_EVIDENCE,), upkeep.BY_ITSELF)

    def _roll_back(self, minute: int, found: RollBack, causes: tuple[str, ...], who: str) -> Ending:
        at = at_minute(minute)
        self._assess()
        after = self._experiment.roll_back(at)
        self._experiment = self._ledger.change(self._experiment, after, at, Author(who, found.why), found.numbers)
        return Ending(minute, causes, found.why)

    # Every hour

    def _hour(self, minute: int) -> None:
        at = at_minute(minute)
        evidence, assessment = self._assess()
        self._notes.sample_ratio(self._experiment, at, assessment, evidence.exposure)
        self._look(at, evidence, assessment)
        move = rollout.next_move(self._experiment, assessment, at)
        if isinstance(move, Advance):
            after = self._experiment.ramp(move.ramp_bp, Pace.BY_STAGE, at)
            self._ledger.change(self._experiment, after, at, Author(BY_ITSELF, move.why), move.numbers)
            self._experiment = after
            self._monitor.stage(after.ramp_bp, self._launch_minute + minute)
        else:
            self._notes.hold(self._experiment, at, move)

    def _assess(self) -> tuple[Evidence, Assessment]:
        evidence, assessment = self._monitor.evidence(), self._monitor.assess()
        self._audience.hour(evidence, assessment, self._experiment.ramp_bp)
        self._assessment = assessment
        return evidence, assessment

    def _look(self, at: datetime, evidence: Evidence, assessment: Assessment) -> None:
        definition, now = self._script.definition, round(at.timestamp())
        day = looks.due(definition, round(LAUNCH.timestamp()), self._looks, now)
        if day is None:
            return
        look = looks.take(definition, day, now, evidence.epoch)
        if isinstance(look, Insufficient):
            self._notes.no_look(self._experiment, at, day, look)
            return
        self._looks.append(look)
        self._audience.look(look, tuple(self._looks))
        self._notes.look(self._experiment, at, look, decision.decide(definition, self._looks, assessment))

    def _ended(self, minute: int, ending: Ending | None) -> Run:
        assessment = self._monitor.assess() if self._assessment is None else self._assessment
        decided = decision.decide(self._script.definition, self._looks, assessment)
        self._notes.decision(self._experiment, at_minute(minute), decided)
        return Run(
            script=self._script,
            seed=self._seed,
            experiment=self._experiment,
            minutes=minute,
            ending=ending,
            looks=tuple(self._looks),
            assessment=assessment,
            evidence=self._monitor.evidence(),
            decision=decided,
            alerts=self._alerts.counts,
            ledger=self._ledger.entries,
        )


def at_minute(minute: int) -> datetime:
    """The moment of a minute since the launch."""
    return LAUNCH + timedelta(minutes=minute)


def _causes(tick: Tick) -> tuple[str, ...]:
    firing = (f"trigger {watched.alarm.metric}" for watched in tick.triggers if watched.is_firing)
    failed = (f"guardrail {judged.requirement.metric}" for judged in tick.guardrails if judged.verdict is Verdict.FAIL)
    return (*firing, *failed)
