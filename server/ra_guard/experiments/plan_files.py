"""Plans beside the logs: every plan that this machine served, as it was sealed.

Replaying a log needs them, and a worker that starts without a control plane reads from the latest who belongs to
which arm. A plan from a file never grants a lease: nobody is treated by it.

    <plan_dir>/<key>-<revision>.sealed     a serialised SealedPlan, written once, by rename
"""

import os
import tempfile
from pathlib import Path

SUFFIX = ".sealed"


class PlanFiles:
    """The folder. Any process may write: equal revisions are equal bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, key: str, revision: int, sealed: bytes) -> None:
        """Stores a plan, unless it is there. Raises OSError."""
        path = self._folder / f"{key}-{revision}{SUFFIX}"
        if path.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def latest(self, key: str) -> bytes | None:
        """The plan of the highest revision; None where there is none. Raises OSError."""
        revisions = [revision for stored, revision, _ in self.list() if stored == key]
        return (self._folder / f"{key}-{max(revisions)}{SUFFIX}").read_bytes() if revisions else None

    def list(self) -> list[tuple[str, int, Path]]:
        """Key, revision and file of every plan; files of other names are not ours."""
        found = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            key, _, revision = path.name.removesuffix(SUFFIX).rpartition("-")
            if key and revision.isdecimal():
                found.append((key, int(revision), path))
        return found
