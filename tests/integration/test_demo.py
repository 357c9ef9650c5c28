"""`ra-guard demo` as a person runs it, and as a person breaks it off."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from ra_guard.cli.demo_stage import PHOTOGRAPHS
from ra_guard.config import load

from tests.triton_environment import ROOT

pytestmark = [pytest.mark.triton, pytest.mark.slow]

COMMAND = [sys.executable, "-c", "import sys; from ra_guard.cli import main; sys.exit(main())", "demo"]
LONGEST_S = 300


def environment(temporary: Path) -> Mapping[str, str]:
    temporary.mkdir()
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "server"),
        "RA_GUARD_STATE_DIR": str(ROOT / load().state_dir),
        "TMPDIR": str(temporary),
    }


def left_over(temporary: Path) -> list[str]:
    """Command lines of processes that name the demo's temporary folder, or have it as theirs."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except (OSError, ValueError):
            continue
        if folder.name.isdigit() and int(folder.name) != os.getpid() and os.fsencode(temporary) in words:
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_every_photograph_is_in_its_package_and_there_are_enough() -> None:
    assert len({photo.file().read_bytes() for photo in PHOTOGRAPHS}) == len(PHOTOGRAPHS) >= 16
    assert {"cocktails", "flowers", "professional"} <= {photo.domain for photo in PHOTOGRAPHS}


def test_the_demo_shows_everything_and_leaves_nothing(tmp_path: Path) -> None:
    temporary = tmp_path / "t"
    done = subprocess.run(
        COMMAND,
        capture_output=True,
        text=True,
        check=False,
        env=dict(environment(temporary)),
        timeout=LONGEST_S,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in ("RERANKED", "PARTIAL", "chelsea (cold)", "BASELINE, KILLED", "expects cup 1.00", "draws 5"):
        assert shown in done.stdout
    assert list(temporary.iterdir()) == []
    assert left_over(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("once_seen", ["RA-Guard reranks", "the text, image and detector models"])
def test_breaking_it_off_leaves_nothing(tmp_path: Path, number: signal.Signals, once_seen: str) -> None:
    temporary = tmp_path / "t"
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            COMMAND,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=dict(environment(temporary)),
            cwd=ROOT,
            # A shell that starts the tests in the background has them ignore SIGINT, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
    ):
        assert process.stdout is not None
        assert any(once_seen in line for line in process.stdout)
        time.sleep(1.0)  # into the middle of the next step
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(LONGEST_S) == 130
        errors.seek(0)
        assert b"Traceback" not in errors.read()
    assert list(temporary.iterdir()) == []
    assert left_over(temporary) == []
