"""ExperimentAdmin over a real channel: what arrives, and which status each refusal gets."""

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from ra_guard import _core
from ra_guard.client import CallFailed, ExperimentClient
from ra_guard.experiments import allocation
from ra_guard.experiments.model import Author
from ra_guard.experiments.publish import ControlFolder, PlanFile
from ra_guard.experiments.replicas import PlanWatcher, ReplicaBoard
from ra_guard.rpc.experiment_admin import (
    MAX_HISTORY,
    ExperimentAdmin,
    experiment_admin_handlers,
)
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import rerank_pb2

KEY = "ra_guard_enhancement"
SIGNED = {"who": "me", "why": "a test"}
ME = Author(**SIGNED)


@pytest.fixture
def control(tmp_path: Path) -> ControlFolder:
    control = ControlFolder(tmp_path / "control")
    control.ensure(KEY, ME)
    return control


@pytest.fixture
def engine() -> _core.Engine:
    return _core.Engine(query_cache_entries=1)


@pytest.fixture
def watcher(control: ControlFolder, engine: _core.Engine) -> PlanWatcher:
    folder = control.folder(KEY)
    watcher = PlanWatcher(PlanFile(folder / "plan.sealed"), engine, ReplicaBoard(folder / "replicas"), "w0")
    watcher.poll()
    return watcher


@pytest.fixture
def address(control: ControlFolder, watcher: PlanWatcher) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((experiment_admin_handlers(ExperimentAdmin(control, watcher)),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def client(address: str) -> Iterator[ExperimentClient]:
    with ExperimentClient(address) as client:
        yield client


def test_get_and_list(client: ExperimentClient) -> None:
    experiment = client.get(wire.GetRequest(key=KEY)).experiment
    assert (experiment.key, experiment.epoch, experiment.plan.revision, experiment.plan.lease_s) == (KEY, 1, 1, 60)
    assert [(seen.replica, seen.revision) for seen in experiment.replicas] == [("w0", 1)]
    assert [(change.who, change.why) for change in experiment.history] == [("me", "a test")]
    assert [found.key for found in client.list(wire.ListRequest()).experiments] == [KEY]


def test_a_change_is_answered_after_this_worker_swapped(client: ExperimentClient, engine: _core.Engine) -> None:
    ramped = client.ramp(wire.RampRequest(key=KEY, ramp_bp=500, **SIGNED)).experiment
    assert (ramped.plan.ramp_bp, ramped.plan.revision, engine.plan_revision()) == (500, 2, 2)
    killed = client.kill(wire.KillRequest(key=KEY, **SIGNED)).experiment
    assert (killed.plan.killed, killed.plan.revision, engine.plan_revision()) == (True, 3, 3)
    assert [(seen.replica, seen.revision) for seen in killed.replicas] == [("w0", 3)]
    resumed = client.resume(wire.ResumeRequest(key=KEY, **SIGNED)).experiment
    assert (resumed.epoch, resumed.plan.salt, resumed.plan.ramp_bp, engine.plan_revision()) == (2, "epoch-2", 0, 4)


def test_history_is_bounded_to_the_latest(client: ExperimentClient, control: ControlFolder) -> None:
    publisher = control.open(KEY)
    for revision in range(MAX_HISTORY + 1):
        publisher.ramp(revision + 1, ME)
    history = client.get(wire.GetRequest(key=KEY)).experiment.history
    assert len(history) == MAX_HISTORY
    assert history[-1].revision == MAX_HISTORY + 2


def units(arm: allocation.Arm, ramp_bp: int, salt: str = "") -> str:
    seed = allocation.hash_seed(KEY, salt)
    return next(str(n) for n in range(100_000) if allocation.arm_of(_core.bucket(seed, str(n)), ramp_bp) is arm)


def test_assign_explains_each_case(client: ExperimentClient) -> None:
    client.ramp(wire.RampRequest(key=KEY, ramp_bp=1000, **SIGNED))
    cases = {
        allocation.Arm.TREATMENT: (rerank_pb2.ARM_TREATMENT, rerank_pb2.REASON_UNSPECIFIED),
        allocation.Arm.CONTROL: (rerank_pb2.ARM_CONTROL, rerank_pb2.REASON_CONTROL),
        allocation.Arm.NOT_ENROLLED: (rerank_pb2.ARM_NOT_ENROLLED, rerank_pb2.REASON_NOT_ENROLLED),
    }
    for arm, (wanted, reason) in cases.items():
        found = client.assign(wire.AssignRequest(key=KEY, unit=units(arm, 1000)))
        assert (found.arm, found.served_arm, found.reason) == (wanted, wanted, reason)
    client.kill(wire.KillRequest(key=KEY, **SIGNED))
    found = client.assign(wire.AssignRequest(key=KEY, unit=units(allocation.Arm.TREATMENT, 1000)))
    assert (found.arm, found.served_arm) == (rerank_pb2.ARM_TREATMENT, rerank_pb2.ARM_CONTROL)
    assert found.reason == rerank_pb2.REASON_KILLED


class Silent:
    """A worker that never heard from the control plane."""

    def poll(self) -> int:
        return 0

    def plan_age_s(self) -> float | None:
        return None


def test_assign_without_a_lease(control: ControlFolder) -> None:
    control.open(KEY).ramp(5000, ME)
    found = ExperimentAdmin(control, Silent()).assign(
        wire.AssignRequest(key=KEY, unit=units(allocation.Arm.TREATMENT, 5000))
    )
    assert (found.served_arm, found.reason) == (rerank_pb2.ARM_CONTROL, rerank_pb2.REASON_LEASE_EXPIRED)


def refused(call: Callable[[Any], Message], request: Message) -> grpc.StatusCode:
    with pytest.raises(CallFailed) as failure:
        call(request)
    assert "wanted" in failure.value.details()
    return failure.value.code()


def test_refusals(client: ExperimentClient) -> None:
    status = grpc.StatusCode
    assert refused(client.get, wire.GetRequest(key="nobody")) is status.NOT_FOUND
    assert refused(client.get, wire.GetRequest(key="../x")) is status.INVALID_ARGUMENT
    assert refused(client.ramp, wire.RampRequest(key=KEY, ramp_bp=5001, **SIGNED)) is status.INVALID_ARGUMENT
    assert refused(client.kill, wire.KillRequest(key=KEY, who="me")) is status.INVALID_ARGUMENT
    assert refused(client.kill, wire.KillRequest(key=KEY, why="me")) is status.INVALID_ARGUMENT
    assert refused(client.resume, wire.ResumeRequest(key=KEY, **SIGNED)) is status.FAILED_PRECONDITION
    assert refused(client.assign, wire.AssignRequest(key=KEY)) is status.INVALID_ARGUMENT
    assert refused(client.assign, wire.AssignRequest(key=KEY, unit="u" * 129)) is status.INVALID_ARGUMENT
    client.kill(wire.KillRequest(key=KEY, **SIGNED))
    assert refused(client.ramp, wire.RampRequest(key=KEY, ramp_bp=1, **SIGNED)) is status.FAILED_PRECONDITION


def test_corrupt_history_is_data_loss(client: ExperimentClient, control: ControlFolder) -> None:
    (control.folder(KEY) / "history.jsonl").write_text("{}\n")
    assert refused(client.get, wire.GetRequest(key=KEY)) is grpc.StatusCode.DATA_LOSS


def test_rpcs_without_a_method_are_unimplemented(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary("/ra_guard.v1.ExperimentAdmin/Apply")
        with pytest.raises(grpc.RpcError) as failure:
            call(wire.ApplyRequest().SerializeToString())
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
