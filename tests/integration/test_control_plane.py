"""Control planes as processes: killed, stopped, replaced. The replicas are real engines with real feeds."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ra_guard import _core
from ra_guard.client import CallFailed, ExperimentClient
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import rerank_pb2

from tests.stand_ins.control_server import fleet
from tests.stand_ins.control_stores import new_database
from tests.stand_ins.flag_files import FLAGD, environment, write_flag
from tests.stand_ins.postgres import PostgresServer, public_folder
from tests.stand_ins.serving_process import (
    KEY,
    READY_S,
    Serving,
    control_plane,
    enrol_everyone,
    free_ports,
    publish_gallery,
    request,
    serving,
)

SIGNED: dict[str, Any] = {"who": "a test", "why": "to see what happens"}
SHORT_LEASE_S = 2
QUICK = {"RA_GUARD_CONTROL__WRITER_LEASE_S": "1", "RA_GUARD_CONTROL__HEARTBEAT_S": "0.2"}
"""A writer that dies is replaced within a second."""
USERS = [f"user-{number}" for number in range(40)]
Engines = tuple[_core.Engine, ...]


def eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + READY_S
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def call(user: str) -> bytes:
    return rerank_pb2.RerankRequest(
        request_id="r", user_id=user, text="a dog", candidate_ids=["a", "b"]
    ).SerializeToString()


def arms(engine: _core.Engine) -> list[int]:
    return [engine.rerank(call(user)).assigned_arm for user in USERS]


def hold_lease(engines: Engines) -> bool:
    """Whether every engine may treat: such a call finds no features here, and no missing lease."""
    treated = next(user for user, arm in zip(USERS, arms(engines[0]), strict=True) if arm == rerank_pb2.ARM_TREATMENT)
    return all(engine.rerank(call(treated)).reason != rerank_pb2.REASON_LEASE_EXPIRED for engine in engines)


def lost_lease(engines: Engines) -> bool:
    treated = next(user for user, arm in zip(USERS, arms(engines[0]), strict=True) if arm == rerank_pb2.ARM_TREATMENT)
    return all(engine.rerank(call(treated)).reason == rerank_pb2.REASON_LEASE_EXPIRED for engine in engines)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer(public_folder())
    server.start()
    yield server
    server.remove()


def test_a_killed_control_plane_comes_back_and_the_replicas_by_themselves(tmp_path: Path) -> None:
    enrol_everyone(tmp_path, lease_s=SHORT_LEASE_S)
    options = {**QUICK, "RA_GUARD_CONTROL__PORT": str(free_ports(1))}
    with control_plane(tmp_path, **options) as first, fleet([first.control], tmp_path / "plans") as engines:
        eventually(lambda: hold_lease(engines))
        before = [arms(engine) for engine in engines]
        revision = engines[0].plan_revision()
        first.process.kill()
        first.process.wait()
        eventually(lambda: lost_lease(engines))
        assert [arms(engine) for engine in engines] == before, "what is served changed, nobody's arm did"
        with control_plane(tmp_path, **options) as second, ExperimentClient(second.control) as client:
            assert second.control == first.control
            eventually(lambda: hold_lease(engines))
            assert [engine.plan_revision() for engine in engines] == [revision] * 2
            assert [arms(engine) for engine in engines] == before
            killed = client.kill(wire.KillRequest(key=KEY, **SIGNED))
            assert list(killed.spread.acked) == ["w0", "w1"]
            assert killed.experiment.plan.revision == revision + 1
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(READY_S) == 0


def test_a_control_plane_that_stands_still_treats_nobody_after_the_lease(tmp_path: Path) -> None:
    enrol_everyone(tmp_path, lease_s=SHORT_LEASE_S)
    with control_plane(tmp_path, **QUICK) as control, fleet([control.control], tmp_path / "plans") as engines:
        eventually(lambda: hold_lease(engines))
        control.process.send_signal(signal.SIGSTOP)
        eventually(lambda: lost_lease(engines))
        control.process.send_signal(signal.SIGCONT)
        eventually(lambda: hold_lease(engines))


def test_two_control_planes_over_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    options = {**QUICK, "RA_GUARD_CONTROL__STORE": new_database(postgres)}
    with control_plane(tmp_path, **options) as first:
        first.line("writer_lease_gained")
        with control_plane(tmp_path, **options) as second:
            addresses = [first.control, second.control]
            with (
                fleet(addresses, tmp_path / "plans") as engines,
                ExperimentClient(",".join(addresses)) as client,
                ExperimentClient(second.control) as idle,
            ):
                with pytest.raises(CallFailed, match="as the writer") as refused:
                    idle.kill(wire.KillRequest(key=KEY, **SIGNED))
                assert refused.value.status == "UNAVAILABLE"
                approved = client.approve(wire.ApproveRequest(key=KEY, ramp_bp=100, **SIGNED)).experiment
                assert approved.writer.term == 1
                ramped = client.ramp(wire.RampRequest(key=KEY, ramp_bp=100, **SIGNED))
                assert list(ramped.spread.acked) == ["w0", "w1"]
                first.process.kill()
                first.process.wait()
                gained = second.line("writer_lease_gained")
                assert gained["term"] == 2
                eventually(lambda: replicas_of(idle) == {"w0", "w1"})
                killed = client.kill(wire.KillRequest(key=KEY, **SIGNED))
                assert (list(killed.spread.acked), list(killed.spread.waiting)) == (["w0", "w1"], [])
                assert (killed.experiment.plan.killed, killed.experiment.writer.term) == (True, 2)
                assert killed.experiment.plan.revision == ramped.experiment.plan.revision + 1
                assert [engine.plan_revision() for engine in engines] == [killed.experiment.plan.revision] * 2


def replicas_of(client: ExperimentClient) -> set[str]:
    try:
        experiment = client.get(wire.GetRequest(key=KEY)).experiment
    except CallFailed:
        return set()
    return {seen.replica for seen in experiment.replicas if seen.revision == experiment.plan.revision}


def test_a_flag_file_that_is_edited_kills_the_experiment(tmp_path: Path) -> None:
    flags = tmp_path / "flags.json"
    write_flag(flags, KEY, "on")
    options = {"RA_GUARD_CONTROL__FLAG_PROVIDER": FLAGD, "RA_GUARD_CONTROL__FLAG_POLL_S": "0.05", **environment(flags)}
    with (
        control_plane(tmp_path, **options) as control,
        fleet([control.control], tmp_path / "plans") as engines,
        ExperimentClient(control.control) as client,
    ):
        assert client.get(wire.GetRequest(key=KEY)).experiment.flag.state == wire.FLAG_STATE_ON
        write_flag(flags, KEY, "off")
        change = control.line("change", lambda line: line["what"].startswith("kill"))
        assert (change["who"], change["why"]) == ("flag FlagdProvider", f"flag {KEY} is off")
        eventually(lambda: all(engine.plan_revision() == 2 for engine in engines))
        with pytest.raises(CallFailed, match="turn it on first") as refused:
            client.resume(wire.ResumeRequest(key=KEY, **SIGNED))
        assert refused.value.status == "FAILED_PRECONDITION"
        write_flag(flags, KEY, "on")
        eventually(lambda: client.get(wire.GetRequest(key=KEY)).experiment.flag.state == wire.FLAG_STATE_ON)
        assert client.resume(wire.ResumeRequest(key=KEY, **SIGNED)).experiment.epoch == 2


def test_beyond_loopback_without_tokens_it_refuses_to_start(tmp_path: Path) -> None:
    refused = Serving(tmp_path, {"RA_GUARD_CONTROL__HOST": "0.0.0.0"}, command="control")
    assert refused.process.wait(READY_S) == 2
    (line,) = refused.lines("raw")
    assert "control.tokens" in line["text"]


def test_workers_serve_the_baseline_without_their_control_plane_and_treatment_with_it(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    enrol_everyone(tmp_path, lease_s=SHORT_LEASE_S)
    with serving(tmp_path, workers=2, **QUICK) as server:
        control = server.line("ready", lambda line: line["program"] == "control")["pid"]

        def answers() -> list[rerank_pb2.RerankResponse]:
            return [server.call(request(user=user)) for user in USERS for _ in range(2)]

        def everyone(reason: int) -> bool:
            treated = [answer for answer in answers() if answer.assigned_arm == rerank_pb2.ARM_TREATMENT]
            return {answer.reason for answer in treated} == {reason}

        eventually(lambda: everyone(rerank_pb2.REASON_UNSPECIFIED))
        before = [(answer.assigned_arm, answer.plan_revision) for answer in answers()]
        os.kill(control, signal.SIGSTOP)
        eventually(lambda: everyone(rerank_pb2.REASON_LEASE_EXPIRED))
        assert [(answer.assigned_arm, answer.plan_revision) for answer in answers()] == before
        os.kill(control, signal.SIGCONT)
        eventually(lambda: everyone(rerank_pb2.REASON_UNSPECIFIED))
        os.kill(control, signal.SIGKILL)
        assert server.line("died")["program"] == "control"
        server.line("ready")
        eventually(lambda: everyone(rerank_pb2.REASON_UNSPECIFIED))
        assert [(answer.assigned_arm, answer.plan_revision) for answer in answers()] == before
        assert server.stop() == 0
