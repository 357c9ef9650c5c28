"""How an experiment is shown: as plain values for scripts, as text and tables for people."""

from rich.console import Console
from rich.table import Table

from ra_guard.experiments.allocation import percent
from ra_guard.experiments.definition import parse_definition
from ra_guard.experiments.plane import SPREAD_NUMBER
from ra_guard.v1 import experiment_pb2 as wire

SHOWN_CHANGES = 8


def word(name: str, prefix: str) -> str:
    """An enum value's name as people write it."""
    return name.removeprefix(prefix).lower()


def state_words(experiment: wire.Experiment) -> str:
    """``live, ramp 5 %``."""
    plan = experiment.plan
    state = "rolled back" if experiment.rolled_back else "killed" if plan.killed else "live"
    return f"{state}, ramp {percent(plan.ramp_bp)}"


def replica_state(experiment: wire.Experiment, replica: wire.Replica) -> str:
    """Where a replica stands: in force, behind, ahead, or without a lease."""
    if replica.age_s > experiment.plan.lease_s:
        return "lease expired"
    difference = replica.revision - experiment.plan.revision
    return "in force" if difference == 0 else "behind" if difference < 0 else "ahead"


def plain(experiment: wire.Experiment, spread: wire.Spread | None = None) -> dict[str, object]:
    """Everything about it as JSON values; who acknowledged a change, when there was one."""
    plan = experiment.plan
    values: dict[str, object] = {
        "key": experiment.key,
        "revision": plan.revision,
        "epoch": experiment.epoch,
        "salt": plan.salt,
        "ramp_percent": plan.ramp_bp / 100,
        "killed": plan.killed,
        "rolled_back": experiment.rolled_back,
        "approved_percent": [ramp_bp / 100 for ramp_bp in experiment.approved_bp],
        "lease_s": plan.lease_s,
        "flag": _flag(experiment),
        "writer": {"holder": experiment.writer.holder, "term": experiment.writer.term},
        "replicas": [
            {
                "replica": seen.replica,
                "revision": seen.revision,
                "age_s": round(seen.age_s, 3),
                "state": replica_state(experiment, seen),
            }
            for seen in experiment.replicas
        ],
        "history": [
            {
                "revision": change.revision,
                "at": change.at.ToJsonString(),
                "who": change.who,
                "why": change.why,
                "what": change.what,
                "numbers": dict(change.numbers),
            }
            for change in experiment.history
        ],
    }
    if spread is not None:
        values |= {
            "acked": list(spread.acked),
            "expired": list(spread.expired),
            "waiting": list(spread.waiting),
        }
    return values


def _flag(experiment: wire.Experiment) -> dict[str, str] | None:
    if not experiment.HasField("flag"):
        return None
    flag = experiment.flag
    state = word(wire.FlagState.Name(flag.state), "FLAG_STATE_")
    return {"provider": flag.provider, "state": state, "error": flag.error}


def print_changes(seen: wire.PreviewResponse) -> None:
    """What applying a definition would change."""
    if not seen.revision:
        print(f"{seen.key}: new experiment, {len(seen.differences)} fields")
    elif seen.differences:
        print(f"{seen.key}: changes to revision {seen.revision}")
        for difference in seen.differences:
            print(f"  {difference}")
    else:
        print(f"{seen.key}: nothing changes, revision {seen.revision} stays in force")


def print_status(console: Console, experiment: wire.Experiment) -> None:
    """For people: what is in force, where the ramp stands, who holds the plan, and what led there."""
    plan = experiment.plan
    console.print(
        f"{experiment.key}: {state_words(experiment)}, revision {plan.revision}, epoch {experiment.epoch}, "
        f"salt {plan.salt or 'none'}, lease {plan.lease_s} s"
    )
    flag = _flag(experiment)
    if flag is not None:
        console.print(f"flag {experiment.key}: {flag['state']} at {flag['provider']} {flag['error']}".rstrip())
    console.print(f"writer {experiment.writer.holder or 'none'}, term {experiment.writer.term}\n")
    console.print(_stages(experiment), "", _replicas(experiment), "", _changes(experiment), sep="\n")


def _stages(experiment: wire.Experiment) -> Table:
    table = Table("stage", "held for", "monitoring", "approval", "", box=None)
    for stage in parse_definition(experiment.definition).stages:
        held = "until the end" if stage.hold_hours is None else f"{stage.hold_hours:g} h"
        approved = "given" if stage.ramp_bp in experiment.approved_bp else stage.approval.value
        here = "<- here" if stage.ramp_bp == experiment.plan.ramp_bp else ""
        table.add_row(percent(stage.ramp_bp), held, stage.monitoring.value, approved, here)
    return table


def _replicas(experiment: wire.Experiment) -> Table | str:
    if not experiment.replicas:
        return "no replica has been heard of"
    table = Table("replica", "revision", "spoke", "state", box=None)
    for seen in experiment.replicas:
        spoke = f"{seen.age_s:.1f} s ago"
        table.add_row(seen.replica, str(seen.revision), spoke, replica_state(experiment, seen))
    return table


def _changes(experiment: wire.Experiment) -> Table:
    """The latest changes; how long each took to reach every replica is a line of the ledger, here a column."""
    table = Table("revision", "at", "who", "what", "why", "reached all", box=None)
    reached = {change.revision: change.numbers for change in experiment.history if SPREAD_NUMBER in change.numbers}
    changes = [change for change in experiment.history if SPREAD_NUMBER not in change.numbers]
    for change in changes[-SHOWN_CHANGES:]:
        at = change.at.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
        numbers = reached.get(change.revision)
        took = "" if numbers is None else f"{numbers[SPREAD_NUMBER]:.3f} s" if not numbers["waiting"] else "not all"
        table.add_row(str(change.revision), at, change.who, change.what, change.why, took)
    return table
