"""What is written about one simulated experiment: a document for programs, whose keys stay, and notes for people.

Nothing in it depends on the clock or the machine: the same scenario, definition, seed and versions give the same bytes.
"""

import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Final

from ra_guard.evidence.tally import Quantity
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.words import in_words
from ra_guard.experiments.monitor import looks as planned
from ra_guard.experiments.monitor.outcomes import Look, Watched
from ra_guard.reports.content import ArmHour, Hour
from ra_guard.simulation.notes import AlertCount
from ra_guard.simulation.people import Allocation
from ra_guard.simulation.play import LAUNCH, Run, at_minute
from ra_guard.simulation.presets import PLANNED_USERS
from ra_guard.simulation.replicate import detection_minutes
from ra_guard.simulation.scenario import MOST_SPREAD_POINTS
from ra_guard.stats.outcome import Effect, Interval
from ra_guard.stats.srm import SampleRatio

FORMAT: Final = 1
PLANNED_INTERVAL: Final = (2.85, 5.53)
"""Points; of the plan's own simulation, around +4.23."""
_Z_95: Final = 1.959964
_ALLOCATIONS: Final = {
    Allocation.HASH: "the hash that replicas assign with, of the experiment's key and a name for each visitor",
    Allocation.DRAWN: "a bucket drawn for each visitor, each of 10,000 with the same chance",
}


@dataclass(frozen=True)
class Seen:
    """A planned look against its boundary."""

    look: Look
    z: float
    boundary_z: float
    interval: Interval
    """The repeated one, in points."""


def looks_of(definition: Definition, looks: Sequence[Look]) -> tuple[Seen, ...]:
    """Each look with what it met, in order."""
    counted = planned.in_order(looks)
    bounds = planned.boundaries(definition, counted)
    return tuple(
        Seen(
            look,
            look.estimate / look.standard_error,
            bounds.z[number],
            bounds.repeated_interval(number, look.estimate, look.standard_error),
        )
        for number, look in enumerate(counted)
    )


def document(run: Run, hours: Sequence[Hour]) -> dict[str, object]:
    """All that a run came to, as JSON values."""
    script, definition = run.script, run.script.definition
    exposure = run.evidence.exposure
    return {
        "format": FORMAT,
        "scenario": script.scenario.model_dump(mode="json"),
        "definition": {
            "key": definition.key,
            "stages": [{"percent": each.percent, "hold_hours": each.hold_hours} for each in definition.stages],
            "sample": definition.sample.model_dump(mode="json"),
            "analysis": definition.analysis.model_dump(mode="json"),
        },
        "seed": run.seed,
        "tick_minutes": script.tick_minutes,
        "versions": versions(),
        "units": {
            "points": "nDCG@10 times 100, mean over the requests of a user, mean over users; treatment less control",
            "unit": str(definition.unit),
        },
        "allocation": {
            "rule": _ALLOCATIONS[script.allocation],
            "arms": "at a ramp of r, treatment holds a share r of visitors, control as many, the rest is not enrolled",
            "control_users": exposure.control_users,
            "treatment_users": exposure.treatment_users,
        },
        "hours": [_hour(each) for each in hours],
        "looks": [_look(seen) for seen in looks_of(definition, run.looks)],
        "triggers": [_trigger(run, watched) for watched in run.assessment.tick.triggers],
        "alerts": [_alert(count) for count in run.alerts],
        "rollback": None
        if run.ending is None
        else {
            "minute": run.ending.minute,
            "at": at_minute(run.ending.minute).isoformat(),
            "causes": list(run.ending.causes),
            "why": run.ending.why,
            "detection_minutes": detection_minutes(run),
        },
        "ledger": [
            {
                "at": entry.at.isoformat(),
                "revision": entry.revision,
                "who": entry.who,
                "what": entry.what,
                "why": entry.why,
                "numbers": dict(entry.numbers),
            }
            for entry in run.ledger
        ],
        "decision": _decision(run),
        "reproduction": list(reproduction(run)),
    }


def versions() -> dict[str, str]:
    """What a seed's numbers depend on."""
    return {name: version(name) for name in ("ra-guard", "numpy", "scipy")} | {"python": platform.python_version()}


def reproduction(run: Run) -> tuple[str, ...]:
    """How the run stands to the plan that it plays, and what of the plan cannot be had, in sentences."""
    definition, ndcg = run.script.definition, run.script.scenario.ndcg
    stages = ", ".join(f"{stage.percent:g}" for stage in definition.stages)
    days = ", ".join(map(str, planned.planned_days(definition)))
    notes = [
        "Points are nDCG@10 times 100: values of users lie between 0 and 100.",
        f"Each arm holds {stages} % of visitors, treatment as many as control; the unit is the {definition.unit}.",
        f"The definition plans {definition.sample.users:,} users in both arms and looks on day {days}.",
    ]
    if definition.sample.users == PLANNED_USERS:
        notes.append(
            f"[sample] and [analysis] differ from the template's, whose plan is 5,000 users and looks on days 3, 7, 10 "
            f"and 14: this is the plan's simulation of a week with {PLANNED_USERS:,} users."
        )
        notes.append(_irreproducible(ndcg.between_user_sd_points))
        if run.script.rolls_back and not run.script.scenario.faults:
            notes.append(_told(run))
    if run.script.tick_minutes > 1:
        notes.append(
            f"Played in ticks of {run.script.tick_minutes} minutes: no trigger, guardrail or lack of evidence rolls "
            "back, and only statistics are to be read."
        )
    return tuple(notes)


def _irreproducible(sd: float) -> str:
    error = math.sqrt(4 / PLANNED_USERS)
    wanted = (PLANNED_INTERVAL[1] - PLANNED_INTERVAL[0]) / 2
    return (
        f"What cannot be reproduced: with {PLANNED_USERS:,} users in two equal arms and {sd:g} points between users, a "
        f"95 % interval of one look is the estimate +-{_Z_95 * sd * error:.2f}. The plan's [{PLANNED_INTERVAL[0]}, "
        f"{PLANNED_INTERVAL[1]}] is +-{wanted:.2f}, which takes {wanted / _Z_95 / error:.0f} points between users; "
        f"nDCG times 100 cannot spread by more than {MOST_SPREAD_POINTS:g}. An estimate of about +4.23 can be had."
    )


def _told(run: Run) -> str:
    """Beside the plan's "Safety Record: Only 1 minor alert over 7 days"."""
    told = [f"{in_words(count.alert)} ({count.told})" for count in run.alerts if count.told]
    said = f"{sum(count.told for count in run.alerts)}: {', '.join(told)}" if told else "none"
    return f"The plan's week had only 1 minor alert; in this one people were told of {said}."


def _hour(hour: Hour) -> dict[str, object]:
    primary = hour.primary if isinstance(hour.primary, Effect) else None
    return {
        "hour": round((hour.at_unix_s - LAUNCH.timestamp()) / 3_600),
        "ramp_percent": hour.ramp_bp / 100,
        "control_users": hour.control_users,
        "treatment_users": hour.treatment_users,
        "estimate_points": None if primary is None else primary.estimate,
        "anytime_low_points": None if primary is None else primary.interval.low,
        "anytime_high_points": None if primary is None else primary.interval.high,
        "anytime_p": None if primary is None else primary.p_value,
        "control": _arm(hour.control),
        "treatment": _arm(hour.treatment),
        "sample_ratio_p": hour.sample_ratio_p,
        "power_percent": hour.power_percent,
    }


def _arm(arm: ArmHour) -> dict[str, object]:
    return asdict(arm) | {"error_percent": 100 * arm.errors / arm.calls if arm.calls else None}


def _look(seen: Seen) -> dict[str, object]:
    look = seen.look
    return asdict(look) | {
        "z": seen.z,
        "boundary_z": seen.boundary_z,
        "repeated_low_points": seen.interval.low,
        "repeated_high_points": seen.interval.high,
        "fixed_low_points": look.estimate - _Z_95 * look.standard_error,
        "fixed_high_points": look.estimate + _Z_95 * look.standard_error,
    }


def _trigger(run: Run, watched: Watched) -> dict[str, object]:
    alarm, reading = watched.alarm, watched.reading
    return {
        "metric": str(alarm.metric),
        "when": str(alarm.when),
        "bound": alarm.bound,
        "scale": str(alarm.scale),
        "fired": run.ending is not None and f"trigger {alarm.metric}" in run.ending.causes,
        "value": reading.value,
        "lack": reading.lack or None,
    }


def _alert(count: AlertCount) -> dict[str, object]:
    alert = count.alert
    return {
        "severity": str(alert.severity),
        "metric": str(alert.metric),
        "when": str(alert.when),
        "bound": alert.bound,
        "scale": str(alert.scale),
        "over_minutes": alert.over_minutes,
        "for_minutes": alert.for_minutes,
        "fired": count.fired,
        "told": count.told,
        "first_minute": count.first_minute,
    }


def _decision(run: Run) -> dict[str, object]:
    decided = run.decision
    ratio = run.assessment.sample_ratio
    return {
        "outcome": str(decided.outcome),
        "why": decided.why,
        "interval_points": None if decided.interval is None else [decided.interval.low, decided.interval.high],
        "boundary_z": decided.boundary_z,
        "sample_ratio_p": ratio.p_value if isinstance(ratio, SampleRatio) else None,
        "crossover_percent": run.assessment.crossover_percent,
        "judged_users": {
            "control": run.evidence.epoch.control.means[Quantity.NDCG].n,
            "treatment": run.evidence.epoch.treatment.means[Quantity.NDCG].n,
        }
        if run.looks
        else None,
        "findings": [
            {"finding": str(found.finding), "holds": found.holds, "why": found.why} for found in decided.findings
        ],
    }
