"""Retention: what is too old goes, and nothing goes while the clock cannot be trusted."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.logs.layout import Kind, day_prefix
from ra_guard.logs.objects import StoredObjects
from ra_guard.logs.retention import MOST_DISAGREEMENT, Clocks, ExportedDays, ObjectDays, Retention

TODAY = date(2026, 6, 1)


class Clock:
    """A wall clock and a steady one, moved by hand."""

    def __init__(self, today: date) -> None:
        self.now = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
        self.steady_s = 1000.0

    def passes(self, time: timedelta) -> None:
        self.now += time
        self.steady_s += time.total_seconds()

    def jumps(self, time: timedelta) -> None:
        self.now += time

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now, lambda: self.steady_s)


class Days:
    """A place in memory."""

    def __init__(self, *days: date) -> None:
        self.present = set(days)

    def days(self) -> set[date]:
        return set(self.present)

    def delete(self, day: date) -> int:
        before = len(self.present)
        self.present.discard(day)
        return before - len(self.present)


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@given(st.sets(st.integers(0, 200), min_size=1), st.integers(1, 150))
def test_exactly_the_days_beyond_the_retention_go(ages: set[int], retention_days: int) -> None:
    place = Days(*map(ago, ages))
    report = Retention([place], Clock(TODAY).clocks).run_once(retention_days)
    expired = {age for age in ages if age > retention_days}
    assert report.expired == tuple(sorted(map(ago, expired)))
    if expired == ages:  # nothing vouches for today
        assert report.refused
        assert place.present == set(map(ago, ages))
    else:
        assert report.refused is None
        assert place.present == {ago(age) for age in ages if age <= retention_days}
        assert report.deleted == dict.fromkeys(report.expired, 1)


@given(st.timedeltas(timedelta(days=-4000), timedelta(days=4000)))
def test_a_clock_that_was_set_deletes_nothing_until_it_is_right_again(jump: timedelta) -> None:
    clock, place = Clock(TODAY), Days(ago(100), ago(1), TODAY)
    retention = Retention([place], clock.clocks)
    clock.passes(timedelta(hours=1))
    clock.jumps(jump)
    report = retention.run_once(90)
    if abs(jump) > MOST_DISAGREEMENT:
        assert report.refused is not None
        assert "clock" in report.refused
        assert place.present == {ago(100), ago(1), TODAY}
        clock.passes(timedelta(hours=1))
        assert retention.run_once(90).refused is not None, "a jump is not forgotten"
        clock.jumps(-jump)
    assert retention.run_once(90).refused is None
    assert place.present == {ago(1), TODAY}


def test_time_that_passes_is_no_jump() -> None:
    clock, place = Clock(TODAY), Days(ago(90), TODAY)
    retention = Retention([place], clock.clocks)
    assert retention.run_once(90).deleted == {}
    clock.passes(timedelta(days=1))
    assert retention.run_once(90).deleted == {ago(90): 1}


def test_a_clock_behind_the_logs_deletes_nothing() -> None:
    place = Days(ago(400), ago(-1))
    report = Retention([place], Clock(TODAY).clocks).run_once(90)
    assert report.refused is not None
    assert str(ago(-1)) in report.refused
    assert place.present == {ago(400), ago(-1)}


def test_a_plan_deletes_nothing() -> None:
    place = Days(ago(100), TODAY)
    report = Retention([place], Clock(TODAY).clocks).plan(90)
    assert (report.expired, report.deleted, report.refused) == ((ago(100),), {}, None)
    assert place.present == {ago(100), TODAY}


def test_nothing_to_delete_is_no_refusal() -> None:
    assert Retention([Days()], Clock(TODAY).clocks).run_once(90).refused is None


@pytest.mark.parametrize("old", [91, 400])
def test_objects_and_exports_of_a_day_go_together(tmp_path: Path, old: int) -> None:
    objects, exported = StoredObjects.open(str(tmp_path / "objects")), tmp_path / "evidence"
    for kind in Kind:
        for day in (ago(old), TODAY):
            for name in ("a", "b"):
                objects.put_new(f"{day_prefix(kind, day)}{name}.log", b"data")
            file = exported / day_prefix(kind, day) / "a.parquet"
            file.parent.mkdir(parents=True)
            file.write_bytes(b"data")
    report = Retention([ObjectDays(objects), ExportedDays(exported)], Clock(TODAY).clocks).run_once(90)
    assert report.deleted == {ago(old): 6}
    for kind in Kind:
        assert objects.days(kind) == [TODAY]
        assert [path.name for path in (exported / kind.value).iterdir()] == [f"day={TODAY}"]
    assert ExportedDays(tmp_path / "none").days() == set()
