"""Files of the control path: an append-only history, one plan beside it, and the lock of the one writer.

    <state_dir>/control/<key>/history.jsonl   one line per revision: who, why, what, and the full state; fsynced
    <state_dir>/control/<key>/plan.sealed     the last revision as every replica reads it
    <state_dir>/control/<key>/replicas/       what each worker last said of itself
    <state_dir>/control/<key>/LOCK            held by flock while a change is made

The history is the truth, the plan follows from it. A last line without its newline was never acknowledged to
anyone and is cut off by the next writer; any other line that cannot be read is corruption and refused.
"""

import fcntl
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ra_guard.experiments.errors import ExperimentError, HistoryCorrupt, WriterBusy
from ra_guard.experiments.model import Experiment, experiment_from, state_of

_LOCK_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history."""

    revision: int
    at: datetime
    who: str
    why: str
    what: str


@dataclass(frozen=True, slots=True)
class Revision:
    """A change and the state it led to."""

    change: Change
    experiment: Experiment
    definition: str


class History:
    """The revisions of one experiment, oldest first, in a file that only grows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Revision, ...]:
        """Every complete line; none when the file does not exist. Needs no lock. Raises HistoryCorrupt."""
        lines = self._bytes().split(b"\n")[:-1]
        revisions = tuple(self._decode(line, number) for number, line in enumerate(lines, start=1))
        for number, (older, newer) in enumerate(itertools.pairwise(revisions), start=2):
            if newer.change.revision <= older.change.revision:
                raise self._corrupt(number, f"revision {newer.change.revision} after {older.change.revision}")
        return revisions

    def append(self, revision: Revision) -> None:
        """Adds a line and makes it durable. Call under the lock, after `cut_torn_tail`."""
        with self._path.open("ab") as file:
            file.write(_encode(revision) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._path.parent)

    def cut_torn_tail(self) -> None:
        """Removes what an interrupted append left behind. Call under the lock."""
        content = self._bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def _decode(self, line: bytes, number: int) -> Revision:
        try:
            return _decode(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, ExperimentError) as cause:
            raise self._corrupt(number, f"{type(cause).__name__}: {cause}") from cause

    def _corrupt(self, number: int, cause: str) -> HistoryCorrupt:
        return HistoryCorrupt(
            found=f"{self._path.name} line {number} unreadable ({cause})",
            wanted="a revision in JSON",
            cure="restore the file from a copy, or move the experiment's folder away to start a new history",
        )


def _encode(revision: Revision) -> bytes:
    change, experiment = revision.change, revision.experiment
    line = {
        "revision": change.revision,
        "at": change.at.isoformat(),
        "who": change.who,
        "why": change.why,
        "what": change.what,
        "definition": revision.definition,
        "state": state_of(experiment),
    }
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _decode(line: Mapping[str, object]) -> Revision:
    definition, state = line["definition"], line["state"]
    if not isinstance(definition, str) or not isinstance(state, dict):
        raise TypeError("definition is not text, or state is not an object")
    experiment = experiment_from(definition, state)
    change = Change(
        revision=experiment.revision,
        at=datetime.fromisoformat(str(line["at"])),
        who=str(line["who"]),
        why=str(line["why"]),
        what=str(line["what"]),
    )
    if line["revision"] != experiment.revision:
        raise ValueError(f"line says revision {line['revision']}, its state {experiment.revision}")
    return Revision(change, experiment, definition)


@contextmanager
def exclusive(lock: Path, wait_s: float) -> Iterator[None]:
    """Holds the lock file for the block. The kernel releases it with the process, however that ends.

    Raises WriterBusy when another writer keeps it for longer than ``wait_s``.
    """
    with lock.open("ab") as file:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise WriterBusy(
                        found=f"another writer in {lock.parent.name} for {wait_s:g} s",
                        wanted="one writer at a time",
                        cure="try again when its change is done",
                    ) from None
                time.sleep(_LOCK_POLL_S)
        yield


def replace_durably(path: Path, content: bytes) -> None:
    """The file holds the old or the new content, whole, whenever the machine stops."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes created and renamed names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
