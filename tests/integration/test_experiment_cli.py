"""`ra-guard experiment` and `ra-guard rerank` as a person runs them: arguments in, text and exit code out."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from ra_guard import _core
from ra_guard.cli import main
from ra_guard.experiments.model import Author
from ra_guard.experiments.publish import ControlFolder
from ra_guard.experiments.replicas import PlanWatcher, ReplicaBoard
from ra_guard.rpc.experiment_admin import ExperimentAdmin, experiment_admin_handlers

KEY = "ra_guard_enhancement"
VECTORS = Path(__file__).parents[1] / "vectors" / "growthbook_hash.json"
ROUNDS_OF_KILLING = 8


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    error: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Ran:
        code = main(arguments)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@dataclass(frozen=True)
class Fleet:
    """A server with two workers that watch one plan, as `ra-guard serve` runs them."""

    state_dir: Path
    address: str
    engines: tuple[_core.Engine, ...]
    board: ReplicaBoard


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    control = ControlFolder(tmp_path / "control")
    publisher = control.ensure(KEY, Author("tests", "first start"))
    board = ReplicaBoard(control.folder(KEY) / "replicas")
    engines = tuple(_core.Engine(query_cache_entries=1) for _ in range(2))
    watchers = [PlanWatcher(publisher.plan, engine, board, f"w{n}") for n, engine in enumerate(engines)]
    errors: list[Exception] = []
    stop = threading.Event()
    threads = [threading.Thread(target=watcher.run, args=(stop, errors.append, 0.01)) for watcher in watchers]
    for watcher, thread in zip(watchers, threads, strict=True):
        watcher.poll()
        thread.start()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((experiment_admin_handlers(ExperimentAdmin(control, watchers[0])),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Fleet(tmp_path, f"127.0.0.1:{port}", engines, board)
    server.stop(None).wait()
    stop.set()
    for thread in threads:
        thread.join(30)
    assert errors == []


@pytest.mark.parametrize(("seed", "unit", "version", "bucket"), json.loads(VECTORS.read_text())["cases"])
def test_assign_offline_gives_the_published_buckets(
    run: Any, seed: str, unit: str, version: int, bucket: float
) -> None:
    assert version == 2
    ran = run("experiment", "assign", "--key", seed, "--salt", "", "--unit", unit, "--json")
    assert (ran.code, ran.error) == (0, "")
    assert ran.json["bucket"] == bucket


def test_assign_offline_salts_the_seed_and_shows_ranges(run: Any) -> None:
    ran = run("experiment", "assign", "--key", "k", "--salt", "s", "--unit", "u", "--ramp", "10%", "--json")
    bucket = _core.bucket("k:s", "u")
    assert ran.json["bucket"] == bucket / 10_000
    assert ran.json["treatment"] == [0.0, 0.1]
    assert ran.json["control"] == [0.5, 0.6]
    assert ran.json["arm"] in {"treatment", "control", "not_enrolled"}


def test_the_life_of_an_experiment(run: Any, fleet: Fleet) -> None:
    at = ("--server", fleet.address, "--json")
    status = run("experiment", "status", *at).json
    assert (status["revision"], status["ramp_percent"], status["killed"]) == (1, 0.0, False)
    ramped = run("experiment", "ramp", "5%", "--why", "first stage", "--who", "ana", *at).json
    assert (ramped["revision"], ramped["ramp_percent"], ramped["acked"]) == (2, 5.0, ["w0", "w1"])
    killed = run("experiment", "kill", "--why", "too slow", *at).json
    assert (killed["revision"], killed["killed"], killed["acked"], killed["waiting"]) == (3, True, ["w0", "w1"], [])
    assert killed["acknowledged_s"] >= 0
    assert [engine.plan_revision() for engine in fleet.engines] == [3, 3]
    assert run("experiment", "kill", "--why", "again", *at).json["revision"] == 3
    resumed = run("experiment", "resume", "--why", "fixed", *at).json
    assert (resumed["epoch"], resumed["salt"], resumed["ramp_percent"]) == (2, "epoch-2", 0.0)
    history = run("experiment", "status", *at).json["history"]
    assert [change["why"] for change in history] == ["first start", "first stage", "too slow", "fixed"]
    assert history[1]["who"] == "ana"
    assert history[2]["who"]


def test_kill_counts_a_silent_replica_by_its_lease(run: Any, fleet: Fleet) -> None:
    fleet.board.report("gone", 1, datetime.now(UTC) - timedelta(minutes=2))
    killed = run("experiment", "kill", "--why", "too slow", "--server", fleet.address, "--json").json
    assert (killed["acked"], killed["expired"]) == (["w0", "w1"], ["gone"])


def test_kill_waits_for_a_replica_until_its_lease_runs_out(run: Any, fleet: Fleet) -> None:
    # Live, behind, and half a second from where its lease of 60 s has surely run out.
    fleet.board.report("slow", 1, datetime.now(UTC) - timedelta(seconds=60.5))
    killed = run("experiment", "kill", "--why", "too slow", "--server", fleet.address, "--json").json
    assert killed["acked"] == ["w0", "w1"]
    assert killed["expired"] == ["slow"]


def test_kill_without_a_server_reaches_running_workers(run: Any, fleet: Fleet) -> None:
    ran = run("experiment", "kill", "--why", "no server answers", "--state-dir", str(fleet.state_dir))
    assert ran.code == 0
    assert "revision 2, 2 replicas acknowledged" in ran.out
    assert [engine.plan_revision() for engine in fleet.engines] == [2, 2]


def test_the_key_is_asked_for_once_there_are_two(run: Any, fleet: Fleet) -> None:
    ControlFolder(fleet.state_dir / "control").ensure("second", Author("tests", "another"))
    ran = run("experiment", "kill", "--why", "which?", "--server", fleet.address)
    assert (ran.code, ran.out) == (2, "")
    assert KEY in ran.error
    assert "second" in ran.error
    assert run("experiment", "kill", "--why", "this", "--key", "second", "--server", fleet.address).code == 0
    assert [engine.plan_revision() for engine in fleet.engines] == [1, 1]


def test_status_for_people(run: Any, fleet: Fleet) -> None:
    run("experiment", "ramp", "5", "--why", "[bold]stage[/bold]", "--server", fleet.address)
    ran = run("experiment", "status", "--server", fleet.address)
    assert ran.code == 0
    for shown in (KEY, "live", "5 %", "w0", "w1", "in force", "ramp 0 % to 5 %", "[bold]stage[/bold]"):
        assert shown in ran.out


def test_assign_through_the_server(run: Any, fleet: Fleet) -> None:
    run("experiment", "ramp", "50", "--why", "everyone", "--server", fleet.address)
    found = run("experiment", "assign", "--unit", "u", "--server", fleet.address, "--json").json
    assert found["bucket"] == _core.bucket(KEY, "u") / 10_000
    assert found["arm"] == found["served_arm"]
    run("experiment", "kill", "--why", "stop", "--server", fleet.address)
    assert run("experiment", "assign", "--unit", "u", "--server", fleet.address, "--json").json["reason"] == "killed"


NOBODY = ("--server", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("experiment", "ramp", "51", "--why", "w", *NOBODY), 2),
        (("experiment", "ramp", "0.001", "--why", "w", *NOBODY), 2),
        (("experiment", "ramp", "lots", "--why", "w", *NOBODY), 2),
        (("experiment", "ramp", "nan", "--why", "w", *NOBODY), 2),
        (("experiment", "ramp", "1e999999", "--why", "w", *NOBODY), 2),
        (("experiment", "assign", "--salt", "", "--unit", "u"), 2),
        (("experiment", "ramp", "5", *NOBODY), 2),
        (("experiment", "kill", "--why", "", "--state-dir", "missing"), 2),
        (("experiment", "status", "--state-dir", "missing"), 2),
        (("experiment", "assign", "--key", "a/b", "--salt", "", "--unit", "u"), 2),
        (("experiment", "assign", "--key", "k", "--salt", "", "--unit", ""), 2),
        (("experiment", "assign", "--unit", "u", "--ramp", "5", *NOBODY), 2),
        (("explode",), 2),
        (("experiment", "explode"), 2),
        (("experiment", "status", "--colour"), 2),
        (("rerank",), 2),
        (("rerank", "q", "a", "--pool-size", "3", *NOBODY), 2),
        (("rerank", "q", "a", "-", *NOBODY), 2),
        (("rerank", "q", "a", "--colour", *NOBODY), 2),
        (("rerank", "q", "--ids-from", "missing.txt", *NOBODY), 1),
        (("rerank", "q", "a", *NOBODY), 1),
        (("experiment", "status", *NOBODY), 1),
    ],
)
def test_failures_are_one_line_and_an_exit_code(run: Any, arguments: tuple[str, ...], code: int) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.error.startswith("error: ")
    assert ran.error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("resume", "--why", "w"), 1),
        (("status", "--key", "nobody"), 2),
        (("ramp", "5", "--why", "w" * 600), 2),
    ],
)
def test_a_servers_refusal_is_an_exit_code_too(run: Any, fleet: Fleet, arguments: tuple[str, ...], code: int) -> None:
    ran = run("experiment", *arguments, "--server", fleet.address)
    assert (ran.code, ran.out) == (code, "")
    assert "wanted" in ran.error


RAMPING = """
import itertools, sys
from pathlib import Path
from ra_guard.experiments.model import Author
from ra_guard.experiments.publish import ControlFolder
publisher = ControlFolder(Path(sys.argv[1])).ensure("k", Author("a", "b"))
for step in itertools.count():
    print(publisher.ramp((100, 500)[step % 2], Author("a", "b")).revision, flush=True)
"""


def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    control = ControlFolder(tmp_path / "control")
    acknowledged = 0
    for round_ in range(ROUNDS_OF_KILLING):
        command = [sys.executable, "-c", RAMPING, str(tmp_path / "control")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            # The kill falls wherever the child happens to be once so many changes are through.
            for _ in range(1 + 3 * round_):
                acknowledged = int(child.stdout.readline())
            child.kill()
            rest = child.stdout.read().splitlines(keepends=True)
        acknowledged = max([acknowledged, *(int(line) for line in rest if line.endswith("\n"))])
        publisher = control.ensure("k", Author("a", "after the crash"))
        assert publisher.current().revision >= acknowledged
        assert publisher.plan.revision() == publisher.current().revision
        assert [revision.change.revision for revision in publisher.revisions()] == list(
            range(1, publisher.current().revision + 1)
        )
