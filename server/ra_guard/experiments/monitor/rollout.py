"""What the ramp does next, and what ends it at once. Pure: the moment comes in as ``at``.

Rolling back is asked first, of every tick, in every state. `must_roll_back` looks at the tick alone; `rollback_due`
looks at the experiment too, since where nobody is treated there is nothing to roll back. Advancing asks for every one
of `CONDITIONS`; what is missing, too little or no number meets none of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from ra_guard.experiments.allocation import percent
from ra_guard.experiments.definition.measures import Requirement
from ra_guard.experiments.definition.treatment import Stage
from ra_guard.experiments.definition.vocabulary import Action, Approval
from ra_guard.experiments.model import Experiment
from ra_guard.experiments.monitor import findings, words
from ra_guard.experiments.monitor.outcomes import (
    Advance,
    Assessment,
    Hold,
    Judged,
    Move,
    RollBack,
    Tick,
    Verdict,
)

# Rolling back


def must_roll_back(tick: Tick) -> RollBack | None:
    """What in this tick ends the epoch: triggers that fire, and failed guardrails whose action is to roll back.

    All of them are named. The cause is shared only if every one of them is.
    """
    firing = [watched for watched in tick.triggers if watched.is_firing]
    failed = [
        judged
        for judged in tick.guardrails
        if judged.verdict is Verdict.FAIL and findings.action_of(judged) is Action.ROLL_BACK
    ]
    if not firing and not failed:
        return None
    numbers: dict[str, float] = {}
    for watched in firing:
        name = words.name_of("trigger", watched.alarm, numbers)
        numbers |= words.figures(name, watched.alarm, watched.reading)
        numbers[f"{name}_minutes_crossed"] = float(watched.minutes_crossed)
        numbers[f"{name}_coverage_percent"] = 100 * watched.coverage
    for judged in failed:
        numbers |= words.figures(
            words.name_of("guardrail", judged.requirement, numbers), judged.requirement, judged.reading
        )
    why = [f"trigger {words.fired(watched)}" for watched in firing] + [
        f"guardrail failed: {words.required(judged)}" for judged in failed
    ]
    return RollBack(
        why=words.joined(why),
        numbers=numbers,
        has_shared_cause=not failed and all(watched.has_shared_cause for watched in firing),
    )


def rollback_due(experiment: Experiment, tick: Tick) -> RollBack | None:
    """`must_roll_back`, where somebody is treated.

    Before the first stage, at ramp 0, killed and rolled back nobody is: the harm that a tick may still show is past,
    and an epoch that is not closed can be ramped again when it no longer does.
    """
    return must_roll_back(tick) if is_treating(experiment) else None


def is_treating(experiment: Experiment) -> bool:
    """Whether any user is served what the treatment arm is served."""
    return experiment.ramp_bp > 0 and not experiment.killed


# Moving on


class Condition(StrEnum):
    """What must hold before the ramp goes up, in the order in which it is asked; a reason to hold begins with it."""

    LIVE = "live"
    """Neither killed nor rolled back."""
    RAMPED = "ramped"
    """Above 0: from there only a person leads."""
    NEXT_STAGE = "next_stage"
    """There is one."""
    HELD = "held"
    """For the hours of the stage in force."""
    EVIDENCE = "evidence"
    """Of this stage, and not so old that nobody would see a harm (``rollback.without_evidence_minutes``)."""
    GATES = "gates"
    """Each gate of the stage in force passes."""
    GUARDRAILS = "guardrails"
    """None fails, or is broken, but those that are only analysed."""
    TRIGGERS = "triggers"
    """None is crossed: a ramp up minutes before a rollback would only treat more users. One that cannot be told does
    not hold the ramp: at 1 % of users hardly any quarter of an hour has the calls for a reading."""
    SAMPLE_RATIO = "sample_ratio"
    CROSSOVER = "crossover"
    APPROVAL = "approval"
    """A person has allowed the next stage, where it asks for that."""


def next_move(
    experiment: Experiment, assessment: Assessment, at: datetime, evidence_at: datetime | None = None
) -> Move:
    """Advance to the next stage when every condition holds; else every reason why not.

    ``evidence_at``: the newest sign of life in the logs, where that may be older than the minute that was assessed.
    """
    assessed_at = datetime.fromtimestamp(60 * (assessment.tick.as_of + 1), UTC)
    case = _Case(experiment, assessment, at, min(assessed_at, evidence_at or assessed_at))
    reasons = tuple(f"{condition}: {reason}" for condition, unmet in CONDITIONS.items() for reason in unmet(case))
    if reasons or case.stage is None or case.following is None:
        return Hold(reasons)
    return _advance(case, case.stage, case.following)


_PLANNED: Final = (Condition.LIVE, Condition.RAMPED, Condition.NEXT_STAGE, Condition.HELD)


def is_overdue(hold: Hold) -> bool:
    """Whether the ramp stays although its plan says that it goes on: somebody may look why."""
    return not any(reason.startswith(_PLANNED) for reason in hold.reasons)


@dataclass(frozen=True)
class _Case:
    """What is asked about."""

    experiment: Experiment
    assessment: Assessment
    at: datetime
    evidence_at: datetime

    @property
    def stage(self) -> Stage | None:
        """In force; None at ramp 0."""
        return self.experiment.definition.stage(self.experiment.ramp_bp)

    @property
    def following(self) -> Stage | None:
        """The next stage upwards."""
        stages = self.experiment.definition.stages
        return next((stage for stage in stages if stage.ramp_bp > self.experiment.ramp_bp), None)

    @property
    def held(self) -> timedelta:
        """How long the ramp has stood where it stands."""
        return self.at - self.experiment.stage_since

    def judged(self, gate: Requirement) -> Judged | None:
        """What was found of a gate; None where the assessment was made for others."""
        return next((judged for judged in self.assessment.gates if judged.requirement == gate), None)


def _advance(case: _Case, stage: Stage, following: Stage) -> Advance:
    held_h = case.held.total_seconds() / 3_600
    gates = [judged for gate in stage.gates if (judged := case.judged(gate)) is not None]
    numbers = {"held_h": held_h}
    for judged in gates:
        name = words.name_of("gate", judged.requirement, numbers)
        numbers |= words.figures(name, judged.requirement, judged.reading)
    for sound in (findings.sample_ratio, findings.crossover):
        numbers |= sound(case.experiment.definition, case.assessment).numbers
    why = [f"{held_h:.1f} h at {percent(stage.ramp_bp)}", *(f"gate {words.required(judged)}" for judged in gates)]
    return Advance(following.ramp_bp, words.joined(why), numbers)


def _not_live(case: _Case) -> Iterator[str]:
    if case.experiment.killed:
        yield "rolled back" if case.experiment.rolled_back else "killed"


def _at_zero(case: _Case) -> Iterator[str]:
    if case.experiment.ramp_bp == 0:
        yield "at 0 %, from where only a person leads"


def _at_the_top(case: _Case) -> Iterator[str]:
    if case.following is None:
        yield f"{percent(case.experiment.ramp_bp)} is the last stage"


def _held_too_short(case: _Case) -> Iterator[str]:
    wanted = None if case.stage is None else case.stage.hold_hours
    if wanted is not None and case.held < timedelta(hours=wanted):
        yield f"{case.held.total_seconds() / 3_600:.1f} of {wanted} h at {percent(case.experiment.ramp_bp)}"


def _evidence_too_old(case: _Case) -> Iterator[str]:
    until, oldest = case.evidence_at, case.experiment.definition.rollback.without_evidence_minutes
    if until <= case.experiment.stage_since:
        yield f"none since the ramp came to {percent(case.experiment.ramp_bp)}"
    elif case.at - until > timedelta(minutes=oldest):
        yield f"{(case.at - until).total_seconds() / 60:.0f} min old, more than {oldest}"


def _gates_not_passed(case: _Case) -> Iterator[str]:
    if case.stage is None and case.experiment.ramp_bp:
        yield f"{percent(case.experiment.ramp_bp)} is no stage of the definition"
    for gate in () if case.stage is None else case.stage.gates:
        judged = case.judged(gate)
        if judged is None:
            yield f"{gate.metric} was not judged"
        elif judged.verdict is not Verdict.PASS:
            yield f"{words.required(judged)} ({judged.verdict})"


def _guardrails_failed(case: _Case) -> Iterator[str]:
    for judged in case.assessment.guardrails:
        if judged.verdict in {Verdict.FAIL, Verdict.ERROR} and findings.action_of(judged) is not Action.ANALYSE:
            yield f"{words.required(judged)} ({judged.verdict})"


def _triggers_crossed(case: _Case) -> Iterator[str]:
    for watched in case.assessment.tick.triggers:
        if watched.is_firing or watched.crossed or watched.minutes_crossed:
            alarm = watched.alarm
            so_far = f"crossed for {watched.minutes_crossed} of {alarm.for_minutes} min"
            yield f"{alarm.metric} {so_far}; {words.now(alarm, watched.reading)}"


def _split_not_as_drawn(case: _Case) -> Iterator[str]:
    found = findings.sample_ratio(case.experiment.definition, case.assessment)
    if not found.holds:
        yield found.why


def _crossed_over(case: _Case) -> Iterator[str]:
    found = findings.crossover(case.experiment.definition, case.assessment)
    if not found.holds:
        yield found.why


def _not_approved(case: _Case) -> Iterator[str]:
    stage = case.following
    if stage is None or stage.approval is not Approval.REQUIRED:
        return
    if stage.ramp_bp not in case.experiment.approved_bp:
        yield f"nobody has allowed {percent(stage.ramp_bp)} in epoch {case.experiment.epoch}"


CONDITIONS: Final[Mapping[Condition, Callable[[_Case], Iterator[str]]]] = {
    Condition.LIVE: _not_live,
    Condition.RAMPED: _at_zero,
    Condition.NEXT_STAGE: _at_the_top,
    Condition.HELD: _held_too_short,
    Condition.EVIDENCE: _evidence_too_old,
    Condition.GATES: _gates_not_passed,
    Condition.GUARDRAILS: _guardrails_failed,
    Condition.TRIGGERS: _triggers_crossed,
    Condition.SAMPLE_RATIO: _split_not_as_drawn,
    Condition.CROSSOVER: _crossed_over,
    Condition.APPROVAL: _not_approved,
}
"""Why each does not hold, a line a reason; nothing where it does."""
