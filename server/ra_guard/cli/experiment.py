"""`ra-guard experiment`: where the experiment stands, and the few changes that a person makes.

Commands speak to a running server. With ``--state-dir`` they act on its files instead, for the hour when a
killswitch must turn and no server answers; running workers see the change all the same.
"""

import json as encoding
import os
import pwd
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Protocol

import cyclopts
from cyclopts import Parameter
from rich.table import Table

from ra_guard import _core
from ra_guard.cli.terminal import result_console
from ra_guard.client import ExperimentClient
from ra_guard.errors import Code, RaGuardError
from ra_guard.experiments.allocation import BUCKETS, CONTROL_ORIGIN, MAX_RAMP_BP, arm_of, hash_seed, percent
from ra_guard.experiments.errors import BadKey, RampOutOfRange, UnknownExperiment
from ra_guard.experiments.model import require_key
from ra_guard.experiments.publish import ControlFolder
from ra_guard.experiments.spread import Replica, Rollout, rollout
from ra_guard.rpc.experiment_admin import ExperimentAdmin, require_unit
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import plan_pb2, rerank_pb2

app = cyclopts.App(name="experiment", help="Watch and change the experiment.")

ACK_POLL_S = 0.05
ACK_GRACE_S = 5.0
"""Beyond the lease, after which every replica has either acked or stopped treating by itself."""
SHOWN_CHANGES = 5


class NotAcknowledged(RaGuardError):
    """A change that is published, and that some live replica did not take up in time."""

    status_code = Code.DEADLINE_EXCEEDED


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Target:
    """Which experiment, and through what."""

    key: Annotated[str | None, Parameter(help="Of the experiment; may be left out while there is only one.")] = None
    server: Annotated[str, Parameter(help="Address of a running server.")] = "127.0.0.1:50051"
    state_dir: Annotated[Path | None, Parameter(help="Act on this state folder's files instead.")] = None
    json: Annotated[bool, Parameter(negative=(), help="Print JSON.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who asks for a change and why: kept with the revision."""

    why: str
    who: Annotated[str | None, Parameter(help="By default the user of the operating system.")] = None

    @property
    def name(self) -> str:
        """The name that the history keeps."""
        return _user() if self.who is None else self.who


class Admin(Protocol):
    """The control path, over the wire or on files: `ExperimentClient` or `ExperimentAdmin`."""

    def get(self, request: wire.GetRequest) -> wire.GetResponse: ...
    def list(self, request: wire.ListRequest) -> wire.ListResponse: ...
    def ramp(self, request: wire.RampRequest) -> wire.RampResponse: ...
    def kill(self, request: wire.KillRequest) -> wire.KillResponse: ...
    def resume(self, request: wire.ResumeRequest) -> wire.ResumeResponse: ...
    def assign(self, request: wire.AssignRequest) -> wire.AssignResponse: ...


@app.command
def status(*, target: Target = Target()) -> None:
    """Show the plan in force, the latest changes and every replica."""
    with _admin(target) as admin:
        experiment = admin.get(wire.GetRequest(key=_key(admin, target))).experiment
    if target.json:
        _print_json(_plain(experiment))
    else:
        _print_status(experiment)


@app.command
def ramp(share: str, *, signature: Signature, target: Target = Target()) -> None:
    """Set the share of users in each arm, in percent: `ramp 5% --why "..."`. Moves no user between arms."""
    ramp_bp = parse_ramp(share)
    who, why = signature.name, signature.why
    _change(
        target, lambda admin, key: admin.ramp(wire.RampRequest(key=key, ramp_bp=ramp_bp, who=who, why=why)).experiment
    )


@app.command
def kill(*, signature: Signature, target: Target = Target()) -> None:
    """Serve the baseline to everyone. Returns when every live replica has acknowledged or lost its lease."""
    who, why = signature.name, signature.why
    _change(target, lambda admin, key: admin.kill(wire.KillRequest(key=key, who=who, why=why)).experiment)


@app.command
def resume(*, signature: Signature, target: Target = Target()) -> None:
    """End a kill: a new epoch with a new salt, at ramp 0 %. Users are drawn anew once it is ramped."""
    who, why = signature.name, signature.why
    _change(target, lambda admin, key: admin.resume(wire.ResumeRequest(key=key, who=who, why=why)).experiment)


@app.command
def assign(
    *,
    unit: str,
    salt: Annotated[str | None, Parameter(help="Compute here with this salt ('' for none), asking no server.")] = None,
    ramp: Annotated[str | None, Parameter(help="With --salt: show the arms at this ramp, in percent.")] = None,
    target: Target = Target(),
) -> None:
    """Explain where one unit stands: its bucket, its arm, and what it is served."""
    require_unit(unit)
    if salt is not None:
        if target.key is None:
            raise BadKey(found="--salt without --key", wanted="both", cure="name the key that seeds the hash")
        answer = offline_assignment(target.key, salt, unit, None if ramp is None else parse_ramp(ramp))
    elif ramp is not None:
        raise RampOutOfRange(found="--ramp without --salt", wanted="both", cure="the server knows its own ramp")
    else:
        answer = _online_assignment(target, unit)
    if target.json:
        _print_json(answer)
    else:
        print(" ".join(f"{name}={value}" for name, value in answer.items()))


def offline_assignment(key: str, salt: str, unit: str, ramp_bp: int | None) -> dict[str, object]:
    """The bucket of a unit as a share of 1, and at a ramp its arm and both arms' ranges."""
    require_key(key)
    bucket = _core.bucket(hash_seed(key, salt), unit)
    answer: dict[str, object] = {"key": key, "salt": salt, "unit": unit, "bucket": bucket / BUCKETS}
    if ramp_bp is not None:
        answer["arm"] = arm_of(bucket, ramp_bp).value
        answer["treatment"] = [0.0, ramp_bp / BUCKETS]
        answer["control"] = [CONTROL_ORIGIN / BUCKETS, (CONTROL_ORIGIN + ramp_bp) / BUCKETS]
    return answer


def parse_ramp(share: str) -> int:
    """Hundredths of a percent from ``5``, ``5%`` or ``0.25 %``. Raises RampOutOfRange."""
    try:
        basis_points = Decimal(share.strip().removesuffix("%").strip()) * 100
    except ArithmeticError:
        basis_points = Decimal("NaN")
    # In this order: a NaN does not compare, and a huge number takes long to become an int.
    in_range = basis_points.is_finite() and 0 <= basis_points <= MAX_RAMP_BP
    if not in_range or basis_points != int(basis_points):
        raise RampOutOfRange(found=f"ramp {share!r}", wanted="0..50 % in steps of 0.01", cure="give it in percent")
    return int(basis_points)


def _key(admin: Admin, target: Target) -> str:
    if target.key is not None:
        return target.key
    stored = [experiment.key for experiment in admin.list(wire.ListRequest()).experiments]
    if len(stored) != 1:
        raise UnknownExperiment(
            found=f"no --key and {len(stored)} experiments",
            wanted=f"--key with one of {', '.join(stored)}" if stored else "one experiment",
            cure="name it" if stored else "start the server once to store the default",
        )
    return stored[0]


def _online_assignment(target: Target, unit: str) -> dict[str, object]:
    with _admin(target) as admin:
        key = _key(admin, target)
        found = admin.assign(wire.AssignRequest(key=key, unit=unit))
    return {
        "key": key,
        "unit": unit,
        "bucket": found.bucket / BUCKETS,
        "arm": _word(rerank_pb2.Arm.Name(found.arm), "ARM_"),
        "served_arm": _word(rerank_pb2.Arm.Name(found.served_arm), "ARM_"),
        "reason": _word(rerank_pb2.Reason.Name(found.reason), "REASON_") if found.reason else None,
    }


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


@contextmanager
def _admin(target: Target) -> Iterator[Admin]:
    if target.state_dir is not None:
        yield ExperimentAdmin(ControlFolder(target.state_dir / "control"))
        return
    with ExperimentClient(target.server) as client:
        yield client


def _change(target: Target, change: Callable[[Admin, str], wire.Experiment]) -> None:
    started = time.monotonic()
    with _admin(target) as admin:
        experiment = change(admin, _key(admin, target))
        spread = wait_until_acknowledged(admin, experiment)
    seconds = time.monotonic() - started
    if target.json:
        _print_json({**_plain(experiment, spread), "acknowledged_s": round(seconds, 3)})
        return
    plan = experiment.plan
    expired = f", {len(spread.expired)} lost the lease" if spread.expired else ""
    print(
        f"{experiment.key}: {_state(plan)}, revision {plan.revision}, "
        f"{len(spread.acked)} replicas acknowledged{expired}, {seconds:.2f} s"
    )


def _state(plan: plan_pb2.Plan) -> str:
    return f"{'killed' if plan.killed else 'live'}, ramp {percent(plan.ramp_bp)}"


def wait_until_acknowledged(admin: Admin, experiment: wire.Experiment) -> Rollout:
    """Polls until every live replica holds the experiment's revision or its lease ran out. Raises NotAcknowledged."""
    plan = experiment.plan
    deadline = time.monotonic() + plan.lease_s + ACK_GRACE_S
    while True:
        spread = rollout(_replicas(experiment), plan.revision, plan.lease_s)
        if spread.done:
            return spread
        if time.monotonic() >= deadline:
            raise NotAcknowledged(
                f"found {', '.join(spread.waiting)} below revision {plan.revision} after {plan.lease_s} s, wanted "
                "every live replica on it; the change is published: look at those replicas' logs"
            )
        time.sleep(ACK_POLL_S)
        experiment = admin.get(wire.GetRequest(key=experiment.key)).experiment


def _replicas(experiment: wire.Experiment) -> list[Replica]:
    return [Replica(seen.replica, seen.revision, seen.age_s) for seen in experiment.replicas]


def _plain(experiment: wire.Experiment, spread: Rollout | None = None) -> dict[str, object]:
    plan = experiment.plan
    spread = spread or rollout(_replicas(experiment), plan.revision, plan.lease_s)
    return {
        "key": experiment.key,
        "revision": plan.revision,
        "epoch": experiment.epoch,
        "salt": plan.salt,
        "ramp_percent": plan.ramp_bp / 100,
        "killed": plan.killed,
        "lease_s": plan.lease_s,
        "replicas": [
            {"replica": seen.replica, "revision": seen.revision, "age_s": round(seen.age_s, 3)}
            for seen in experiment.replicas
        ],
        "acked": list(spread.acked),
        "waiting": list(spread.waiting),
        "expired": list(spread.expired),
        "history": [
            {
                "revision": change.revision,
                "at": change.at.ToJsonString(),
                "who": change.who,
                "why": change.why,
                "what": change.what,
            }
            for change in experiment.history
        ],
    }


def _print_status(experiment: wire.Experiment) -> None:
    console = result_console()
    plan = experiment.plan
    console.print(
        f"{experiment.key}: {_state(plan)}, "
        f"revision {plan.revision}, epoch {experiment.epoch}, salt {plan.salt or 'none'}, lease {plan.lease_s} s"
    )
    spread = rollout(_replicas(experiment), plan.revision, plan.lease_s)
    replicas = Table("replica", "revision", "age", "state", box=None)
    for seen in experiment.replicas:
        state = "lease expired" if seen.replica in spread.expired else "behind"
        state = "in force" if seen.replica in spread.acked else state
        replicas.add_row(seen.replica, str(seen.revision), f"{seen.age_s:.1f} s", state)
    console.print(replicas if experiment.replicas else "no replica has reported")
    changes = Table("revision", "at", "who", "what", "why", box=None)
    for change in experiment.history[-SHOWN_CHANGES:]:
        at = change.at.ToDatetime().isoformat(sep=" ", timespec="seconds")
        changes.add_row(str(change.revision), at, change.who, change.what, change.why)
    console.print(changes)


def _print_json(value: object) -> None:
    print(encoding.dumps(value, ensure_ascii=False, allow_nan=False))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
