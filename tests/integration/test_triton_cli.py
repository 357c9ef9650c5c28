"""`ra-guard models` as a person or a script meets it: a process, its output, its exit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ra_guard
from ra_guard.models.triton_server import Ports, refuse_taken_ports

from tests.stand_ins import clip_pair
from tests.triton_environment import ROOT, triton_environment

pytestmark = pytest.mark.triton

# The group by itself: which exit code an error gets is the whole command line's business.
COMMAND = "from ra_guard.cli.models import app; app()"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(Path(ra_guard.__file__).parents[1]),
        "RA_GUARD_STATE_DIR": str(tmp_path / "state"),
        "RA_GUARD_TRITON__PYTHON": str(triton_environment().python),
    }


def run(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_pulled_space_is_listed(environ: dict[str, str], tmp_path: Path) -> None:
    assert json.loads(run(environ, "list", "--json").stdout) == []
    pair = clip_pair.write(tmp_path / "Tiny.CLIP")
    pulled = json.loads(run(environ, "pull", "--from", str(pair), "--space", "tiny", "--json").stdout)
    assert (pulled["outcome"], pulled["space"], pulled["dim"]) == ("built", "tiny", clip_pair.DIM)
    (listed,) = json.loads(run(environ, "list", "--json").stdout)
    assert listed["fingerprint"] == pulled["fingerprint"]
    assert "tiny" in run(environ, "list").stdout


def test_a_folder_without_a_pair_fails_and_says_what_was_wanted(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(environ, "pull", "--from", str(tmp_path / "empty"))
    assert done.returncode != 0
    assert "wanted one of them" in done.stderr


def test_serve_runs_until_it_is_told_to_stop(environ: dict[str, str], tmp_path: Path) -> None:
    pair = clip_pair.write(tmp_path / "pair")
    assert run(environ, "pull", "--from", str(pair), "--space", "tiny").returncode == 0
    ports = Ports.free()
    options = [f"--grpc-port={ports.grpc}", f"--http-port={ports.http}", f"--metrics-port={ports.metrics}"]
    command = [sys.executable, "-c", COMMAND, "serve", "--space", "tiny", *options]
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert f"serving tiny at 127.0.0.1:{ports.grpc}" in serving.stdout.readline()
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
    refuse_taken_ports(ports)


def test_serving_an_absent_space_fails_and_names_the_cure(environ: dict[str, str]) -> None:
    done = run(environ, "serve", "--space", "nothing")
    assert done.returncode != 0
    assert "ra-guard models build" in done.stderr
