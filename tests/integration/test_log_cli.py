"""`ra-guard log` as an operator uses it: a process that ships through an outage of a real S3, then every command."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ra_guard import _core
from ra_guard.cli import main
from ra_guard.logs.layout import Kind
from ra_guard.logs.objects import StoredObjects
from ra_guard.v1 import plan_pb2

from tests.integration.test_log_export import click, request
from tests.stand_ins.log_segments import at, put_segment
from tests.stand_ins.s3 import BUCKET, s3
from tests.stand_ins.serving_process import KEY, publish_gallery

WAIT_S = 60.0
PROGRAM = "import sys; from ra_guard.cli import main; sys.exit(main())"


class Shipping:
    """``ra-guard log ship`` with its lines at hand."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "log", "ship"], env=environment, stderr=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.put(json.loads(line) if line.startswith("{") else {"event": line})

    def line(self, event: str) -> dict[str, Any]:
        seen = []
        while True:
            seen.append(self._lines.get(timeout=WAIT_S))
            if seen[-1]["event"] == event:
                return seen[-1]
            assert self.process.poll() is None, seen

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code


@contextmanager
def shipping(environment: dict[str, str]) -> Iterator[Shipping]:
    process = Shipping(environment)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def test_a_process_ships_through_outages_and_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    folder = state / "logs" / "candidates"
    (tmp_path / "s3").mkdir()
    with s3(tmp_path / "s3") as store:
        environment = {
            **os.environ,
            **store.environment,
            "RA_GUARD_STATE_DIR": str(state),
            "RA_GUARD_LOG__OBJECTS": f"s3://{BUCKET}/production",
            "RA_GUARD_LOG__SHIP_S": "0.1",
            "RA_GUARD_LOG__VERIFY_SHARE": "0",
        }
        wanted = [put_segment(folder, "0", at("2026-01-02"), 0).name]
        with shipping(environment) as process:
            assert process.line("logs_shipped")["segments"] == 1
            assert "plan" in process.line("log_retention_refused")["why"]
            store.kill()
            wanted += [put_segment(folder, "0", at("2026-01-02"), number).name for number in (1, 2)]
            assert process.line("logs_wait")["waiting"] >= 1
            assert process.end(signal.SIGKILL) == -signal.SIGKILL
        assert len(list(folder.glob("*.log"))) == 2
        with shipping(environment) as process:
            process.line("logs_wait")
            store.start()
            process.line("logs_wait_no_more")
            put_segment(folder, "0", at("2026-01-03"), 3)
            wanted.append(f"0-{at('2026-01-03'):020}-000003.log")
            assert process.end(signal.SIGTERM) == 0, "what was sealed before the end is shipped with the last pass"
        assert list(folder.iterdir()) == []
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        objects = StoredObjects.open(f"s3://{BUCKET}/production")
        assert sorted(listed.key.rpartition("/")[2] for listed in objects.under("candidates/")) == sorted(wanted)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a server that has answered some calls and taken in some feedback."""
    state = tmp_path / "state"
    monkeypatch.setenv("RA_GUARD_STATE_DIR", str(state))
    monkeypatch.setenv("RA_GUARD_LOG__VERIFY_SHARE", "1")
    publish_gallery(state)
    plans = state / "run" / "plans"
    plans.mkdir(parents=True)
    plan = plan_pb2.Plan(revision=1, experiment_key=KEY, ramp_bp=5000, lease_s=60, epoch=1, retention_days=90)
    plan.default_weights.cosine = 1.0
    sealed = _core.seal_plan(plan.SerializeToString())
    (plans / f"{KEY}-1.sealed").write_bytes(sealed)
    engine = _core.Engine(query_cache_entries=1, log_dir=str(state / "logs" / "candidates"))
    engine.publish_generation(_core.Generation.open(str(state / "gallery")))
    engine.publish_plan(sealed)
    for number in range(20):
        engine.rerank(request(number, f"user-{number}"))
    engine.close_log()
    feedback = _core.FeedbackLog(folder=str(state / "logs" / "feedback"), writer="0")
    feedback.append(at("2026-03-04"), [click(1), click(2)])
    feedback.close()
    return state


Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, Any, str]:
        code = main(["log", *arguments])
        said = capsys.readouterr()
        return code, json.loads(said.out) if "--json" in arguments else said.out, said.err

    return run


def test_from_disk_to_counts_and_proofs(state: Path, run: Run) -> None:
    code, shipped, _ = run("ship", "--once", "--json")
    assert (code, shipped["shipped"], shipped["plans"], shipped["counts"], shipped["waiting"]) == (0, 2, 1, 1, 0)
    code, exported, _ = run("export", "--json")
    assert (code, exported["exported"], exported["rows"], exported["refused"]) == (0, 2, 22, [])
    assert run("export")[1].startswith(f"{state}/evidence: exported 0 segments")
    code, found, _ = run("exposures", KEY, "--json")
    arms = found["epochs"][0]["arms"]
    assert (code, sum(arm["calls"] for arm in arms), [arm["arm"] for arm in arms]) == (0, 20, ["control", "treatment"])
    assert found["feedback"]["matched"] == 2
    assert [loss["lost"] for loss in found["losses"]["arms"]] == [0, 0, 0, 0]
    table = run("exposures", KEY)[1]
    assert f"{KEY}, epoch 1, revisions 1..1" in table
    assert "click" in table
    day = exported["days"][-1]
    for target in (day, str(state / "objects" / "candidates"), str(state / "objects")):
        code, verified, _ = run("verify", target, "--json")
        assert (code, verified["records"], verified["outcomes"]) == (0, 20, {"same": 20})
    assert run("verify", day)[1] == "1 segments, 20 records: 20 same\n"


def test_verify_names_what_it_cannot_replay_and_exits_1(state: Path, run: Run, tmp_path: Path) -> None:
    (segment,) = (state / "logs" / "candidates").glob("*.log")
    assert run("verify", str(segment))[0] == 0
    (state / "run" / "plans" / f"{KEY}-1.sealed").unlink()
    code, said, _ = run("verify", str(segment))
    assert code == 1
    assert said.startswith(f"{segment.name} record 0 request 'r-0': no plan: ")
    code, _, problem = run("verify", "not-a-day")
    assert (code, "YYYY-MM-DD" in problem) == (2, True)


def test_a_pass_that_could_not_ship_everything_exits_1(state: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "logs" / "candidates" / "notes.log").write_bytes(b"")
    code, said, _ = run("ship", "--once")
    assert code == 1
    assert "notes.log" in said
    monkeypatch.setenv("RA_GUARD_LOG__OBJECTS", "ftp://somewhere")
    code, _, problem = run("ship", "--once")
    assert (code, "s3://bucket/prefix" in problem) == (2, True)


def test_retention_shows_first_and_deletes_when_told(state: Path, run: Run) -> None:
    code, said, _ = run("retention")
    assert (code, "say --days" in said) == (1, True)
    put_segment(state / "logs" / "candidates", "9", at("2020-01-01"))
    run("ship", "--once")
    objects = StoredObjects.open(str(state / "objects"))
    code, shown, _ = run("retention", "--json")
    assert (code, shown["expired"][0], shown["deleted"], shown["retention_days"]) == (0, "2020-01-01", {}, 90)
    assert len(objects.days(Kind.CANDIDATES)) == 2
    code, gone, _ = run("retention", "--delete", "--json")
    assert (code, gone["deleted"]["2020-01-01"]) == (0, 1)
    assert len(objects.days(Kind.CANDIDATES)) == 1
