"""``ra-guard serve`` as operators run it: processes, signals, a real core, real connections."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ra_guard.client import ExperimentClient
from ra_guard.v1 import rerank_pb2 as wire
from ra_guard.v1.experiment_pb2 import KillRequest
from ra_guard.worker import EXIT_REFUSED

from tests.stand_ins.serving_process import (
    AUTHOR,
    KEY,
    Serving,
    enrol_everyone,
    free_ports,
    publish_gallery,
    request,
    serving,
)


def eventually(holds: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    give_up = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def treated(server: Serving) -> str:
    """A user of the treatment arm."""
    for number in range(100):
        if server.call(request(user=f"user-{number}")).assigned_arm == wire.ARM_TREATMENT:
            return f"user-{number}"
    raise AssertionError("no treated user among a hundred")


def test_every_worker_gives_the_same_ranking_and_scores(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    enrol_everyone(tmp_path)
    seen: set[tuple[tuple[int, ...], tuple[float, ...]]] = set()
    for workers in (1, 2):
        with serving(tmp_path, workers=workers) as server:
            user = treated(server)
            for _ in range(10):
                answer = server.call(request(user=user))
                assert answer.status in (wire.STATUS_RERANKED, wire.STATUS_PARTIAL)
                assert answer.served_arm == wire.ARM_TREATMENT
                seen.add((tuple(answer.ranking), tuple(answer.scores)))
            assert server.stop() == 0
    assert len(seen) == 1
    ((ranking, _),) = seen
    assert sorted(ranking) == list(range(50))
    assert ranking != tuple(range(50))


def health(server: Serving, service: str) -> int:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)


def test_health_is_per_service_and_follows_the_gallery(tmp_path: Path) -> None:
    serving_, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    with serving(tmp_path, workers=1) as server:

        def status(service: str) -> int:
            return health(server, service)

        assert status("ra_guard.v1.Reranker") == not_serving, "nothing to score yet"
        assert status("ra_guard.v1.GalleryAdmin") == not_serving, "no generation yet"
        assert server.call(request()).status == wire.STATUS_BASELINE, "and still every call is answered"
        publish_gallery(tmp_path)
        assert eventually(lambda: status("ra_guard.v1.Reranker") == serving_)
        assert status("") == serving_


def test_a_generation_is_swapped_in_under_load_without_a_failed_call(tmp_path: Path) -> None:
    first = publish_gallery(tmp_path)
    enrol_everyone(tmp_path)
    with serving(tmp_path, RA_GUARD_GALLERY__POLL_S="0.05") as server, CallLoop(server) as load:
        assert eventually(lambda: first in load.generations)
        second = publish_gallery(tmp_path, seed=7)
        assert eventually(lambda: second in load.generations)
        assert eventually(lambda: {server.call(request()).generation for _ in range(8)} == {second})
        for worker in server.workers:
            server.line("rerank", lambda line, worker=worker: (line["worker"], line["generation"]) == (worker, second))  # type: ignore[misc]
    assert load.failures == []


def test_a_generation_beyond_the_memory_limit_is_refused_and_the_old_one_serves(tmp_path: Path) -> None:
    first = publish_gallery(tmp_path, rows=10)
    size = sum(path.stat().st_size for path in (tmp_path / "gallery" / "shards").iterdir())
    options = {"RA_GUARD_GALLERY__POLL_S": "0.05", "RA_GUARD_GALLERY__MEMORY_LIMIT_BYTES": str(size)}
    with serving(tmp_path, workers=1, **options) as server:
        publish_gallery(tmp_path, rows=2000)
        refused = server.line("failure", lambda line: line["variant"] == "GenerationTooLarge")
        assert "gallery.memory_limit_bytes" in refused["error"]
        assert server.call(request(10)).generation == first


def test_the_killswitch_reaches_every_worker(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    enrol_everyone(tmp_path)
    with serving(tmp_path) as server, ExperimentClient(server.control) as control:
        user = treated(server)
        spread = control.kill(KillRequest(key=KEY, who=AUTHOR.who, why=AUTHOR.why)).spread
        assert (len(spread.acked), len(spread.expired), len(spread.waiting)) == (2, 0, 0)
        assert {server.call(request(user=user)).reason for _ in range(8)} == {wire.REASON_KILLED}
        answer = server.call(request(user=user))
        assert (answer.status, list(answer.ranking)) == (wire.STATUS_BASELINE, list(range(50)))
        assert answer.assigned_arm == wire.ARM_TREATMENT


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no IPv6 loopback address")
def test_an_ipv6_address_is_served(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1, RA_GUARD_SERVER__HOST="::1") as server:
        assert server.address.startswith("[::1]:")
        assert server.call(request()).request_id == "r-1"


def test_a_worker_that_cannot_start_again_ends_no_other(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    spaces = [tmp_path / "models" / name / "space.json" for name in ("one", "other")]
    with serving(tmp_path, RA_GUARD_TRITON__URL="127.0.0.1:1") as server:
        for space in spaces:
            space.parent.mkdir(parents=True)
            space.write_text("{}")
        os.kill(server.workers[1], signal.SIGKILL)
        assert server.line("died", lambda line: line["exit_code"] == EXIT_REFUSED)["program"] == "worker-1"
        assert server.call(request()).request_id == "r-1"
        for space in spaces:
            space.unlink()
        assert server.line("worker_ready")["worker"] == 1


class CallLoop:
    """Callers that never pause, and what became of their calls."""

    def __init__(self, server: Serving, callers: int = 2) -> None:
        self.failures: list[tuple[float, grpc.RpcError]] = []
        self.generations: set[int] = set()
        self.answered = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(server.address,)) for _ in range(callers)]

    def _call(self, address: str) -> None:
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            rerank: Any = channel.unary_unary("/ra_guard.v1.Reranker/Rerank")
            while not self._stop.is_set():
                started = time.monotonic()
                try:
                    answer = wire.RerankResponse.FromString(rerank(request(), timeout=20))
                except grpc.RpcError as error:
                    self.failures.append((started, error))
                    return
                self.generations.add(answer.generation)
                self.answered += 1

    def __enter__(self) -> "CallLoop":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_sigterm_loses_no_call_in_flight(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    with serving(tmp_path) as server, CallLoop(server, callers=4) as load:
        assert eventually(lambda: load.answered > 50)
        told = time.monotonic()
        assert server.stop() == 0
    early = [error for started, error in load.failures if started < told]
    assert early == []
    assert {error.code() for _, error in load.failures} == {grpc.StatusCode.UNAVAILABLE}, load.failures


def test_a_dead_worker_is_replaced_while_the_others_answer(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    with serving(tmp_path) as server:
        os.kill(server.workers[0], signal.SIGKILL)
        died = server.line("died")
        assert (died["program"], died["exit_code"]) == ("worker-0", -signal.SIGKILL)
        assert server.call(request()).request_id == "r-1"
        assert server.line("worker_ready")["pid"] != server.workers[0]
        assert server.stop() == 0


def test_all_end_with_their_supervisor_however_it_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        control = server.line("ready", lambda line: line["program"] == "control")["pid"]
        server.process.kill()
        server.process.wait()
        assert eventually(lambda: not any(is_running(pid) for pid in [control, *server.workers.values()]))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_port_in_use_is_an_error_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from ra_guard.cli import main; sys.exit(main())", "serve"],
            env={**os.environ, "RA_GUARD_STATE_DIR": str(tmp_path), "RA_GUARD_SERVER__PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert str(port) in line
    assert "server.port" in line


def test_metrics_are_served_by_each_worker(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    base = free_ports(2)
    with serving(tmp_path, RA_GUARD_TELEMETRY__METRICS_PORT=str(base)) as server:
        for _ in range(20):
            server.call(request())

        def page(worker: int) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{base + worker}/metrics", timeout=5) as answer:
                return str(answer.read(), "utf-8")

        def calls() -> float:
            lines = [line for worker in (0, 1) for line in page(worker).splitlines()]
            return sum(float(line.split()[-1]) for line in lines if line.startswith("ra_guard_rerank_calls_total{"))

        assert eventually(lambda: calls() == 20)
        for name in (
            "ra_guard_kernel_info",
            "ra_guard_generation",
            "ra_guard_plan_revision",
            "ra_guard_gallery_resident",
        ):
            assert name in page(0)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"user_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "user_id"),
        ({"candidate_ids": []}, grpc.StatusCode.INVALID_ARGUMENT, "candidate"),
        ({"candidate_ids": ["a", "a"]}, grpc.StatusCode.INVALID_ARGUMENT, "candidate"),
        ({"candidate_ids": [f"i{n}" for n in range(1001)]}, grpc.StatusCode.INVALID_ARGUMENT, "1001"),
        ({"candidate_ids": [f"i{n}" for n in range(900)]}, grpc.StatusCode.RESOURCE_EXHAUSTED, "capacity_candidates"),
        ({"top_k": 1001}, grpc.StatusCode.INVALID_ARGUMENT, "top_k"),
        ({"domain": "nowhere"}, grpc.StatusCode.INVALID_ARGUMENT, "domain"),
    ],
)
def test_a_callers_mistake_says_which_field(
    one_worker: Serving, change: dict[str, object], code: grpc.StatusCode, words: str
) -> None:
    message = wire.RerankRequest.FromString(request(5))
    for name, value in change.items():
        message.ClearField(name)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    with pytest.raises(grpc.RpcError) as refused:
        one_worker.call(message.SerializeToString())
    assert refused.value.code() is code
    assert words in str(refused.value.details())


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    state = tmp_path_factory.mktemp("state")
    publish_gallery(state)
    enrol_everyone(state)
    with serving(state, workers=1, RA_GUARD_SERVER__CAPACITY_CANDIDATES="800") as server:
        yield server


def test_hostile_bytes_are_a_callers_mistake(one_worker: Serving) -> None:
    whole = request()
    for hostile in (b"", b"\xff" * 100, whole[: len(whole) // 2], whole + b"\x32\xff\xff\xff\xff\x0f"):
        with pytest.raises(grpc.RpcError) as refused:
            one_worker.call(hostile)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_deadlines_too_short_to_keep_are_answered_or_expire_and_harm_nobody(one_worker: Serving) -> None:
    outcomes: set[object] = set()
    with grpc.insecure_channel(one_worker.address) as channel:
        rerank: Any = channel.unary_unary("/ra_guard.v1.Reranker/Rerank")
        for timeout_s in (1e-6, 1e-4, 3e-4, 1e-3) * 10:
            try:
                outcomes.add(wire.RerankResponse.FromString(rerank(request(), timeout=timeout_s)).status)
            except grpc.RpcError as late:
                outcomes.add(late.code())
    answered = {wire.STATUS_BASELINE, wire.STATUS_PARTIAL, wire.STATUS_RERANKED}
    assert outcomes <= {*answered, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert one_worker.call(request()).request_id == "r-1"


def test_a_text_without_triton_is_answered_with_the_baseline(one_worker: Serving) -> None:
    message = wire.RerankRequest(request_id="r", user_id=treated(one_worker), text="a dog", candidate_ids=["image-1"])
    answer = one_worker.call(message.SerializeToString())
    assert (answer.status, answer.reason) == (wire.STATUS_BASELINE, wire.REASON_NO_FEATURES)
    assert answer.assigned_arm == wire.ARM_TREATMENT
