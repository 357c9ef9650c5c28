"""Objects to Parquet: one file a segment, in a folder a day, each written once and whole.

An export that is repeated writes only what is missing, and what another version of the schema wrote. A segment that
cannot be read is named and passed over; the others go on.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ra_guard._core import CoreError
from ra_guard.logs.columns import (
    SCHEMA_VERSION,
    VERSION_KEY,
    Buffers,
    RunCounts,
    candidates_table,
    counts_table,
    feedback_table,
    plans_table,
)
from ra_guard.logs.durable import appearing
from ra_guard.logs.errors import NoSuchObject, NotASegment
from ra_guard.logs.layout import (
    COUNTS,
    COUNTS_PREFIX,
    LIVE_COUNTS_PREFIX,
    SEALED,
    Kind,
    Run,
    segment_of,
)
from ra_guard.logs.objects import Listed, Objects, segments_of
from ra_guard.logs.plans import shipped_plans

PLANS_FILE: Final = "plans.parquet"
COUNTS_FILE: Final = "counts.parquet"
_COMPRESSION = "zstd"


@dataclass(frozen=True, slots=True)
class LogReader:
    """What the core reads: `_core.read_log_columns`, `_core.read_feedback` and `_core.read_counts`."""

    columns: Callable[[str], Buffers]
    feedback: Callable[[str], Sequence[tuple[int, bytes]]]
    counts: Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export is, in bytes of segments: files differ too much to count."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What one export wrote, and what it could not read."""

    exported: int
    already_there: int
    rows: int
    """In the files that were written now."""
    days: tuple[date, ...]
    plans: int
    runs: int
    refused: tuple[str, ...]
    seconds: float
    keys: frozenset[str] = frozenset()
    """Segments whose Parquet is there now."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which days to export; None leaves an end open."""

    first: date | None = None
    last: date | None = None

    def holds(self, day: date) -> bool:
        """Whether a day is in the span."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


def export(
    objects: Objects,
    out: Path,
    span: Span,
    reader: LogReader,
    tell: Callable[[Progress], None],
    steady_s: Callable[[], float] = time.monotonic,
    known: frozenset[str] = frozenset(),
) -> ExportReport:
    """Brings ``out`` up to date with the objects of some days. Raises ObjectsUnreachable or its siblings.

    ``known``: segments that an earlier export found there, so that their files need not be opened again.
    """
    started = steady_s()
    work = [
        (kind, day, listed)
        for kind in Kind
        for day in objects.days(kind)
        if span.holds(day)
        for listed in segments_of(objects, kind, day)
    ]
    total = sum(listed.size for _, _, listed in work)
    exported = already = rows = done = 0
    refused: list[str] = []
    there: set[str] = set()
    for kind, _, listed in work:
        path = out / f"{listed.key.removesuffix(SEALED)}.parquet"
        try:
            if listed.key in known or is_current(path):
                already += 1
            else:
                rows += _export_segment(objects, kind, listed.key, path, reader)
                exported += 1
            there.add(listed.key)
        except CoreError as error:
            refused.append(f"{listed.key}: {error}")
        except (NotASegment, NoSuchObject) as error:
            refused.append(str(error))
        done += listed.size
        tell(Progress(done, total))
    plans = list(shipped_plans(objects, refused))
    runs = list(_runs(objects, reader, refused))
    _write(plans_table(plans), out / PLANS_FILE)
    _write(counts_table(runs), out / COUNTS_FILE)
    days = tuple(sorted({day for _, day, _ in work}))
    seconds = steady_s() - started
    return ExportReport(exported, already, rows, days, len(plans), len(runs), tuple(refused), seconds, frozenset(there))


def is_current(path: Path) -> bool:
    """Whether a file is there, whole, and of this schema. Its footer is read, nothing else."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    return bool(metadata.get(VERSION_KEY) == SCHEMA_VERSION)


def _export_segment(objects: Objects, kind: Kind, key: str, path: Path, reader: LogReader) -> int:
    segment = segment_of(key)
    with objects.local_copy(key) as copy:
        if kind is Kind.CANDIDATES:
            table = candidates_table(segment, reader.columns(str(copy)))
        else:
            table = feedback_table(segment, reader.feedback(str(copy)))
    _write(table, path)
    return int(table.num_rows)


def _write(table: Any, path: Path) -> None:
    with appearing(path) as temporary:
        pq.write_table(table, temporary, compression=_COMPRESSION)


def _runs(objects: Objects, reader: LogReader, refused: list[str]) -> Iterator[RunCounts]:
    """Every run that has counts; the ended ones by their last word."""
    days = objects.days(Kind.CANDIDATES)
    segments = Counter(
        segment_of(listed.key).run for day in days for listed in segments_of(objects, Kind.CANDIDATES, day)
    )
    seen: set[Run] = set()
    for listed in sorted(_counts_files(objects), key=lambda listed: listed.key.startswith(LIVE_COUNTS_PREFIX)):
        run = Run.of_counts(listed.key.rpartition("/")[2])
        if run is None or run in seen:
            continue
        seen.add(run)
        try:
            with objects.local_copy(listed.key) as copy:
                counts = reader.counts(str(copy))
        except (CoreError, NoSuchObject) as error:
            refused.append(f"{listed.key}: {error}")
            continue
        offered = counts["offered"]
        yield RunCounts(
            run,
            ended=not listed.key.startswith(LIVE_COUNTS_PREFIX),
            closed=bool(counts["closed"]),
            segments=segments[run],
            whole=not days or days[0] <= run.began_on,
            **{f"offered_{arm}": int(offered[arm]) for arm in ("unassigned", "control", "treatment", "not_enrolled")},
        )


def _counts_files(objects: Objects) -> Iterator[Listed]:
    return (listed for listed in objects.under(COUNTS_PREFIX) if listed.key.endswith(COUNTS))
