"""ExperimentAdmin as messages: one method for each unary RPC, from message to message and without gRPC.

So an operator's command can run the same code on a store when no control plane answers.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.protobuf import timestamp_pb2
from google.protobuf.message import Message

from ra_guard import _core
from ra_guard.experiments.allocation import Arm, arm_of, hash_seed
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import differences
from ra_guard.experiments.errors import BadUnit, UnknownPace
from ra_guard.experiments.flag import FlagReading
from ra_guard.experiments.model import Author, Experiment, Pace
from ra_guard.experiments.plane import ControlPlane
from ra_guard.experiments.publish import plan_of
from ra_guard.experiments.published import Changed, Spread
from ra_guard.rpc.auth import Principal
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import plan_pb2, rerank_pb2

MAX_UNIT_BYTES = 128
MOST_LEDGER_LINES = 10_000

_ARMS = {
    Arm.TREATMENT: rerank_pb2.ARM_TREATMENT,
    Arm.CONTROL: rerank_pb2.ARM_CONTROL,
    Arm.NOT_ENROLLED: rerank_pb2.ARM_NOT_ENROLLED,
}
_PACES: dict[int, Pace] = {
    wire.PACE_UNSPECIFIED: Pace.BY_STAGE,
    wire.PACE_SKIPPING_STAGES: Pace.SKIPPING_STAGES,
}
_METHODS = {
    "Preview": "preview",
    "Apply": "apply",
    "Get": "get",
    "List": "list",
    "Ramp": "ramp",
    "Approve": "approve",
    "Kill": "kill",
    "Resume": "resume",
    "RollBack": "roll_back",
    "Assign": "assign",
    "GetPlan": "get_plan",
    "GetLedger": "get_ledger",
    "Note": "note",
    "Attest": "attest",
}

_NOBODY = Principal(None)


class ExperimentAdmin:
    """Answers messages over a control plane. Methods raise what the plane raises; see `ra_guard.v1.ExperimentAdmin`."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def method(self, name: str) -> Callable[[Any, Principal], Message]:
        """The method that answers an RPC."""
        found: Callable[[Any, Principal], Message] = getattr(self, _METHODS[name])
        return found

    def preview(self, request: wire.PreviewRequest, _: Principal = _NOBODY) -> wire.PreviewResponse:
        """What applying a definition would change."""
        before, after = self._plane.preview(request.definition)
        return wire.PreviewResponse(
            key=after.key,
            revision=0 if before is None else before.revision,
            differences=differences(None if before is None else before.definition, after.definition),
        )

    def apply(self, request: wire.ApplyRequest, principal: Principal = _NOBODY) -> wire.ApplyResponse:
        """Stores a definition."""
        author = Author(principal.signs(request.who), request.why)
        experiment, spread = self._outcome(self._plane.apply(request.definition, author, request.expected_revision))
        return wire.ApplyResponse(experiment=experiment, spread=spread)

    def get(self, request: wire.GetRequest, _: Principal = _NOBODY) -> wire.GetResponse:
        """One experiment with its plan, latest changes and replicas."""
        return wire.GetResponse(experiment=self._experiment(self._plane.current(request.key)))

    def list(self, _: wire.ListRequest, __: Principal = _NOBODY) -> wire.ListResponse:
        """Every stored experiment, by key."""
        current = map(self._plane.current, self._plane.stored_keys())
        return wire.ListResponse(experiments=[self._experiment(experiment) for experiment in current])

    def ramp(self, request: wire.RampRequest, principal: Principal = _NOBODY) -> wire.RampResponse:
        """Sets the share of users in each arm."""
        author = Author(principal.signs(request.who), request.why, dict(request.numbers))
        pace, expected = _pace(request.pace), request.expected_revision or None
        changed = self._plane.ramp(request.key, request.ramp_bp, pace, author, expected)
        experiment, spread = self._outcome(changed)
        return wire.RampResponse(experiment=experiment, spread=spread)

    def approve(self, request: wire.ApproveRequest, principal: Principal = _NOBODY) -> wire.ApproveResponse:
        """Allows the ramp to reach a stage."""
        author, expected = Author(principal.signs(request.who), request.why), request.expected_revision or None
        experiment, spread = self._outcome(self._plane.approve(request.key, request.ramp_bp, author, expected))
        return wire.ApproveResponse(experiment=experiment, spread=spread)

    def kill(self, request: wire.KillRequest, principal: Principal = _NOBODY) -> wire.KillResponse:
        """Serves the baseline to everyone."""
        author = Author(principal.signs(request.who), request.why)
        experiment, spread = self._outcome(self._plane.kill(request.key, author))
        return wire.KillResponse(experiment=experiment, spread=spread)

    def resume(self, request: wire.ResumeRequest, principal: Principal = _NOBODY) -> wire.ResumeResponse:
        """Ends a kill, in a new epoch at ramp 0."""
        author, expected = Author(principal.signs(request.who), request.why), request.expected_revision or None
        experiment, spread = self._outcome(self._plane.resume(request.key, author, expected))
        return wire.ResumeResponse(experiment=experiment, spread=spread)

    def roll_back(self, request: wire.RollBackRequest, principal: Principal = _NOBODY) -> wire.RollBackResponse:
        """A kill that closes the epoch."""
        author = Author(principal.signs(request.who), request.why, dict(request.numbers))
        experiment, spread = self._outcome(self._plane.roll_back(request.key, author))
        return wire.RollBackResponse(experiment=experiment, spread=spread)

    def assign(self, request: wire.AssignRequest, _: Principal = _NOBODY) -> wire.AssignResponse:
        """Where one unit stands: by the hash alone, and as a replica with a live lease serves it."""
        require_unit(request.unit)
        experiment = self._plane.current(request.key)
        bucket = _core.bucket(hash_seed(experiment.key, experiment.salt), request.unit)
        arm = arm_of(bucket, experiment.ramp_bp)
        served, reason = served_to(arm, experiment)
        return wire.AssignResponse(bucket=bucket, arm=_ARMS[arm], served_arm=served, reason=reason)

    def get_plan(self, request: wire.GetPlanRequest, _: Principal = _NOBODY) -> wire.GetPlanResponse:
        """A plan by its revision, as it was published."""
        sealed = self._plane.plan(request.key, request.revision)
        return wire.GetPlanResponse(plan=plan_pb2.SealedPlan.FromString(sealed))

    def get_ledger(self, request: wire.GetLedgerRequest, _: Principal = _NOBODY) -> wire.GetLedgerResponse:
        """The latest lines, oldest first."""
        self._plane.current(request.key)
        entries = self._plane.ledger(request.key, min(request.limit, MOST_LEDGER_LINES) or MOST_LEDGER_LINES)
        return wire.GetLedgerResponse(changes=map(_change, entries))

    def note(self, request: wire.NoteRequest, principal: Principal = _NOBODY) -> wire.NoteResponse:
        """Adds a ledger line that changes nothing."""
        author = Author(principal.signs(request.who), request.why)
        return wire.NoteResponse(change=_change(self._plane.note(request.key, request.what, author, request.numbers)))

    def attest(self, request: wire.AttestRequest, _: Principal = _NOBODY) -> wire.AttestResponse:
        """There is evidence up to a moment."""
        evidence_at = request.evidence_at.ToDatetime(tzinfo=UTC)
        return wire.AttestResponse(patience_s=self._plane.attest(request.key, evidence_at))

    def _outcome(self, changed: Changed) -> tuple[wire.Experiment, wire.Spread]:
        """The experiment as it was changed, once the replicas have heard."""
        spread = self._plane.wait(changed)
        return self._experiment(changed.after), _spread(spread)

    def _experiment(self, experiment: Experiment) -> wire.Experiment:
        key = experiment.key
        flag, writer = self._plane.flag(key), self._plane.writer()
        failing = self._plane.conditions.failing(key)
        return wire.Experiment(
            key=key,
            plan=plan_of(experiment),
            epoch=experiment.epoch,
            history=map(_change, self._plane.ledger(key)),
            replicas=[
                wire.Replica(
                    replica=seen.replica, revision=seen.revision, age_s=seen.age_s, failing=seen.replica in failing
                )
                for seen in self._plane.replicas.listed(key)
            ],
            definition=experiment.definition.text,
            approved_bp=sorted(experiment.approved_bp),
            rolled_back=experiment.rolled_back,
            stage_since=_timestamp(experiment.stage_since),
            widest_bp=experiment.widest_bp,
            flag=None if flag is None else _flag(flag),
            writer=None if writer is None else wire.Writer(holder=writer.holder, term=writer.term),
        )


def served_to(arm: Arm, experiment: Experiment) -> tuple["rerank_pb2.Arm", "rerank_pb2.Reason"]:
    """What users of an arm are served under a plan, in the data path's order of causes: killed, then arm and mode."""
    if arm is Arm.NOT_ENROLLED:
        return _ARMS[arm], rerank_pb2.REASON_KILLED if experiment.killed else rerank_pb2.REASON_NOT_ENROLLED
    if experiment.killed:
        return rerank_pb2.ARM_CONTROL, rerank_pb2.REASON_KILLED
    mode = plan_of(experiment).mode
    if mode == plan_pb2.MODE_SHADOW:
        return rerank_pb2.ARM_CONTROL, rerank_pb2.REASON_SHADOW
    if mode == plan_pb2.MODE_INTERLEAVING:
        return rerank_pb2.ARM_INTERLEAVED, rerank_pb2.REASON_UNSPECIFIED
    if mode == plan_pb2.MODE_ROLLOUT:
        return rerank_pb2.ARM_TREATMENT, rerank_pb2.REASON_UNSPECIFIED
    reason = rerank_pb2.REASON_CONTROL if arm is Arm.CONTROL else rerank_pb2.REASON_UNSPECIFIED
    return _ARMS[arm], reason


def require_unit(unit: str) -> None:
    """Refuses a unit that no request could carry. Raises BadUnit."""
    if not 1 <= len(unit.encode()) <= MAX_UNIT_BYTES:
        raise BadUnit(
            found=f"a unit of {len(unit.encode())} bytes",
            wanted=f"1..{MAX_UNIT_BYTES}",
            cure="pass the user id that requests carry",
        )


def _pace(number: int) -> Pace:
    pace = _PACES.get(number)
    if pace is None:
        raise UnknownPace(
            found=f"pace {number}",
            wanted=f"one of {', '.join(wire.Pace.Name(known) for known in _PACES)}",
            cure="use a client of this version",
        )
    return pace


def _change(entry: Entry) -> wire.Change:
    return wire.Change(
        revision=entry.revision,
        at=_timestamp(entry.at),
        who=entry.who,
        why=entry.why,
        what=entry.what,
        numbers=entry.numbers,
    )


def _timestamp(at: datetime) -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _spread(spread: Spread) -> wire.Spread:
    rollout = spread.rollout
    return wire.Spread(acked=rollout.acked, expired=rollout.expired, waiting=rollout.waiting, seconds=spread.seconds)


def _flag(reading: FlagReading) -> wire.Flag:
    return wire.Flag(provider=reading.provider, state=f"FLAG_STATE_{reading.state.name}", error=reading.error)
