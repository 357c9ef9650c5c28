"""Deletes days of logs that are older than the retention, and nothing while the clock cannot be trusted.

A day goes once `retention_days` whole days lie between it and today. A wall clock that jumps forward would empty the
store, so a pass refuses when the wall clock and the steady clock disagree about the time since the first pass, when
today is before the newest day, and when every day there is would go.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from ra_guard.logs.layout import Kind, day_of, day_prefix
from ra_guard.logs.objects import Objects

MOST_DISAGREEMENT: Final = timedelta(minutes=10)
"""Between the two clocks since the first pass. Both are kept by the same oscillator: only a step parts them so far."""


class Days(Protocol):
    """One place that keeps logs by day."""

    def days(self) -> Iterable[date]:
        """The days that it has."""

    def delete(self, day: date) -> int:
        """Deletes a day; returns how many files or objects went."""


@dataclass(frozen=True, slots=True)
class ObjectDays:
    """The segments among the objects."""

    objects: Objects

    def days(self) -> set[date]:
        """Of both logs."""
        return {day for kind in Kind for day in self.objects.days(kind)}

    def delete(self, day: date) -> int:
        """The day's segments of both logs."""
        keys = [listed.key for kind in Kind for listed in self.objects.under(day_prefix(kind, day))]
        self.objects.delete(keys)
        return len(keys)


@dataclass(frozen=True, slots=True)
class ExportedDays:
    """The Parquet files of an export folder."""

    folder: Path

    def days(self) -> set[date]:
        """Of both logs."""
        found = (day_of(path.name) for kind in Kind for path in (self.folder / kind.value).glob("day=*"))
        return {day for day in found if day is not None}

    def delete(self, day: date) -> int:
        """The day's files of both logs."""
        files = [path for kind in Kind for path in (self.folder / day_prefix(kind, day)).glob("*")]
        for path in files:
            path.unlink(missing_ok=True)
        for kind in Kind:
            folder = self.folder / day_prefix(kind, day)
            if folder.is_dir():
                folder.rmdir()
        return len(files)


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What one pass deleted, or why it did not."""

    retention_days: int
    expired: tuple[date, ...]
    """Days older than the retention, in order."""
    deleted: Mapping[date, int]
    """Files and objects that went, by day."""
    refused: str | None = None
    """Why nothing was deleted although the pass was asked to."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The time of day, and one that only ever counts seconds, a suspended machine's included."""

    wall: Callable[[], datetime]
    steady_s: Callable[[], float]

    def offset_s(self) -> float:
        """Constant until the wall clock is set."""
        return self.wall().timestamp() - self.steady_s()


class Retention:
    """Passes over some places; remembers how the clocks stood at the first."""

    def __init__(self, places: Sequence[Days], clocks: Clocks) -> None:
        self._places = places
        self._clocks = clocks
        self._first_offset_s = clocks.offset_s()

    def plan(self, retention_days: int) -> RetentionReport:
        """What a pass would delete now; deletes nothing."""
        days = sorted({day for place in self._places for day in place.days()})
        today = self._clocks.wall().astimezone(UTC).date()
        expired = tuple(day for day in days if day < today - timedelta(days=retention_days))
        return RetentionReport(retention_days, expired, {}, self._distrust(days, expired, today))

    def run_once(self, retention_days: int) -> RetentionReport:
        """Deletes what is expired, oldest day first, unless the clock cannot be trusted."""
        report = self.plan(retention_days)
        if report.refused is not None:
            return report
        deleted = {day: sum(place.delete(day) for place in self._places) for day in report.expired}
        return RetentionReport(retention_days, report.expired, deleted)

    def _distrust(self, days: Sequence[date], expired: Sequence[date], today: date) -> str | None:
        moved_s = self._clocks.offset_s() - self._first_offset_s
        if abs(moved_s) > MOST_DISAGREEMENT.total_seconds():
            return (
                f"found the wall clock {moved_s:+.0f} s from where a steady clock has it, wanted at most "
                f"{MOST_DISAGREEMENT.total_seconds():.0f} s; set the clock right, then start again"
            )
        if days and today < days[-1]:
            return f"found logs of {days[-1]}, and today is {today}; set the clock right"
        if expired and len(expired) == len(days):
            return (
                f"found nothing newer than {days[-1]}: every day would go, and nothing vouches that today is {today}; "
                "see that the clock is right, and delete by hand what nobody needs"
            )
        return None
