"""The loop that ships: what it says and how often, what it counts, and when it looks at the retention."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest
from ra_guard.errors import RaGuardError
from ra_guard.logs.errors import ObjectsUnreachable
from ra_guard.logs.loop import RETENTION_EVERY_S, ShipLoop, Upkeep
from ra_guard.logs.retention import Clocks, Retention
from ra_guard.logs.ship import Shipper, ShipReport

TODAY = datetime(2026, 6, 1, tzinfo=UTC)


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fields: list[dict[str, Any]] = []

    def __getattr__(self, level: str) -> Any:
        def say(event: str, **fields: Any) -> None:
            self.lines.append(f"{level} {event}")
            self.fields.append(fields)

        return say


class Days:
    def __init__(self) -> None:
        self.present = {(TODAY - timedelta(days=age)).date() for age in (0, 1, 50, 100)}
        self.failure: RaGuardError | None = None

    def days(self) -> set[date]:
        if self.failure:
            raise self.failure
        return set(self.present)

    def delete(self, day: date) -> int:
        self.present.discard(day)
        return 2


class Scripted:
    def __init__(self, *reports: ShipReport) -> None:
        self._reports: Iterator[ShipReport] = iter(reports)

    def run_once(self) -> ShipReport:
        return next(self._reports)


class World:
    def __init__(self, *reports: ShipReport) -> None:
        self.log, self.days, self.keep, self.steady_s = Log(), Days(), cast("int | None", 90), 0.0
        clocks = Clocks(lambda: TODAY + timedelta(seconds=self.steady_s), lambda: self.steady_s)
        upkeep = Upkeep(Retention([self.days], clocks), lambda: self.keep, clocks.steady_s)
        self.loop = ShipLoop(cast("Shipper", Scripted(*reports)), None, upkeep, cast("Any", self.log))


def test_an_outage_and_a_refusal_are_each_said_once() -> None:
    down = ShipReport(failure="the store is down", waiting=3, waiting_bytes=30)
    refused = ShipReport(refused=("a.log: no segment",))
    both = replace(refused, refused=("a.log: no segment", "b.log: no segment"))
    world = World(ShipReport(shipped=2, shipped_bytes=20), down, down, ShipReport(), refused, down, refused, both)
    for _ in range(8):
        world.loop.run_once()
    assert world.log.lines == [
        "info logs_shipped",
        "error logs_wait",
        "info logs_wait_no_more",
        "error log_refused",
        "error logs_wait",
        "info logs_wait_no_more",
        "error log_refused",
    ]
    totals = world.loop.totals
    assert (totals.passes, totals.failed_passes, totals.shipped, totals.shipped_bytes) == (8, 3, 2, 20)
    assert (totals.waiting, totals.waiting_bytes, totals.refused) == (0, 0, 2)


def test_retention_is_looked_at_first_and_then_every_hour() -> None:
    world = World()
    assert world.loop.keep_up() is not None
    assert world.loop.totals.deleted == 2
    world.steady_s = RETENTION_EVERY_S - 1
    assert world.loop.keep_up() is None
    world.steady_s = RETENTION_EVERY_S
    assert world.loop.keep_up() is not None
    assert world.log.lines == ["info log_day_deleted"]


def test_nothing_is_deleted_without_a_word_from_a_plan_or_while_the_store_is_down() -> None:
    world = World()
    world.keep = None
    for hour in range(3):
        world.steady_s = hour * RETENTION_EVERY_S
        world.loop.keep_up()
    world.keep, world.days.failure = 90, ObjectsUnreachable("down")
    world.steady_s += RETENTION_EVERY_S
    world.loop.keep_up()
    assert world.log.lines == ["warning log_retention_refused"] * 2
    assert len(world.days.present) == 4


@pytest.mark.parametrize("stopped", [True, False])
def test_a_loop_that_is_told_to_stop_makes_one_last_pass(stopped: bool) -> None:  # noqa: FBT001
    stop = threading.Event()
    world = World(*(ShipReport(shipped=1) for _ in range(3)))
    passes = iter(range(2))

    def passes_then_stops() -> ShipReport:
        if next(passes, 0) == 1 or stopped:
            stop.set()
        return ShipReport(shipped=1)

    if stopped:
        stop.set()
    world.loop._shipper = cast("Shipper", type("S", (), {"run_once": staticmethod(passes_then_stops)}))
    world.loop.run(stop, 0.0)
    assert world.loop.totals.shipped == (1 if stopped else 3)
