"""The rollback drill: kill, wait for every replica, resume, timed. Only where nobody is enrolled."""

from dataclasses import dataclass
from typing import Final

from ra_guard.client import CallFailed
from ra_guard.experiments.allocation import percent
from ra_guard.experiments.plane import LEDGER_LINES
from ra_guard.launch import ledger
from ra_guard.launch.checks.system import System
from ra_guard.launch.errors import DrillRefused
from ra_guard.launch.readiness import Found, failed, needs_a_person, passed
from ra_guard.v1 import experiment_pb2 as wire

WHY: Final = "rollback drill before the launch"
RAMP_NUMBER: Final = "ramp_percent"
"""In the ledger's numbers of a change: where the ramp stands after it."""


@dataclass(frozen=True)
class Drilling:
    """A drill that somebody has asked for."""

    who: str


def rollback_tested(system: System, drilling: Drilling | None) -> Found:
    """Runs the drill that was asked for; otherwise tells of the one that this epoch began with."""
    if drilling is not None:
        return drill(system, drilling)
    last = ledger.latest_drill(system.ledger)
    if last is None or last.epoch != system.experiment.epoch:
        return needs_a_person("run it with --drill, which kills and resumes at ramp 0 %")
    return _judged(system, last.kill_s, last.replicas, f"drilled by {last.who} on {last.at:%Y-%m-%d}: ")


def drill(system: System, drilling: Drilling) -> Found:
    """Kills and resumes, and leaves a line in the ledger. Raises DrillRefused, CallFailed."""
    require_nothing_to_lose(system)
    key, epoch = system.experiment.key, system.experiment.epoch
    killed = system.admin.kill(wire.KillRequest(key=key, who=drilling.who, why=WHY)).spread
    try:
        resumed = system.admin.resume(wire.ResumeRequest(key=key, who=drilling.who, why=WHY))
    except CallFailed as error:
        return failed(f"killed, and not resumed ({error}); run ra-guard experiment resume {key} by hand")
    system.admin.note(
        key,
        what=ledger.DRILLED,
        who=drilling.who,
        why=WHY,
        numbers={
            ledger.EPOCH_BEFORE: float(epoch),
            ledger.EPOCH: float(resumed.experiment.epoch),
            ledger.KILL_S: killed.seconds,
            ledger.RESUME_S: resumed.spread.seconds,
            ledger.REPLICAS: float(len(killed.acked)),
        },
    )
    if killed.waiting:
        return failed(
            f"found {', '.join(killed.waiting)} without the kill after {killed.seconds:.1f} s; see their logs"
        )
    return _judged(system, killed.seconds, len(killed.acked), "")


def require_nothing_to_lose(system: System) -> None:
    """Refuses a drill that would stop an experiment or take back an approval. Raises DrillRefused."""
    experiment = system.experiment
    plan = experiment.plan
    trouble = ""
    if plan.killed:
        trouble = "an experiment that is killed"
    elif plan.ramp_bp:
        trouble = f"an experiment at ramp {percent(plan.ramp_bp)}"
    elif experiment.approved_bp:
        trouble = f"stage {percent(experiment.approved_bp[0])} approved, which a resume takes back"
    elif _may_have_enrolled(system):
        trouble = f"an epoch {experiment.epoch} that has enrolled users, or whose beginning the ledger's answer lacks"
    if trouble:
        raise DrillRefused(
            found=trouble,
            wanted="a live experiment at ramp 0 %, with nobody enrolled and nothing approved",
            cure="drill before the first approval",
        )


def _may_have_enrolled(system: System) -> bool:
    epoch = float(system.experiment.epoch)
    of_this_epoch = [entry for entry in system.ledger if entry.numbers.get(ledger.EPOCH) == epoch]
    is_cut = len(system.ledger) >= LEDGER_LINES and all(
        entry.numbers.get(ledger.EPOCH, epoch) == epoch for entry in system.ledger
    )
    return is_cut or any(entry.numbers.get(RAMP_NUMBER, 0.0) > 0 for entry in of_this_epoch)


def _judged(system: System, kill_s: float, replicas: int, told: str) -> Found:
    within_s = system.definition.rollback.within_s
    if not replicas:
        return failed(f"{told}found no replica that a kill could reach, wanted at least one; start ra-guard serve")
    reached = f"{told}a kill reached {replicas} replicas in {kill_s:.3f} s"
    if kill_s > within_s:
        return failed(f"{reached}, wanted at most {within_s} s; see which replica was late")
    return passed(f"{reached}, {within_s} s are allowed; resumed at ramp 0 %")
