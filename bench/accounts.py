"""What candidate logs hold against what was offered to them, after workers died: records replayed, losses known.

A record is offered, counted by its assigned arm, then queued, written, sealed. The counts outlive a killed worker in a
file of their own, so what is missing from the sealed segments of a run is known: offered less sealed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ra_guard import _core

from bench.mix import number_of
from bench.progress import Tell

ARMS = ("unassigned", "control", "treatment", "not_enrolled")
"""As counts files name them, in the order of `ra_guard.v1.Arm`."""
ENROLLED = ("control", "treatment")
"""Whose calls are logged."""
EXAMPLES = 5
"""Of each kind of trouble, kept by name."""


@dataclass
class Sealed:
    """What the sealed segments hold."""

    records: int = 0
    bytes: int = 0
    by_run: dict[str, Counter[str]] = field(default_factory=dict)
    """Records by arm; a run is a writer's life, ``<writer>-<run>`` in file names."""
    by_mode: Counter[int] = field(default_factory=Counter)
    times: bytearray = field(default_factory=bytearray)
    """One byte a call: how often its request id is sealed."""
    arms: bytearray = field(default_factory=bytearray)
    """One byte a call: one more than the assigned arm in its record, 0 without one."""
    different: list[str] = field(default_factory=list)
    """Records that do not replay to the same bits: the first ones, and what differs."""
    unreadable: list[str] = field(default_factory=list)
    """Segments and records of which it cannot be told."""
    strange: list[str] = field(default_factory=list)
    """Request ids that nobody sent."""
    troubles: Counter[str] = field(default_factory=Counter)
    """How many of each of the three."""

    def note(self, kind: str, what: str) -> None:
        """Counts a trouble, and keeps the first few."""
        self.troubles[kind] += 1
        kept: list[str] = getattr(self, kind)
        if len(kept) < EXAMPLES:
            kept.append(what)


@dataclass(frozen=True)
class Offered:
    """What the counts files say."""

    by_run: Mapping[str, Mapping[str, int]]
    closed: int
    """Runs that came to their end by themselves."""
    never_began: int
    """Runs that died before they offered anything."""


def read_sealed(folder: Path, replay: _core.Replay, calls: int, tell: Tell) -> Sealed:
    """Reads and replays every sealed segment of a folder. ``calls``: so many were numbered."""
    sealed = Sealed(times=bytearray(calls), arms=bytearray(calls))
    for segment in sorted(folder.glob("*.log")):
        try:
            records, columns = _core.read_log(str(segment)), _core.read_log_columns(str(segment))
        except _core.LogError as error:
            sealed.note("unreadable", f"{segment.name}: {error}")
            continue
        ids, arms, modes = _texts(columns["request_id"]), _bytes(columns["assigned_arm"]), _bytes(columns["mode"])
        run = sealed.by_run.setdefault(run_of(segment), Counter())
        for place, (record, name, arm) in enumerate(zip(records, ids, arms, strict=True)):
            run[ARMS[arm]] += 1
            _replay(replay, record, f"{segment.name} record {place} ({name})", sealed.note)
            number = number_of(name)
            if number is None or number >= calls:
                sealed.note("strange", f"{segment.name}: {name}")
                continue
            sealed.times[number] = min(255, sealed.times[number] + 1)
            sealed.arms[number] = arm + 1
        sealed.by_mode.update(modes)
        sealed.records += len(records)
        sealed.bytes += segment.stat().st_size
        tell(sealed.bytes)
    return sealed


def read_offered(folder: Path) -> Offered:
    """Reads every counts file of a folder."""
    by_run: dict[str, Mapping[str, int]] = {}
    closed = never_began = 0
    for path in sorted(folder.glob("*.counts")):
        try:
            counts: dict[str, Any] = _core.read_counts(str(path))
        except _core.LogError as error:
            if error.variant != "TornCounts":
                raise
            never_began += 1
            continue
        by_run[path.stem] = counts["offered"]
        closed += counts["closed"]
    return Offered(by_run, closed, never_began)


def run_of(segment: Path) -> str:
    """The writer and run that a segment's name carries: all but its sequence number."""
    return segment.stem.rpartition("-")[0]


def by_arm(runs: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    """The sum over runs."""
    total: Counter[str] = Counter()
    for counts in runs.values():
        total.update(counts)
    return total


def _replay(replay: _core.Replay, record: bytes, where: str, note: Callable[[str, str], None]) -> None:
    try:
        difference = replay.check(record)
    except _core.CoreError as error:
        note("unreadable", f"{where}: {error}")
        return
    if difference is not None:
        note("different", f"{where}: {difference}")


def _texts(column: tuple[str, list[bytes]]) -> Iterator[str]:
    """A column of texts in Arrow's layout."""
    offsets, text = column[1]
    ends = np.frombuffer(offsets, "<i4").tolist()
    for start, end in pairwise(ends):
        yield text[start:end].decode()


def _bytes(column: tuple[str, list[bytes]]) -> list[int]:
    """A column of bytes in Arrow's layout."""
    return list(column[1][0])
