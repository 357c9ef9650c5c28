"""How each trigger of a definition behaves: how often it ends healthy experiments, how soon it ends a faulty one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.definition.safety import Measured, Trigger
from ra_guard.simulation.errors import NoPurpose
from ra_guard.simulation.play import Script
from ra_guard.simulation.presets import FAULTS
from ra_guard.simulation.replicate import Replication, Share, replicate, summarise

FAULT_OF: Final = {
    Metric.ERROR_RATE: FAULTS["errors"],
    Metric.LATENCY_P95: FAULTS["latency"],
    Metric.NDCG_AT_10: FAULTS["ndcg"],
}
"""What a trigger on a metric is there to find."""


@dataclass(frozen=True)
class TriggerFound:
    """A trigger and what was measured of it."""

    trigger: Trigger
    measured: Measured


def measure_triggers(
    script: Script,
    healthy_seeds: Sequence[int],
    faulty_seeds: Sequence[int],
    jobs: int,
    command: str,
    tell: Callable[[str, int], None],
) -> tuple[tuple[Replication, ...], tuple[TriggerFound, ...]]:
    """Healthy replications of a script without its faults, and each of its triggers measured against them.

    ``tell`` hears what is played and how many of it are done. Raises NoPurpose for a trigger that no fault provokes.
    """
    triggers = script.definition.triggers
    if strange := [trigger.metric for trigger in triggers if trigger.metric not in FAULT_OF]:
        raise NoPurpose(
            found=f"a trigger on {strange[0]}",
            wanted=f"one on {', '.join(FAULT_OF)}, which a fault can provoke",
            cure="measure it in operation",
        )
    longest = max((FAULT_OF[trigger.metric] for trigger in triggers), key=lambda fault: fault.at_hour)
    if longest.at_hour >= script.scenario.hours:
        raise NoPurpose(
            found=f"{script.scenario.hours} hours", wanted=f"time for {longest}", cure="simulate seven days"
        )
    healthy = replace(script, scenario=script.scenario.model_copy(update={"faults": ()}))
    calm = replicate(healthy, healthy_seeds, jobs, partial(tell, "healthy"))
    found = []
    for trigger in triggers:
        fault = FAULT_OF[trigger.metric]
        faulty = replace(script, scenario=script.scenario.model_copy(update={"faults": (fault,)}))
        stirred = replicate(faulty, faulty_seeds, jobs, partial(tell, str(fault.kind)))
        found.append(TriggerFound(trigger, _measured(trigger, str(fault), calm, stirred, faulty, command)))
    return calm, tuple(found)


def _measured(
    trigger: Trigger,
    fault: str,
    calm: Sequence[Replication],
    stirred: Sequence[Replication],
    faulty: Script,
    command: str,
) -> Measured:
    cause = f"trigger {trigger.metric}"
    false = Share(sum(cause in each.causes for each in calm), len(calm))
    detected = Share(sum(cause in each.causes and each.detection_minutes is not None for each in stirred), len(stirred))
    minutes = summarise(faulty, stirred).detection.get(cause)
    return Measured(
        command=command,
        healthy_runs=len(calm),
        false_rollback_percent=false.percent or 0.0,
        false_rollback_percent_upper=100.0 if false.interval is None else round(false.interval.high, 4),
        fault=fault,
        faulty_runs=len(stirred),
        detected_percent=detected.percent or 0.0,
        detection_minutes_median=None if minutes is None or 2 * detected.events < len(stirred) else minutes.median,
    )


def as_toml(found: TriggerFound) -> str:
    """The table to paste below its trigger in the definition."""
    lines = [f"# {found.trigger.metric} {found.trigger.when} {found.trigger.bound:g} {found.trigger.scale}"]
    lines.append("[triggers.measured]")
    for name, value in found.measured.model_dump(exclude_none=True).items():
        # JSON's numbers and strings are TOML's.
        lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines)
