"""The supervisor's decisions, without workers; tests/integration/test_serve.py has real ones."""

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ra_guard.config import load
from ra_guard.serve import EXIT_FAILED, HOPELESS_DEATHS, LONGEST_BACKOFF_S, Supervisor
from structlog.testing import CapturingLogger


def supervisor(state: Path, log: Any) -> Supervisor:
    """Of one worker, with nothing beside it."""
    overrides = {
        "state_dir": str(state),
        "server": {"port": 0, "workers": 1},
        "worker": {"restart_backoff_s": 0.05},
        "control": {"address": "127.0.0.1:1"},
        "log": {"ship_s": 0},
        "watch": {"every_s": 0},
    }
    return Supervisor(load(overrides=overrides, environ={}), log)


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("no process left")

    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.usefixtures("no_room")
def test_a_machine_without_room_ends_a_server_that_never_served(tmp_path: Path) -> None:
    log = CapturingLogger()
    assert supervisor(tmp_path, log).run() == EXIT_FAILED
    assert [call.args for call in log.calls] == [("not_started",)] * HOPELESS_DEATHS
    assert {call.kwargs["program"] for call in log.calls} == {"worker-0"}


@pytest.mark.usefixtures("no_room")
def test_a_machine_without_room_is_asked_again_once_there_was_a_worker(tmp_path: Path) -> None:
    log = CapturingLogger()
    subject = supervisor(tmp_path, log)
    subject._was_ready = True
    running = threading.Thread(target=subject.run)
    running.start()
    while len(log.calls) <= HOPELESS_DEATHS:
        running.join(0.01)
        assert running.is_alive()
    subject.stop()
    running.join()


def test_the_pause_before_a_restart_has_an_end_however_often_a_worker_dies(tmp_path: Path) -> None:
    subject = supervisor(tmp_path, CapturingLogger())
    (slot,) = subject._slots
    slot.started_at = time.monotonic()
    pauses_s = [subject._postpone(slot) for _ in range(2000)]
    subject.stop()
    subject.run()
    assert pauses_s == sorted(pauses_s)
    assert (pauses_s[0], pauses_s[1], pauses_s[-1]) == (0.05, 0.1, LONGEST_BACKOFF_S)


def programs(state: Path, **control: object) -> list[str]:
    subject = Supervisor(
        load(overrides={"state_dir": str(state), "server": {"port": 0, "workers": 2}, "control": control}, environ={}),
        CapturingLogger(),
    )
    subject.stop()
    subject.run()
    return [slot.program.name for slot in subject._slots]


def test_a_control_plane_is_started_unless_one_is_named(tmp_path: Path) -> None:
    assert programs(tmp_path, port=0) == ["control", "shipper", "watch", "worker-0", "worker-1"]
    assert programs(tmp_path, address="10.0.0.1:50052,10.0.0.2:50052") == ["shipper", "worker-0", "worker-1"]


def test_workers_are_told_where_the_control_plane_is(tmp_path: Path) -> None:
    named = "10.0.0.1:50052,10.0.0.2:50052"
    overrides = {"state_dir": str(tmp_path), "server": {"port": 0}, "control": {"address": named}}
    subject = Supervisor(load(overrides=overrides, environ={}), CapturingLogger())
    subject.stop()
    subject.run()
    assert subject.control == named
    assert {slot.program.orders.control for slot in subject._workers} == {named}  # type: ignore[attr-defined]
