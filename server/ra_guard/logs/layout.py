"""Names: of segments on a worker's disk, and of the objects that they become. FORMAT.md says the same in words.

A segment belongs to the UTC day on which it was begun, and its object's name is the segment's: names decide where
everything goes, so that a step that is repeated finds what it did before.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Final, Self

from ra_guard.logs.errors import BadDay, NotASegment

SEALED: Final = ".log"
COUNTS: Final = ".counts"
SEALED_PLAN: Final = ".sealed"
_SEGMENT_NAME = re.compile(r"(?P<writer>[A-Za-z0-9_.-]{1,32})-(?P<run>\d{20})-(?P<sequence>\d{6,})\.(log|open)")
_RUN_NAME = re.compile(r"(?P<writer>[A-Za-z0-9_.-]{1,32})-(?P<run>\d{20})\.counts")
_PLAN_NAME = re.compile(r"(?P<key>[A-Za-z0-9_.-]{1,64})-(?P<revision>[1-9]\d*)\.sealed")
_HEADER = struct.Struct("<8sIIQ32sII")
_MAGIC = b"RAGCLOG\n"
_CHECKED_BYTES = 60
_NS_PER_S = 1_000_000_000


class Kind(Enum):
    """The two logs, in the order of their numbers in headers; the value is the name of the folder of each."""

    CANDIDATES = "candidates"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """One writer's life: its name, and the time of its first record in Unix nanoseconds."""

    writer: str
    run: int

    @classmethod
    def of_counts(cls, name: str) -> Self | None:
        """From the name of a counts file; None for any other name."""
        match = _RUN_NAME.fullmatch(name)
        return None if match is None else cls(match["writer"], int(match["run"]))

    @property
    def counts_name(self) -> str:
        """Of the file with what this run offered to its log."""
        return f"{self.writer}-{self.run:020}{COUNTS}"

    @property
    def began_on(self) -> date:
        """The UTC day of its first record; the last one there is for a time beyond the calendar."""
        return _day(self.run) or date.max


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One segment of a run; they count from 0."""

    run: Run
    sequence: int

    @classmethod
    def of_name(cls, name: str) -> Self | None:
        """From a file's name, sealed or open; None for any other name."""
        match = _SEGMENT_NAME.fullmatch(name)
        return None if match is None else cls(Run(match["writer"], int(match["run"])), int(match["sequence"]))

    @property
    def stem(self) -> str:
        """The name without what follows the last dot."""
        return f"{self.run.writer}-{self.run.run:020}-{self.sequence:06}"


def segment_of(path: Path | str) -> Segment:
    """The segment that a sealed file or its object holds, by its name. Raises NotASegment."""
    name = path.name if isinstance(path, Path) else path.rpartition("/")[2]
    segment = Segment.of_name(name)
    if segment is None or not name.endswith(SEALED):
        raise NotASegment(f"{path}: found this name, wanted <writer>-<run>-<sequence>.log; move the file away")
    return segment


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of itself."""

    kind: Kind
    begun_on: date
    """The UTC day of its first record."""


def header_of(path: Path) -> Header:
    """The header of a segment, sealed or open. Raises NotASegment."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise NotASegment(f"{path}: found {len(header)} bytes, wanted a header of {_HEADER.size}; move the file away")
    magic, _, kind, created_ns, _, _, crc = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise NotASegment(f"{path}: found magic {magic!r}, wanted {_MAGIC!r}; move the file away")
    if crc != zlib.crc32(header[:_CHECKED_BYTES]):
        raise NotASegment(f"{path}: found a header that its checksum contradicts; restore the file from a copy")
    day = _day(created_ns)
    if day is None:
        raise NotASegment(f"{path}: found creation {created_ns} ns, wanted a time before the year 10000")
    if kind >= len(Kind):
        raise NotASegment(
            f"{path}: found kind {kind}, wanted one of {len(Kind)}; read it with the release that wrote it"
        )
    return Header(list(Kind)[kind], day)


def _day(unix_ns: int) -> date | None:
    try:
        return datetime.fromtimestamp(unix_ns // _NS_PER_S, UTC).date()
    except (ValueError, OverflowError):
        return None


def segment_key(kind: Kind, day: date, segment: Segment) -> str:
    """Where a sealed segment lies among the objects."""
    return f"{day_prefix(kind, day)}{segment.stem}{SEALED}"


def day_prefix(kind: Kind, day: date) -> str:
    """What the names of one day's segments begin with."""
    return f"{kind.value}/day={day.isoformat()}/"


def day_of(key: str) -> date | None:
    """The day in an object's name or a folder's; None where there is none."""
    for part in key.split("/"):
        if part.startswith("day="):
            try:
                return date.fromisoformat(part.removeprefix("day="))
            except ValueError:
                return None
    return None


def parsed_day(text: str) -> date:
    """A day as people write it. Raises BadDay."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadDay(f"day: found {text!r}, wanted YYYY-MM-DD; days are those of UTC") from None


COUNTS_PREFIX: Final = "counts/"
LIVE_COUNTS_PREFIX: Final = "counts/live/"
PLANS_PREFIX: Final = "plans/"


def counts_key(run: Run) -> str:
    """Where the counts of an ended run lie: written once."""
    return f"{COUNTS_PREFIX}{run.counts_name}"


def live_counts_key(run: Run) -> str:
    """Where the latest counts of a living run lie: replaced with each pass, gone once the run has ended."""
    return f"{LIVE_COUNTS_PREFIX}{run.counts_name}"


def plan_key(experiment_key: str, revision: int) -> str:
    """Where a sealed plan lies. A key that begins with a dot is no folder name as it stands."""
    name = f"%2E{experiment_key[1:]}" if experiment_key.startswith(".") else experiment_key
    return f"{PLANS_PREFIX}{name}/{revision}.plan"


@dataclass(frozen=True, slots=True)
class PlanName:
    """Which plan a file of the plans folder holds."""

    key: str
    revision: int

    @classmethod
    def of_file(cls, name: str) -> Self | None:
        """From ``<key>-<revision>.sealed``; None for any other name."""
        match = _PLAN_NAME.fullmatch(name)
        return None if match is None else cls(match["key"], int(match["revision"]))

    @property
    def file_name(self) -> str:
        """In the plans folder."""
        return f"{self.key}-{self.revision}{SEALED_PLAN}"
