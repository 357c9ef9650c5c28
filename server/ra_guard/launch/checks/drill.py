"""The rollback drill: kill, wait for every replica, resume, timed. Only where nobody is enrolled."""

from typing import Final

from ra_guard.client import CallFailed
from ra_guard.experiments.allocation import percent
from ra_guard.launch import ledger
from ra_guard.launch.checks.system import System
from ra_guard.launch.errors import DrillRefused, NotResumed
from ra_guard.launch.readiness import Found, counted, failed, needs_a_person, passed
from ra_guard.v1 import experiment_pb2 as wire

WHY: Final = "rollback drill before the launch"


def rollback_tested(system: System) -> Found:
    """The drill with which this epoch began reached every replica in time."""
    last = ledger.latest_drill(system.ledger)
    if last is None or last.epoch != system.experiment.epoch:
        return needs_a_person("measure it with --drill")
    within_s = system.definition.rollback.within_s
    told = f"drilled by {last.who} on {last.at:%Y-%m-%d}: "
    if last.waiting or not last.replicas:
        return failed(
            f"{told}found {counted(last.replicas, 'replica')} that took the kill up and {last.waiting} that did not, "
            "wanted all of one or more; see their logs, then drill again"
        )
    reached = f"{told}a kill reached {counted(last.replicas, 'replica')} in {last.kill_s:.3f} s"
    if last.kill_s > within_s:
        return failed(f"{reached}, wanted at most {within_s} s; see which replica was late, then drill again")
    return passed(f"{reached}, where {within_s} s are allowed")


def drill(system: System, who: str) -> None:
    """Kills and resumes, and leaves a line in the ledger. Raises DrillRefused, NotResumed, CallFailed."""
    require_nobody_enrolled(system)
    key, epoch = system.experiment.key, system.experiment.epoch
    killed = system.admin.kill(wire.KillRequest(key=key, who=who, why=WHY)).spread
    try:
        resumed = system.admin.resume(wire.ResumeRequest(key=key, who=who, why=WHY))
    except CallFailed as error:
        raise NotResumed(
            found=f"{key} killed by the drill and not resumed ({error})",
            wanted="a new epoch",
            cure=f"ra-guard experiment resume {key}",
        ) from error
    system.admin.note(
        key,
        what=ledger.DRILLED,
        who=who,
        why=WHY,
        numbers={
            ledger.EPOCH_BEFORE: float(epoch),
            ledger.EPOCH: float(resumed.experiment.epoch),
            ledger.KILL_S: killed.seconds,
            ledger.RESUME_S: resumed.spread.seconds,
            ledger.REPLICAS: float(len(killed.acked)),
            ledger.WAITING: float(len(killed.waiting)),
        },
    )


def require_nobody_enrolled(system: System) -> None:
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
    elif experiment.widest_bp:
        trouble = f"users enrolled in epoch {experiment.epoch}, up to ramp {percent(experiment.widest_bp)}"
    if trouble:
        raise DrillRefused(
            found=trouble,
            wanted="a live experiment at ramp 0 %, with nobody enrolled and nothing approved",
            cure="drill before the first approval",
        )
