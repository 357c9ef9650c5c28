"""What the README tells people to type works: its Python runs against the demo's stage, its commands exist."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ra_guard.cli import app, main
from ra_guard.cli.demo_stage import Stage, stage
from ra_guard.client import ExperimentClient, RerankClient
from ra_guard.config import load
from ra_guard.v1 import experiment_pb2 as control

from tests.triton_environment import ROOT

ADDRESS = "127.0.0.1:50051"
"""Where the README says that the server is."""
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CONSOLE = re.findall(r"^\$ (.*)$", README, re.MULTILINE)
INLINE = re.findall(r"`([^`\n]+)`", README)
FIRST_STAGE_BP = 100
EVERYONE_BP = 5000
CONNECTIONS = 8
"""Enough that each worker embeds a text before the README's own, whose deadline is a real one."""


def commands(program: str) -> list[list[str]]:
    """Every mention of a program with its words, `status|assign` spelt out, comments left out."""
    lines = [shlex.split(line, comments=True) for line in (*CONSOLE, *(each for each in INLINE if "'" not in each))]
    return [spelt for words in lines if words[:1] == [program] for spelt in spell_out(words[1:])]


def spell_out(words: list[str]) -> Iterator[list[str]]:
    for position, word in enumerate(words):
        if "|" in word:
            for choice in word.split("|"):
                yield from spell_out([*words[:position], choice, *words[position + 1 :]])
            return
    yield words


@contextmanager
def silently(_: str) -> Iterator[None]:
    yield


@pytest.fixture(scope="module")
def staged() -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        installed = load()
        patch.setenv("RA_GUARD_STATE_DIR", str(ROOT / installed.state_dir))
        patch.chdir(ROOT)
        with stage(silently) as ready:
            signed: dict[str, Any] = {"key": ready.experiment, "who": "a test", "why": "to try it"}
            with ExperimentClient(ready.control) as experiment:
                experiment.approve(control.ApproveRequest(ramp_bp=FIRST_STAGE_BP, **signed))
                pace = control.PACE_SKIPPING_STAGES
                experiment.ramp(control.RampRequest(ramp_bp=EVERYONE_BP, pace=pace, **signed))
            for number in range(CONNECTIONS):
                with RerankClient(ready.address, timeout_s=30) as client:
                    client.rerank(query=f"warm {number}", user_id="user-1", candidate_ids=["coffee"])
            yield ready


def test_there_is_python_to_run_and_there_are_commands() -> None:
    assert PYTHON
    assert all(ADDRESS in block for block in PYTHON)
    assert {"demo", "serve", "test"} <= {words[0] for words in commands("make")}
    assert len(commands("ra-guard")) >= 5


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.splitlines()[0])
def test_python_in_the_readme_runs(staged: Stage, block: str, tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text(block.replace(ADDRESS, staged.address))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_make_knows_the_target(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words[0] in targets


@pytest.mark.parametrize("words", commands("ra-guard"), ids=" ".join)
def test_the_command_exists_with_its_options(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = app
    path: list[str] = []
    for word in words:
        # A group has commands and nothing else; what follows a command are its own arguments.
        if not any(not name.startswith("-") for name in command) or word.startswith("-"):
            break
        assert word in command, f"ra-guard {' '.join([*path, word])}"
        command = command[word]
        path.append(word)
    assert path
    assert main([*path, "--help"]) == 0
    helped = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert option in helped
