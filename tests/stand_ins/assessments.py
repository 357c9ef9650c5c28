"""Assessments for tests: all is well with the template's experiment, but for what a test changes."""

from dataclasses import replace

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Bound, Counted, Requirement, Scale
from ra_guard.experiments.definition.safety import Trigger
from ra_guard.experiments.monitor.outcomes import Assessment, Judged, Look, Reading, Tick, Verdict, Watched
from ra_guard.stats.outcome import Alternative, Effect, Insufficient, Interval, Lack
from ra_guard.stats.srm import sample_ratio

TOO_FEW = Insufficient(Lack.TOO_FEW, "1 users in an arm", "2 or more in each")


def reading(bound: Bound, value: float | None = None) -> Reading:
    """On the bound's scale; without a value, too little was seen."""
    if value is None:
        return Reading(None, None, None, None, 3, 4, lack="3 and 4, wanted 100 or more in each arm")
    if bound.measure.counted is Counted.NOTHING:
        return Reading(value, None, None, None, 0, 0)
    control = 0.4
    treatment = value if bound.scale is Scale.PERCENT else control + value
    return Reading(value, Interval(value - 0.5, value + 0.5), control, treatment, 1_251, 1_240)


def judged(requirement: Requirement, verdict: Verdict, value: float | None = 0.25) -> Judged:
    return Judged(requirement, reading(requirement, None if verdict is Verdict.INSUFFICIENT else value), verdict)


def quiet(trigger: Trigger) -> Watched:
    return _watched(trigger, trigger.bound / 2)


def firing(trigger: Trigger, *, has_shared_cause: bool = False) -> Watched:
    beyond = _watched(trigger, 1.55 * trigger.bound)
    minutes = trigger.for_minutes
    return replace(beyond, crossed=True, minutes_crossed=minutes, is_firing=True, has_shared_cause=has_shared_cause)


def untold(trigger: Trigger) -> Watched:
    return replace(_watched(trigger, None), crossed=None, coverage=0.0)


def _watched(trigger: Trigger, value: float | None) -> Watched:
    return Watched(
        alarm=trigger,
        reading=reading(trigger, value),
        crossed=False,
        minutes_crossed=0,
        coverage=1.0,
        is_firing=False,
        has_shared_cause=False,
    )


def healthy(definition: Definition, as_of: int = 0, ramp_bp: int = 0) -> Assessment:
    """Every gate and guardrail passes, no trigger is crossed, users split as drawn."""
    guardrails = tuple(judged(each, Verdict.PASS) for each in definition.metrics.guardrails)
    stage = definition.stage(ramp_bp)
    return Assessment(
        tick=Tick(as_of, tuple(quiet(each) for each in definition.triggers), guardrails[1:2], ()),
        guardrails=guardrails,
        gates=() if stage is None else tuple(judged(gate, Verdict.PASS) for gate in stage.gates),
        sample_ratio=sample_ratio((2_510, 2_490), (1, 1), alpha=definition.analysis.sample_ratio_p),
        crossover_percent=0.0,
        primary=Effect(4.1, Interval(0.9, 7.3), 0.004, 0.05, 0.0, Alternative.TWO_SIDED),
        power_percent=93.0,
    )


def guarded(assessment: Assessment, *verdicts: Verdict) -> Assessment:
    """With these verdicts of the guardrails, in the definition's order."""
    changed = (judged(one.requirement, verdict) for one, verdict in zip(assessment.guardrails, verdicts, strict=True))
    return replace(assessment, guardrails=tuple(changed))


def look(day: int, estimate: float, standard_error: float = 0.684, **changed: object) -> Look:
    """Of as many users as were planned by that day."""
    users = round(2_500 * day / 14)
    usual = Look(day, 86_400 * day, users, users, estimate, standard_error, users / 2_500, day >= 14)
    return replace(usual, **changed)  # type: ignore[arg-type]
