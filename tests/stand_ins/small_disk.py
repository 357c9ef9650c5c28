"""A file system of a few megabytes, mounted for one process and its children only."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BALLAST_BYTES = 4 << 20


def on_small_disk(folder: Path, *, megabytes: int) -> tuple[str, ...]:
    """A launcher: what is started through it sees a small file system at ``folder``.

    There is ``space/``, which nobody owns, beside a ballast that `make_room` takes away.
    """
    folder.mkdir(exist_ok=True)
    script = (
        f"mountpoint -q '{folder}' || mount -t tmpfs -o size={megabytes}M none '{folder}'; "
        f"mkdir -p '{folder}/space' && chown nobody '{folder}/space' && "
        f"head -c {BALLAST_BYTES} /dev/zero > '{folder}/ballast' && "
        'exec "$0" "$@"'
    )
    return ("unshare", "--mount", "sh", "-c", script)


def make_room(process: int, folder: Path) -> None:
    """Takes the ballast off the file system that a launched process sees."""
    Path(f"/proc/{process}/root{folder}/ballast").unlink()


def _can_mount() -> bool:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "mount"))):
        return False
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not _can_mount(), reason="needs root and mount namespaces")
