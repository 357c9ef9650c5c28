"""From a worker's disk to objects: what is sealed goes up, and only then away.

One pass: seal what dead workers left open, send plans, segments and counts, in this order, so that whoever finds a
record finds its plan. Every step is safe to repeat and safe to be killed in: an object is put unless it is there,
its size is asked for, and only then is the local file removed. A store that is down or full ends a pass early; files
wait where they are, and the report says how many. Two shippers of one folder do each other no harm.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import xxhash

from ra_guard._core import LogError
from ra_guard.logs.errors import NotASegment, ObjectDiffers, ObjectsDenied, ObjectsFull, ObjectsUnreachable
from ra_guard.logs.layout import (
    COUNTS,
    SEALED,
    SEALED_PLAN,
    Kind,
    PlanName,
    Run,
    Segment,
    counts_key,
    header_of,
    live_counts_key,
    plan_key,
    segment_key,
    segment_of,
)
from ra_guard.logs.objects import Objects, Put

MOST_REFUSALS: Final = 100
"""That one report names; the others are counted by what waits."""
NOTHING_OFFERED: Final = "TornCounts"
"""Counts cut short: their writer died before it offered anything, or is about to begin."""
_CHUNK_BYTES = 1 << 20
_STORE_FAILURES = (ObjectsUnreachable, ObjectsFull, ObjectsDenied)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where workers leave what is to be shipped. A folder that does not exist yet is empty."""

    candidates: Path
    feedback: Path
    plans: Path

    def of(self, kind: Kind) -> Path:
        """The folder of one log."""
        return self.candidates if kind is Kind.CANDIDATES else self.feedback


@dataclass(frozen=True, slots=True)
class Workers:
    """What only the core knows of workers' files.

    ``recover`` seals what dead writers left open and returns the new paths and what it refused, and why;
    ``has_ended`` says of a counts file whether its run can change it any more.
    """

    recover: Callable[[Path], tuple[Sequence[Path], Sequence[str]]]
    has_ended: Callable[[Path], bool]


@dataclass(frozen=True, slots=True)
class ShipReport:
    """What one pass did, and what it leaves."""

    shipped: int = 0
    shipped_bytes: int = 0
    already_there: int = 0
    """Segments that an earlier pass had put before it was interrupted."""
    recovered: int = 0
    plans: int = 0
    counts: int = 0
    waiting: int = 0
    """Sealed segments that are still local after the pass."""
    waiting_bytes: int = 0
    refused: tuple[str, ...] = ()
    """Files that no later pass will ship by itself, and why."""
    failure: str | None = None
    """Why the pass ended early: the store is down, full or closed to us."""


class Shipper:
    """Ships one worker group's folders. ``examine`` sees each candidate segment before it goes."""

    def __init__(
        self, folders: Folders, objects: Objects, workers: Workers, examine: Callable[[Path], None] | None = None
    ) -> None:
        self._folders = folders
        self._objects = objects
        self._workers = workers
        self._examine = examine
        self._examined: set[str] = set()
        self._plans_sent: set[str] = set()

    def run_once(self) -> ShipReport:
        """One pass. Raises nothing that a store or a single file causes: the report has it."""
        report = ShipReport()
        for step in (self._recover, self._send_plans, self._send_segments, self._send_counts):
            try:
                report = step(report)
            except _STORE_FAILURES as error:
                report = replace(report, failure=str(error))
                break
        return self._with_waiting(report)

    def run(self, stop: threading.Event, every_s: float, tell: Callable[[ShipReport], None]) -> None:
        """Passes until ``stop``, and one last pass then."""
        while True:
            stopping = stop.is_set()
            tell(self.run_once())
            if stopping:
                return
            stop.wait(every_s)

    def _recover(self, report: ShipReport) -> ShipReport:
        for kind in Kind:
            folder = self._folders.of(kind)
            if not folder.is_dir():
                continue
            try:
                sealed, refused = self._workers.recover(folder)
            except LogError as error:
                report = _refusing(report, f"{folder}: {error}")
                continue
            report = _refusing(replace(report, recovered=report.recovered + len(sealed)), *refused)
        return report

    def _send_plans(self, report: ShipReport) -> ShipReport:
        """Plans stay on the worker's disk, which starts from them: those sent are remembered while they are there."""
        present = {path.name for path in _files(self._folders.plans, SEALED_PLAN)}
        self._plans_sent &= present
        for name in sorted(present - self._plans_sent):
            plan = PlanName.of_file(name)
            path = self._folders.plans / name
            try:
                if plan is None:
                    raise NotASegment(f"{path}: found this name, wanted <key>-<revision>.sealed; move the file away")
                put = self._put(plan_key(plan.key, plan.revision), path)
            except (ObjectDiffers, NotASegment) as error:
                report = _refusing(report, str(error))
                continue
            except FileNotFoundError:
                continue
            self._plans_sent.add(name)
            report = replace(report, plans=report.plans + (put is Put.STORED))
        return report

    def _send_segments(self, report: ShipReport) -> ShipReport:
        waiting = [(path, kind) for kind in Kind for path in _files(self._folders.of(kind), SEALED)]
        self._examined &= {path.name for path, _ in waiting}
        for path, kind in waiting:
            try:
                report = self._send_segment(path, kind, report)
            except (NotASegment, ObjectDiffers) as error:
                report = _refusing(report, str(error))
            except FileNotFoundError:
                continue  # another shipper was faster
        return report

    def _send_segment(self, path: Path, kind: Kind, report: ShipReport) -> ShipReport:
        header = header_of(path)
        if header.kind is not kind:
            raise NotASegment(
                f"{path}: found a segment of {header.kind.value}, wanted {kind.value}; move the file away"
            )
        key = segment_key(kind, header.begun_on, segment_of(path))
        if kind is Kind.CANDIDATES and self._examine is not None and path.name not in self._examined:
            self._examine(path)
            self._examined.add(path.name)
        size = path.stat().st_size
        put = self._put(key, path)
        path.unlink(missing_ok=True)
        return replace(
            report,
            shipped=report.shipped + (put is Put.STORED),
            shipped_bytes=report.shipped_bytes + (size if put is Put.STORED else 0),
            already_there=report.already_there + (put is Put.PRESENT),
        )

    def _send_counts(self, report: ShipReport) -> ShipReport:
        for path in _files(self._folders.candidates, COUNTS):
            run = Run.of_counts(path.name)
            try:
                if run is None:
                    raise NotASegment(f"{path}: found this name, wanted <writer>-<run>.counts; move the file away")
                report = replace(report, counts=report.counts + self._send_run(path, run))
            except (NotASegment, ObjectDiffers) as error:
                report = _refusing(report, str(error))
            except LogError as error:
                if error.variant != NOTHING_OFFERED:
                    report = _refusing(report, f"{path}: {error}")
            except FileNotFoundError:
                continue
        return report

    def _send_run(self, path: Path, run: Run) -> int:
        """An ended run's counts follow its last segment; a living one's are shown as they stand."""
        # Asked before the look at its segments: what an ended run wrote is then all there.
        ended = self._workers.has_ended(path)
        if not ended or run in self._runs_with_segments():
            self._objects.replace(live_counts_key(run), path.read_bytes())
            return 0
        put = self._put(counts_key(run), path)
        self._objects.delete([live_counts_key(run)])
        path.unlink(missing_ok=True)
        return int(put is Put.STORED)

    def _runs_with_segments(self) -> set[Run]:
        folder = self._folders.candidates
        segments = (Segment.of_name(path.name) for path in (folder.iterdir() if folder.is_dir() else ()))
        return {segment.run for segment in segments if segment is not None}

    def _put(self, key: str, path: Path) -> Put:
        """An object with the file's bytes is under the key when this returns. Raises ObjectDiffers."""
        with path.open("rb") as file:
            put = self._objects.put_new(key, file)
        wanted, found = path.stat().st_size, self._objects.size(key)
        if found != wanted:
            raise ObjectDiffers(
                f"{path}: found {found} bytes under {key}, wanted {wanted}; compare the two, then move one away"
            )
        if put is Put.PRESENT and not self._same_bytes(key, path):
            raise ObjectDiffers(f"{path}: found other bytes under {key}; compare the two, then move one away")
        return put

    def _same_bytes(self, key: str, path: Path) -> bool:
        with self._objects.local_copy(key) as copy:
            return _digest(copy) == _digest(path)

    def _with_waiting(self, report: ShipReport) -> ShipReport:
        sizes = list(_sizes(path for kind in Kind for path in _files(self._folders.of(kind), SEALED)))
        return replace(report, waiting=len(sizes), waiting_bytes=sum(sizes))


def _files(folder: Path, suffix: str) -> list[Path]:
    """By name, and so by writer and time."""
    return sorted(path for path in folder.iterdir() if path.suffix == suffix) if folder.is_dir() else []


def _sizes(paths: Iterator[Path]) -> Iterator[int]:
    for path in paths:
        try:
            yield path.stat().st_size
        except FileNotFoundError:
            continue


def _refusing(report: ShipReport, *why: str) -> ShipReport:
    return replace(report, refused=(*report.refused, *why)[:MOST_REFUSALS])


def _digest(path: Path) -> bytes:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
