"""`ra-guard experiment`: define an experiment, ramp it, stop it, and see where it stands.

Commands speak to the control plane. With ``--offline`` they act on its store instead, for the hour when a killswitch
must turn and no control plane answers.
"""

import json as encoding
import os
import pwd
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Protocol

import cyclopts
from cyclopts import Parameter

from ra_guard import _core
from ra_guard.cli.experiment_status import plain, print_changes, print_status, state_words, word
from ra_guard.cli.terminal import result_console
from ra_guard.client import ExperimentClient
from ra_guard.config import Settings, address_of, load
from ra_guard.errors import Code, RaGuardError
from ra_guard.experiments import definition
from ra_guard.experiments.allocation import BUCKETS, CONTROL_ORIGIN, MAX_RAMP_BP, arm_of, hash_seed
from ra_guard.experiments.definition.read import TEMPLATE_KEY
from ra_guard.experiments.errors import RampOutOfRange
from ra_guard.experiments.model import require_key
from ra_guard.rpc.experiment_admin import ExperimentAdmin, require_unit
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import rerank_pb2

app = cyclopts.App(name="experiment", help="Define an experiment, ramp it, stop it, see where it stands.")
app.command("ra_guard.cli.experiment_launch:package", name="package", help="Write the deployment package.")
app.command("ra_guard.cli.experiment_readiness:readiness", name="readiness", help="Run the checklist: GO or NO-GO.")
app.command("ra_guard.cli.experiment_launch:sign", name="sign", help="Vouch for a line of the checklist.")
app.command("ra_guard.cli.experiment_analysis:decide", name="decide", help="Say what follows from the evidence so far.")
app.command("ra_guard.cli.experiment_analysis:report", name="report", help="Write a report of the epoch so far.")
app.command("ra_guard.cli.experiment_analysis:acknowledge", name="acknowledge", help="Take up an alert.")

Flag = Annotated[bool, Parameter(negative=())]


class NotAcknowledged(RaGuardError):
    """A change that is stored and published, and that some live replica did not take up in time."""

    status_code = Code.DEADLINE_EXCEEDED


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Target:
    """Through what an experiment is reached."""

    control: Annotated[
        str | None, Parameter(help="Addresses of the control plane; by default those of the configuration.")
    ] = None
    offline: Annotated[bool, Parameter(negative=(), help="Act on the store itself; no control plane may live.")] = False
    json: Annotated[bool, Parameter(negative=(), help="Print JSON.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who asks for a change and why: kept in the ledger."""

    why: str
    who: Annotated[str | None, Parameter(help="By default the user of the operating system.")] = None

    @property
    def name(self) -> str:
        """The name that the ledger keeps."""
        return _user() if self.who is None else self.who


class Admin(Protocol):
    """The control path, over the wire or on a store: `ExperimentClient` or `ExperimentAdmin`."""

    def preview(self, request: wire.PreviewRequest) -> wire.PreviewResponse: ...
    def apply(self, request: wire.ApplyRequest) -> wire.ApplyResponse: ...
    def get(self, request: wire.GetRequest) -> wire.GetResponse: ...
    def list(self, request: wire.ListRequest) -> wire.ListResponse: ...
    def ramp(self, request: wire.RampRequest) -> wire.RampResponse: ...
    def approve(self, request: wire.ApproveRequest) -> wire.ApproveResponse: ...
    def kill(self, request: wire.KillRequest) -> wire.KillResponse: ...
    def resume(self, request: wire.ResumeRequest) -> wire.ResumeResponse: ...
    def roll_back(self, request: wire.RollBackRequest) -> wire.RollBackResponse: ...
    def assign(self, request: wire.AssignRequest) -> wire.AssignResponse: ...


class Outcome(Protocol):
    """What every change is answered with."""

    @property
    def experiment(self) -> wire.Experiment: ...
    @property
    def spread(self) -> wire.Spread: ...


@app.command
def template(*, key: str = TEMPLATE_KEY) -> None:
    """Print the definition that a new store starts with, under any key: copy it, change it, apply it."""
    print(definition.template(key), end="")


@app.command
def apply(
    file: Path,
    *,
    why: Annotated[str, Parameter(help="Kept in the ledger; required unless --dry-run.")] = "",
    who: Annotated[str | None, Parameter(help="By default the user of the operating system.")] = None,
    dry_run: Annotated[Flag, Parameter(help="Only show what would change.")] = False,
    target: Target = Target(),
) -> None:
    """Check a definition in TOML, show what it changes, and store it as a new revision."""
    text = file.read_text(encoding="utf-8")
    with _admin(target) as admin:
        seen = admin.preview(wire.PreviewRequest(definition=text))
        if not target.json:
            print_changes(seen)
        if dry_run or (seen.revision and not seen.differences):
            if target.json:
                _print_json({"key": seen.key, "revision": seen.revision, "differences": list(seen.differences)})
            return
        signature = Signature(why=why, who=who)
        outcome = admin.apply(
            wire.ApplyRequest(definition=text, who=signature.name, why=signature.why, expected_revision=seen.revision)
        )
    _conclude(outcome, target, differences=list(seen.differences))


@app.command(name="list")
def list_(*, target: Target = Target()) -> None:
    """List the experiments, a line each."""
    with _admin(target) as admin:
        experiments = admin.list(wire.ListRequest()).experiments
    if target.json:
        _print_json({"experiments": [plain(experiment) for experiment in experiments]})
        return
    for experiment in experiments:
        print(f"{experiment.key}: {state_words(experiment)}, revision {experiment.plan.revision}")


@app.command
def status(key: str, *, target: Target = Target()) -> None:
    """Show the plan in force, the stages, the latest changes and every replica."""
    with _admin(target) as admin:
        experiment = admin.get(wire.GetRequest(key=key)).experiment
    if target.json:
        _print_json(plain(experiment))
    else:
        print_status(result_console(), experiment)


@app.command
def ramp(
    key: str,
    share: str,
    *,
    signature: Signature,
    skip_stages: Annotated[Flag, Parameter(help="Pass over the stages in between.")] = False,
    target: Target = Target(),
) -> None:
    """Set the share of users in each arm to a stage: `ramp KEY 5% --why "..."`. Moves no user between arms."""
    pace = wire.PACE_SKIPPING_STAGES if skip_stages else wire.PACE_UNSPECIFIED
    who, why, ramp_bp = signature.name, signature.why, parse_ramp(share)
    _change(target, lambda admin: admin.ramp(wire.RampRequest(key=key, ramp_bp=ramp_bp, who=who, why=why, pace=pace)))


@app.command
def approve(key: str, share: str, *, signature: Signature, target: Target = Target()) -> None:
    """Allow the ramp to reach a stage that asks for approval: `approve KEY 1% --why "go decision of ..."`."""
    who, why, ramp_bp = signature.name, signature.why, parse_ramp(share)
    _change(target, lambda admin: admin.approve(wire.ApproveRequest(key=key, ramp_bp=ramp_bp, who=who, why=why)))


@app.command
def kill(key: str, *, signature: Signature, target: Target = Target()) -> None:
    """Serve the baseline to everyone. Returns when every live replica has acknowledged or lost its lease."""
    who, why = signature.name, signature.why
    _change(target, lambda admin: admin.kill(wire.KillRequest(key=key, who=who, why=why)))


@app.command
def rollback(key: str, *, signature: Signature, target: Target = Target()) -> None:
    """A kill that also closes the epoch and returns the ramp to 0 %: only a resume leads on."""
    who, why = signature.name, signature.why
    _change(target, lambda admin: admin.roll_back(wire.RollBackRequest(key=key, who=who, why=why)))


@app.command
def resume(key: str, *, signature: Signature, target: Target = Target()) -> None:
    """End a kill or a rollback: a new epoch with a new salt, at ramp 0 %. Users are drawn anew once it is ramped."""
    who, why = signature.name, signature.why
    _change(target, lambda admin: admin.resume(wire.ResumeRequest(key=key, who=who, why=why)))


@app.command
def check() -> None:
    """Read the whole store and compare it with itself: revisions, digests, ledger. Changes nothing."""
    from ra_guard.experiments.control_store import ControlStore

    store = ControlStore.open(load().store_url)
    try:
        store.verify()
        keys = store.keys()
    finally:
        store.close()
    print(f"{len(keys)} experiments, every revision and ledger line as it was written: {', '.join(keys) or 'none'}")


@app.command
def assign(
    key: str,
    *,
    unit: str,
    salt: Annotated[str | None, Parameter(help="Compute here with this salt ('' for none), asking nobody.")] = None,
    ramp: Annotated[str | None, Parameter(help="With --salt: show the arms at this ramp, in percent.")] = None,
    target: Target = Target(),
) -> None:
    """Explain where one unit stands: its bucket, its arm, and what it is served."""
    require_unit(unit)
    if salt is not None:
        answer = offline_assignment(key, salt, unit, None if ramp is None else parse_ramp(ramp))
    elif ramp is not None:
        raise RampOutOfRange(found="--ramp without --salt", wanted="both", cure="the experiment knows its own ramp")
    else:
        answer = _online_assignment(target, key, unit)
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


def _online_assignment(target: Target, key: str, unit: str) -> dict[str, object]:
    with _admin(target) as admin:
        found = admin.assign(wire.AssignRequest(key=key, unit=unit))
    return {
        "key": key,
        "unit": unit,
        "bucket": found.bucket / BUCKETS,
        "arm": word(rerank_pb2.Arm.Name(found.arm), "ARM_"),
        "served_arm": word(rerank_pb2.Arm.Name(found.served_arm), "ARM_"),
        "reason": word(rerank_pb2.Reason.Name(found.reason), "REASON_") if found.reason else None,
    }


def _change(target: Target, change: Callable[[Admin], Outcome]) -> None:
    with _admin(target) as admin:
        outcome = change(admin)
    _conclude(outcome, target)


def _conclude(outcome: Outcome, target: Target, **more: object) -> None:
    """Says what is in force now and how it reached the replicas. Raises NotAcknowledged."""
    experiment, spread = outcome.experiment, outcome.spread
    if target.json:
        _print_json({**plain(experiment, spread), "acknowledged_s": round(spread.seconds, 4), **more})
    else:
        expired = f", {len(spread.expired)} lost the lease" if spread.expired else ""
        print(
            f"{experiment.key}: {state_words(experiment)}, revision {experiment.plan.revision}, "
            f"{len(spread.acked)} replicas acknowledged{expired}, {spread.seconds:.3f} s"
        )
    if spread.waiting:
        raise NotAcknowledged(
            f"found {', '.join(spread.waiting)} below revision {experiment.plan.revision} after "
            f"{spread.seconds:.0f} s, wanted every live replica on it; the change is stored and published: look at "
            "those replicas' logs"
        )


@contextmanager
def _admin(target: Target) -> Iterator[Admin]:
    settings = load()
    if target.offline:
        from ra_guard.experiments.offline import offline_plane

        holder = f"{socket.gethostname()[:100]}-{os.getpid()}"
        with offline_plane(settings.store_url, holder=holder, writer_lease_s=settings.control.writer_lease_s) as plane:
            yield ExperimentAdmin(plane)
        return
    with ExperimentClient(target.control or control_addresses(settings), token=settings.control.token) as client:
        yield client


def control_addresses(settings: Settings) -> str:
    """Those of the configuration: the named ones, or the control plane that ``serve`` starts."""
    return settings.control.address or address_of(settings.control.host, settings.control.port)


def _print_json(value: object) -> None:
    print(encoding.dumps(value, ensure_ascii=False))


def _user() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
