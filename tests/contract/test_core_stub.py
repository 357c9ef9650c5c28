"""`_core.pyi` states the boundary; here it is held against the module that was built."""

import subprocess
import sys


def test_stub_matches_the_built_module() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "ra_guard._core"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
