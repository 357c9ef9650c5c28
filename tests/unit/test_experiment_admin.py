"""ExperimentAdmin over a real channel, with real replicas: what arrives, who may, and which status a refusal gets."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from ra_guard import _core
from ra_guard.client import CallFailed, ControlSource, ExperimentClient
from ra_guard.experiments.allocation import Arm, arm_of, hash_seed
from ra_guard.experiments.control_store import Entry, StoreGone
from ra_guard.experiments.definition import template
from ra_guard.experiments.model import Pace
from ra_guard.experiments.plane import LEDGER_LINES
from ra_guard.rpc.auth import REQUIRED, Role
from ra_guard.rpc.control_server import SERVICE, THREADS
from ra_guard.rpc.experiment_admin import ExperimentAdmin
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import plan_pb2, rerank_pb2

from tests.stand_ins.control_plane import KEY, ME, Clock, Instance, instance
from tests.stand_ins.control_server import Served, fleet, served
from tests.stand_ins.definitions import changed

SIGNED: dict[str, Any] = {"who": "me", "why": "a test"}
PATIENCE_S = 30.0
Code = grpc.StatusCode


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control(tmp_path: Path, clock: Clock) -> Iterator[Instance]:
    control = instance(f"sqlite:///{tmp_path / 'control.db'}", clock).lead()
    control.plane.create_default(ME)
    yield control
    control.close()


@pytest.fixture
def server(control: Instance) -> Iterator[Served]:
    with served(control) as server:
        yield server


@pytest.fixture
def engines(server: Served, tmp_path: Path) -> Iterator[tuple[_core.Engine, ...]]:
    with fleet([server.address], tmp_path / "plans") as engines:
        yield engines


@pytest.fixture
def client(server: Served) -> Iterator[ExperimentClient]:
    with ExperimentClient(server.address, timeout_s=PATIENCE_S) as client:
        yield client


def test_get_and_list(client: ExperimentClient, engines: tuple[_core.Engine, ...]) -> None:
    experiment = client.get(wire.GetRequest(key=KEY)).experiment
    assert (experiment.key, experiment.epoch, experiment.plan.revision, experiment.plan.lease_s) == (KEY, 1, 1, 60)
    assert [seen.replica for seen in experiment.replicas] == ["w0", "w1"]
    assert [(change.who, change.why) for change in experiment.history] == [("me", "a test")]
    assert experiment.definition == template()
    assert (experiment.writer.holder, experiment.writer.term, experiment.HasField("flag")) == ("a", 1, False)
    assert [found.key for found in client.list(wire.ListRequest()).experiments] == [KEY]


def test_a_change_is_answered_after_every_replica_swapped(
    client: ExperimentClient, engines: tuple[_core.Engine, ...]
) -> None:
    def everywhere(response: Any) -> wire.Experiment:
        assert [engine.plan_revision() for engine in engines] == [response.experiment.plan.revision] * 2
        assert (list(response.spread.acked), list(response.spread.waiting)) == (["w0", "w1"], [])
        experiment: wire.Experiment = response.experiment
        return experiment

    approved = everywhere(client.approve(wire.ApproveRequest(key=KEY, ramp_bp=100, **SIGNED)))
    assert list(approved.approved_bp) == [100]
    assert everywhere(client.ramp(wire.RampRequest(key=KEY, ramp_bp=100, **SIGNED))).plan.ramp_bp == 100
    skipping = wire.RampRequest(key=KEY, ramp_bp=1000, pace=wire.PACE_SKIPPING_STAGES, **SIGNED)
    assert everywhere(client.ramp(skipping)).plan.ramp_bp == 1000
    assert everywhere(client.kill(wire.KillRequest(key=KEY, **SIGNED))).plan.killed
    resumed = everywhere(client.resume(wire.ResumeRequest(key=KEY, **SIGNED)))
    assert (resumed.epoch, resumed.plan.salt, resumed.plan.ramp_bp) == (2, "epoch-2", 0)
    rolled_back = everywhere(client.roll_back(wire.RollBackRequest(key=KEY, **SIGNED)))
    assert (rolled_back.rolled_back, rolled_back.plan.killed) == (True, True)


def test_a_definition_is_previewed_and_applied(client: ExperimentClient, engines: tuple[_core.Engine, ...]) -> None:
    text = changed(("lease_s = 60", "lease_s = 30"))
    seen = client.preview(wire.PreviewRequest(definition=text))
    assert (seen.key, seen.revision, list(seen.differences)) == (KEY, 1, ["lease_s: 60 -> 30"])
    applied = client.apply(wire.ApplyRequest(definition=text, expected_revision=seen.revision, **SIGNED))
    assert (applied.experiment.plan.lease_s, list(applied.spread.acked)) == (30, ["w0", "w1"])
    assert not client.preview(wire.PreviewRequest(definition=text)).differences


def test_a_plan_is_had_by_its_revision(client: ExperimentClient) -> None:
    client.kill(wire.KillRequest(key=KEY, **SIGNED))
    for revision, killed in ((1, False), (2, True)):
        sealed = client.get_plan(wire.GetPlanRequest(key=KEY, revision=revision)).plan
        plan = plan_pb2.Plan.FromString(_core.check_plan(sealed.SerializeToString()))
        assert (plan.revision, plan.killed) == (revision, killed)


def test_history_is_bounded_to_the_latest(client: ExperimentClient, control: Instance) -> None:
    control.plane.approve(KEY, 100, ME)
    for step in range(LEDGER_LINES):
        control.plane.ramp(KEY, 0 if step % 2 else 100, Pace.BY_STAGE, ME)
    history = client.get(wire.GetRequest(key=KEY)).experiment.history
    assert len(history) == LEDGER_LINES
    assert history[-1].revision == LEDGER_LINES + 2


def unit_of(arm: Arm, ramp_bp: int) -> str:
    seed = hash_seed(KEY, "")
    return next(str(n) for n in range(100_000) if arm_of(_core.bucket(seed, str(n)), ramp_bp) is arm)


def test_assign_explains_each_case(client: ExperimentClient, control: Instance) -> None:
    control.plane.approve(KEY, 100, ME)
    control.plane.ramp(KEY, 1000, Pace.SKIPPING_STAGES, ME)
    cases = {
        Arm.TREATMENT: (rerank_pb2.ARM_TREATMENT, rerank_pb2.REASON_UNSPECIFIED),
        Arm.CONTROL: (rerank_pb2.ARM_CONTROL, rerank_pb2.REASON_CONTROL),
        Arm.NOT_ENROLLED: (rerank_pb2.ARM_NOT_ENROLLED, rerank_pb2.REASON_NOT_ENROLLED),
    }
    for arm, (wanted, reason) in cases.items():
        found = client.assign(wire.AssignRequest(key=KEY, unit=unit_of(arm, 1000)))
        assert (found.arm, found.served_arm, found.reason) == (wanted, wanted, reason)
    client.kill(wire.KillRequest(key=KEY, **SIGNED))
    found = client.assign(wire.AssignRequest(key=KEY, unit=unit_of(Arm.TREATMENT, 1000)))
    assert (found.arm, found.served_arm) == (rerank_pb2.ARM_TREATMENT, rerank_pb2.ARM_CONTROL)
    assert found.reason == rerank_pb2.REASON_KILLED


@pytest.mark.parametrize(
    ("mode", "served_arm", "reason"),
    [
        ("shadow", rerank_pb2.ARM_CONTROL, rerank_pb2.REASON_SHADOW),
        ("interleaving", rerank_pb2.ARM_INTERLEAVED, rerank_pb2.REASON_UNSPECIFIED),
        ("rollout", rerank_pb2.ARM_TREATMENT, rerank_pb2.REASON_UNSPECIFIED),
    ],
)
def test_assign_follows_the_mode(
    client: ExperimentClient, control: Instance, mode: str, served_arm: int, reason: int
) -> None:
    control.plane.apply(changed(('mode = "ab"', f'mode = "{mode}"')), ME, 1)
    control.plane.approve(KEY, 100, ME)
    control.plane.ramp(KEY, 1000, Pace.SKIPPING_STAGES, ME)
    for arm in (Arm.TREATMENT, Arm.CONTROL):
        found = client.assign(wire.AssignRequest(key=KEY, unit=unit_of(arm, 1000)))
        assert (found.served_arm, found.reason) == (served_arm, reason)


REFUSALS: list[tuple[str, Message, grpc.StatusCode]] = [
    ("get", wire.GetRequest(key="nobody"), Code.NOT_FOUND),
    ("get", wire.GetRequest(key="../x"), Code.INVALID_ARGUMENT),
    ("get_plan", wire.GetPlanRequest(key=KEY, revision=9), Code.NOT_FOUND),
    ("get_plan", wire.GetPlanRequest(key=KEY, revision=2**64 - 1), Code.NOT_FOUND),
    ("preview", wire.PreviewRequest(definition="x = "), Code.INVALID_ARGUMENT),
    ("apply", wire.ApplyRequest(definition=template(), expected_revision=9, **SIGNED), Code.ABORTED),
    ("apply", wire.ApplyRequest(definition=template("new"), expected_revision=1, **SIGNED), Code.ABORTED),
    ("ramp", wire.RampRequest(key=KEY, ramp_bp=5001, **SIGNED), Code.INVALID_ARGUMENT),
    ("ramp", wire.RampRequest(key=KEY, ramp_bp=100, **SIGNED), Code.FAILED_PRECONDITION),
    ("ramp", wire.RampRequest(key=KEY, ramp_bp=0, expected_revision=9, **SIGNED), Code.ABORTED),
    ("ramp", wire.RampRequest(key=KEY, pace=cast(wire.Pace, 7), **SIGNED), Code.INVALID_ARGUMENT),
    ("approve", wire.ApproveRequest(key=KEY, ramp_bp=500, **SIGNED), Code.FAILED_PRECONDITION),
    ("approve", wire.ApproveRequest(key=KEY, ramp_bp=100, expected_revision=9, **SIGNED), Code.ABORTED),
    ("kill", wire.KillRequest(key=KEY, who="me"), Code.INVALID_ARGUMENT),
    ("kill", wire.KillRequest(key=KEY, why="me"), Code.INVALID_ARGUMENT),
    ("kill", wire.KillRequest(key=KEY, who="me", why="w" * 513), Code.INVALID_ARGUMENT),
    ("kill", wire.KillRequest(key=KEY, who="m\0e", why="w"), Code.INVALID_ARGUMENT),
    ("resume", wire.ResumeRequest(key=KEY, **SIGNED), Code.FAILED_PRECONDITION),
    ("assign", wire.AssignRequest(key=KEY), Code.INVALID_ARGUMENT),
    ("assign", wire.AssignRequest(key=KEY, unit="u" * 129), Code.INVALID_ARGUMENT),
]


@pytest.mark.parametrize(("method", "request_", "code"), REFUSALS)
def test_refusals(
    client: ExperimentClient, control: Instance, method: str, request_: Message, code: grpc.StatusCode
) -> None:
    with pytest.raises(CallFailed) as failure:
        getattr(client, method)(request_)
    assert failure.value.code() is code
    for part in ("found ", "wanted ", "; "):
        assert part in failure.value.details()
    assert control.plane.current(KEY).revision == 1
    assert control.reported == []


def test_a_kill_that_is_not_stored_says_so_and_halts(
    client: ExperimentClient, engines: tuple[_core.Engine, ...], control: Instance
) -> None:
    control.store.refusal = StoreGone(found="no server", wanted="one", cure="start it")
    with pytest.raises(CallFailed, match="no server") as failure:
        client.kill(wire.KillRequest(key=KEY, **SIGNED))
    assert failure.value.code() is Code.FAILED_PRECONDITION
    eventually(lambda: all(engine.plan_age_s() is None for engine in engines))
    control.store.refusal = None
    control.lead()
    eventually(lambda: all(engine.plan_revision() == 2 for engine in engines))


def test_a_kill_waits_for_no_other_call(client: ExperimentClient, control: Instance, server: Served) -> None:
    release, under_way = threading.Event(), threading.Semaphore(0)

    def busy(_: str) -> None:
        under_way.release()
        release.wait(PATIENCE_S)

    control.plane.preview = busy  # type: ignore[method-assign,assignment]
    with grpc.insecure_channel(server.address) as channel:
        preview: Any = channel.unary_unary(f"/{SERVICE}/Preview")
        calls = [preview.future(b"", timeout=PATIENCE_S) for _ in range(2 * THREADS)]
        for _ in range(THREADS):
            assert under_way.acquire(timeout=PATIENCE_S)
        assert client.kill(wire.KillRequest(key=KEY, **SIGNED)).experiment.plan.killed
        assert client.roll_back(wire.RollBackRequest(key=KEY, **SIGNED)).experiment.rolled_back
        release.set()
        for call in calls:
            call.exception()


def test_calls_go_to_the_instance_that_holds_the_lease(server: Served, tmp_path: Path, clock: Clock) -> None:
    idle = instance(f"sqlite:///{tmp_path / 'control.db'}", clock, holder="b").lead()
    with served(idle) as other, ExperimentClient(other.address) as client:
        with pytest.raises(CallFailed, match="a as the writer") as failure:
            client.get(wire.GetRequest(key=KEY))
        assert failure.value.code() is Code.UNAVAILABLE
        for addresses in (f"{other.address}, {server.address}", f"{server.address},{other.address},"):
            with ExperimentClient(addresses) as both:
                assert both.get(wire.GetRequest(key=KEY)).experiment.key == KEY
    idle.close()


# Streams


def eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.fixture
def source(server: Served) -> Iterator[ControlSource]:
    with ControlSource(server.address, token="", timeout_s=PATIENCE_S) as source:
        yield source


def word(**fields: Any) -> wire.WatchRequest:
    return wire.WatchRequest(**{"key": KEY, "replica": "r", "clock_ns": 4711, **fields})


class Held:
    """A stream whose words a test says one by one."""

    def __init__(self, source: ControlSource) -> None:
        self._more = threading.Condition()
        self._words: list[wire.WatchRequest | None] = []
        self._call = source.watch(self._said())
        self.answers = self._call.answers()

    def _said(self) -> Iterator[wire.WatchRequest]:
        while True:
            with self._more:
                assert self._more.wait_for(lambda: self._words, PATIENCE_S)
                said = self._words.pop(0)
            if said is None:
                return
            yield said

    def say(self, said: wire.WatchRequest | None) -> None:
        with self._more:
            self._words.append(said)
            self._more.notify()


def test_each_word_is_answered_and_a_change_comes_unasked(source: ControlSource, control: Instance) -> None:
    stream = Held(source)
    stream.say(word())
    first = next(stream.answers)
    assert (first.revision, first.echoed_clock_ns, first.plan.ByteSize() > 0, first.halt) == (1, 4711, True, False)
    stream.say(word(acked_revision=1, acked_checksum=first.plan.checksum, clock_ns=4712))
    second = next(stream.answers)
    assert (second.revision, second.echoed_clock_ns, second.HasField("plan")) == (1, 4712, False)
    control.plane.kill(KEY, ME)
    pushed = next(stream.answers)
    assert (pushed.revision, pushed.echoed_clock_ns, pushed.HasField("plan")) == (2, 4712, True)
    stream.say(word(leaving=True))
    next(stream.answers)
    assert list(stream.answers) == []
    assert control.plane.replicas.listed(KEY) == ()


def test_a_poll_is_one_exchange(source: ControlSource, control: Instance) -> None:
    answer = source.poll(word(), PATIENCE_S)
    assert (answer.revision, answer.echoed_clock_ns) == (1, 4711)
    assert [seen.replica for seen in control.plane.replicas.listed(KEY)] == ["r"]
    source.poll(word(leaving=True), PATIENCE_S)
    assert control.plane.replicas.listed(KEY) == ()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"key": "nobody"}, Code.NOT_FOUND),
        ({"key": "../x"}, Code.INVALID_ARGUMENT),
        ({"replica": ""}, Code.INVALID_ARGUMENT),
        ({"replica": "a/b"}, Code.INVALID_ARGUMENT),
        ({"acked_revision": 2**64 - 1}, Code.INVALID_ARGUMENT),
    ],
)
def test_words_that_nobody_may_say(
    source: ControlSource, server: Served, control: Instance, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    for say in (
        lambda: source.poll(word(**fields), PATIENCE_S),
        lambda: list(source.watch(iter([word(**fields)])).answers()),
    ):
        with pytest.raises(CallFailed) as failure:
            say()
        assert failure.value.code() is code
    assert control.plane.replicas.listed(KEY) == ()
    eventually(lambda: not server.server._streams._open)


def test_a_stream_ends_when_the_lease_is_lost(source: ControlSource, control: Instance) -> None:
    stream = Held(source)
    stream.say(word())
    next(stream.answers)
    control.seat.leave()
    stream.say(word())
    with pytest.raises(CallFailed) as failure:
        next(stream.answers)
    assert failure.value.code() is Code.UNAVAILABLE


def test_health_follows_the_lease_and_reflection_names_the_service(server: Served, control: Instance) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        def status(service: str) -> int:
            return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S).status)

        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert [status(service) for service in ("", SERVICE)] == [serving] * 2
        control.seat.leave()
        server.tell_health()
        assert [status(service) for service in ("", SERVICE)] == [not_serving] * 2
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=PATIENCE_S
        )
        assert SERVICE in {service.name for service in next(reflected).list_services_response.service}


# Who may


TOKENS = {Role.OPERATOR: "op", Role.REPLICA: "rep", Role.VIEWER: "view"}
DESCRIPTOR = wire.DESCRIPTOR.services_by_name["ExperimentAdmin"]


@pytest.fixture
def guarded(control: Instance, tmp_path: Path) -> Iterator[Served]:
    path = tmp_path / "tokens.toml"
    path.write_text(
        "".join(
            f'[{role.value}-1]\nrole = "{role.value}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
            for role, token in TOKENS.items()
        )
    )
    with served(control, path) as server:
        yield server


def code_of(server: Served, method: Any, token: str) -> grpc.StatusCode:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(server.address) as channel:
        try:
            if method.client_streaming:
                stream: Any = channel.stream_stream(f"/{SERVICE}/{method.name}")
                list(stream(iter([b""]), metadata=metadata, timeout=PATIENCE_S))
            else:
                call: Any = channel.unary_unary(f"/{SERVICE}/{method.name}")
                call(b"", metadata=metadata, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return Code.OK


@pytest.mark.parametrize("method", list(DESCRIPTOR.methods), ids=lambda method: method.name)
def test_every_method_asks_who_calls(guarded: Served, method: Any) -> None:
    ranks = list(Role)
    assert code_of(guarded, method, "") is Code.UNAUTHENTICATED
    assert code_of(guarded, method, "guess") is Code.UNAUTHENTICATED
    for role, token in TOKENS.items():
        found = code_of(guarded, method, token)
        if ranks.index(role) < ranks.index(REQUIRED[method.name]):
            assert found is Code.PERMISSION_DENIED
        else:
            assert found not in {Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.UNIMPLEMENTED, Code.INTERNAL}


def test_the_ledger_names_the_token_not_only_who_it_says_it_is(guarded: Served) -> None:
    with ExperimentClient(guarded.address, token="op") as client:
        experiment = client.kill(wire.KillRequest(key=KEY, **SIGNED)).experiment
    assert [change.who for change in experiment.history if change.what.startswith("kill")] == ["operator-1 (as me)"]


def test_replicas_present_their_token(guarded: Served, tmp_path: Path) -> None:
    with fleet([guarded.address], tmp_path / "plans", token="rep") as engines:
        assert [engine.plan_revision() for engine in engines] == [1, 1]


def test_an_error_that_nobody_foresaw_is_internal_and_reported(control: Instance, server: Served) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    control.plane.current = fail  # type: ignore[method-assign,assignment]
    with ExperimentClient(server.address) as client, pytest.raises(CallFailed) as failure:
        client.get(wire.GetRequest(key=KEY))
    assert failure.value.code() is Code.INTERNAL
    assert [str(error) for error in control.reported] == ["boom"]


def test_the_same_methods_answer_without_a_server(control: Instance) -> None:
    admin = ExperimentAdmin(control.plane)
    assert admin.kill(wire.KillRequest(key=KEY, **SIGNED)).experiment.plan.killed
    assert admin.get(wire.GetRequest(key=KEY)).experiment.plan.revision == 2


def test_a_whole_ledger_of_the_longest_lines_comes_in_one_answer(
    control: Instance, client: ExperimentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {f"{number:03}{'n' * 24}": 1.5 for number in range(20)}
    line = Entry(KEY, 1, datetime(2026, 3, 4, tzinfo=UTC), "w" * 128, "y" * 512, "t" * 256, numbers)
    monkeypatch.setattr(control.plane, "ledger", lambda _, lines: (line,) * lines)
    found = client.get_ledger(wire.GetLedgerRequest(key=KEY))
    assert (len(found.changes), found.changes[-1].why) == (10_000, line.why)
    assert found.ByteSize() > 4 << 20, "more than gRPC takes by itself"
