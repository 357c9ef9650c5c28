"""ExperimentAdmin: the control path on the wire. Protobuf classes and generic handlers; nothing here is hot.

`ExperimentAdmin` has one method for each RPC that exists so far, from message to message and without gRPC, so that
an operator's command can run the same code on a state folder when no server answers. RPCs without a method are not
registered and answer UNIMPLEMENTED.
"""

from collections.abc import Callable
from typing import Any, Protocol

import grpc
from google.protobuf import message_factory, timestamp_pb2
from google.protobuf.message import Message

from ra_guard import _core
from ra_guard.experiments.allocation import Arm, arm_of, hash_seed
from ra_guard.experiments.errors import BadUnit, ExperimentError
from ra_guard.experiments.model import Author, Experiment
from ra_guard.experiments.publish import ControlFolder, Publisher, plan_of
from ra_guard.experiments.replicas import ReplicaBoard
from ra_guard.experiments.store import Change
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import rerank_pb2

MAX_HISTORY = 100
"""Changes that an answer carries, the latest ones; the file keeps all."""
MAX_UNIT_BYTES = 128

_ARMS = {
    Arm.TREATMENT: rerank_pb2.ARM_TREATMENT,
    Arm.CONTROL: rerank_pb2.ARM_CONTROL,
    Arm.NOT_ENROLLED: rerank_pb2.ARM_NOT_ENROLLED,
}


class OwnReplica(Protocol):
    """The worker that answers the call; `ra_guard.experiments.replicas.PlanWatcher` is one."""

    def poll(self) -> int: ...
    def plan_age_s(self) -> float | None: ...


class ExperimentAdmin:
    """Answers ExperimentAdmin's messages over a control folder.

    ``replica`` is the answering worker: it swaps a change in before the change is acknowledged. None outside a
    server.
    """

    def __init__(self, control: ControlFolder, replica: OwnReplica | None = None) -> None:
        self._control = control
        self._replica = replica

    def get(self, request: wire.GetRequest) -> wire.GetResponse:
        """One experiment with its plan, latest changes and replicas."""
        return wire.GetResponse(experiment=self._experiment(request.key))

    def list(self, request: wire.ListRequest) -> wire.ListResponse:  # noqa: ARG002  (has no fields)
        """Every stored experiment, by key."""
        return wire.ListResponse(experiments=[self._experiment(key) for key in self._control.stored_keys()])

    def ramp(self, request: wire.RampRequest) -> wire.RampResponse:
        """Sets the share of users in each arm."""
        author = Author(request.who, request.why)
        self._publish(request.key, lambda publisher: publisher.ramp(request.ramp_bp, author))
        return wire.RampResponse(experiment=self._experiment(request.key))

    def kill(self, request: wire.KillRequest) -> wire.KillResponse:
        """Serves the baseline to everyone; this worker has swapped when it returns."""
        author = Author(request.who, request.why)
        self._publish(request.key, lambda publisher: publisher.kill(author))
        return wire.KillResponse(experiment=self._experiment(request.key))

    def resume(self, request: wire.ResumeRequest) -> wire.ResumeResponse:
        """Ends a kill, in a new epoch at ramp 0."""
        author = Author(request.who, request.why)
        self._publish(request.key, lambda publisher: publisher.resume(author))
        return wire.ResumeResponse(experiment=self._experiment(request.key))

    def assign(self, request: wire.AssignRequest) -> wire.AssignResponse:
        """Where one unit stands: by the hash alone, and as it is served now by this worker."""
        require_unit(request.unit)
        experiment = self._control.open(request.key).current()
        bucket = _core.bucket(hash_seed(experiment.key, experiment.salt), request.unit)
        arm = arm_of(bucket, experiment.ramp_bp)
        reason = self._reason(experiment, arm)
        baseline = arm is Arm.TREATMENT and reason != rerank_pb2.REASON_UNSPECIFIED
        return wire.AssignResponse(
            bucket=bucket, arm=_ARMS[arm], served_arm=_ARMS[Arm.CONTROL if baseline else arm], reason=reason
        )

    def _publish(self, key: str, change: Callable[[Publisher], Experiment]) -> None:
        change(self._control.open(key))
        if self._replica is not None:
            self._replica.poll()

    def _experiment(self, key: str) -> wire.Experiment:
        revisions = self._control.open(key).revisions()
        experiment = revisions[-1].experiment
        board = ReplicaBoard(self._control.folder(key) / "replicas")
        return wire.Experiment(
            key=experiment.key,
            plan=plan_of(experiment),
            epoch=experiment.epoch,
            history=[_change(revision.change) for revision in revisions[-MAX_HISTORY:]],
            replicas=[
                wire.Replica(replica=seen.replica, revision=seen.revision, age_s=seen.age_s) for seen in board.read()
            ],
        )

    def _reason(self, experiment: Experiment, arm: Arm) -> rerank_pb2.Reason:
        """The data path's order of causes: killed, lease, arm."""
        if experiment.killed:
            return rerank_pb2.REASON_KILLED
        if self._replica is not None and not _live(self._replica.plan_age_s(), experiment.lease_s):
            return rerank_pb2.REASON_LEASE_EXPIRED
        if arm is Arm.CONTROL:
            return rerank_pb2.REASON_CONTROL
        return rerank_pb2.REASON_UNSPECIFIED if arm is Arm.TREATMENT else rerank_pb2.REASON_NOT_ENROLLED


def _live(age_s: float | None, lease_s: int) -> bool:
    return age_s is not None and age_s <= lease_s


def require_unit(unit: str) -> None:
    """Refuses a unit that no request could carry. Raises BadUnit."""
    if not 1 <= len(unit.encode()) <= MAX_UNIT_BYTES:
        raise BadUnit(
            found=f"a unit of {len(unit.encode())} bytes",
            wanted=f"1..{MAX_UNIT_BYTES}",
            cure="pass the user id that requests carry",
        )


def _change(change: Change) -> wire.Change:
    at = timestamp_pb2.Timestamp()
    at.FromDatetime(change.at)
    return wire.Change(revision=change.revision, at=at, who=change.who, why=change.why, what=change.what)


def experiment_admin_handlers(service: ExperimentAdmin) -> grpc.GenericRpcHandler:
    """The service's RPCs for `grpc.Server.add_generic_rpc_handlers`."""
    descriptor = wire.DESCRIPTOR.services_by_name["ExperimentAdmin"]
    methods = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _answering(getattr(service, method.name.lower())),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
        )
        for method in descriptor.methods
        if hasattr(service, method.name.lower())
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def _answering(answer: Callable[[Any], Message]) -> Callable[[Any, grpc.ServicerContext], Message]:
    def handle(request: Any, context: grpc.ServicerContext) -> Message:
        try:
            return answer(request)
        except ExperimentError as error:
            context.abort(grpc.StatusCode[error.status_code], str(error))
        except OSError as error:
            context.abort(
                grpc.StatusCode.INTERNAL, f"found {error}, wanted a writable state folder; check disk and permissions"
            )

    return handle
