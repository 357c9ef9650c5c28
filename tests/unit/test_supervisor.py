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
    overrides = {
        "state_dir": str(state),
        "server": {"port": 0, "workers": 1},
        "worker": {"restart_backoff_s": 0.05},
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
    assert [call.args for call in log.calls] == [("worker_not_started",)] * HOPELESS_DEATHS


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
