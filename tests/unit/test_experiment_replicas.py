"""The worker's side of the control path: swaps, leases and reports, on files and with a real engine."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ra_guard import _core
from ra_guard.experiments import errors
from ra_guard.experiments.model import Author
from ra_guard.experiments.publish import ControlFolder, Publisher
from ra_guard.experiments.replicas import FORGET_AFTER, PlanWatcher, ReplicaBoard

KEY = "ra_guard_enhancement"
ME = Author("me", "a test")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Counting:
    """A plan sink that counts what reaches the engine behind it."""

    def __init__(self) -> None:
        self.engine = _core.Engine(query_cache_entries=1)
        self.swaps = 0
        self.renewals = 0

    def publish_plan(self, sealed: bytes) -> int:
        self.swaps += 1
        return self.engine.publish_plan(sealed)

    def renew_lease(self, revision: int) -> bool:
        self.renewals += 1
        return self.engine.renew_lease(revision)

    def plan_revision(self) -> int:
        return self.engine.plan_revision()

    def plan_age_s(self) -> float | None:
        return self.engine.plan_age_s()


@pytest.fixture
def control(tmp_path: Path) -> ControlFolder:
    return ControlFolder(tmp_path / "control")


@pytest.fixture
def publisher(control: ControlFolder) -> Publisher:
    return control.ensure(KEY, ME)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(control: ControlFolder, clock: Clock) -> ReplicaBoard:
    return ReplicaBoard(control.folder(KEY) / "replicas", clock=clock)


def test_no_plan_is_served_before_its_history_holds(publisher: Publisher, board: ReplicaBoard) -> None:
    ensured: list[int] = []

    def ensure() -> None:
        ensured.append(len(ensured))
        if len(ensured) == 1:
            raise OSError("no such disk")

    sink = Counting()
    watcher = PlanWatcher(publisher.plan, sink, board, "w0", ensure=ensure)
    with pytest.raises(OSError, match="no such disk"):
        watcher.poll()
    assert sink.plan_age_s() is None
    assert [watcher.poll(), watcher.poll()] == [1, 1]
    assert ensured == [0, 1]


def test_watcher_swaps_once_and_then_renews(publisher: Publisher, board: ReplicaBoard, clock: Clock) -> None:
    sink = Counting()
    watcher = PlanWatcher(publisher.plan, sink, board, "w0", clock=clock)
    assert sink.plan_age_s() is None
    assert [watcher.poll(), watcher.poll(), watcher.poll()] == [1, 1, 1]
    assert (sink.swaps, sink.renewals) == (1, 2)
    publisher.kill(ME)
    assert watcher.poll() == 2
    assert (sink.swaps, sink.renewals) == (2, 2)


def test_reports_come_at_each_swap_and_every_second(publisher: Publisher, board: ReplicaBoard, clock: Clock) -> None:
    watcher = PlanWatcher(publisher.plan, Counting(), board, "w0", clock=clock)
    watcher.poll()
    clock.advance(0.5)
    watcher.poll()
    assert [(seen.revision, seen.age_s) for seen in board.read()] == [(1, 0.5)]
    publisher.kill(ME)
    watcher.poll()
    assert [(seen.revision, seen.age_s) for seen in board.read()] == [(2, 0.0)]
    clock.advance(1.0)
    watcher.poll()
    assert [(seen.revision, seen.age_s) for seen in board.read()] == [(2, 0.0)]


def test_a_missing_plan_is_no_contact(publisher: Publisher, board: ReplicaBoard, control: ControlFolder) -> None:
    sink = Counting()
    watcher = PlanWatcher(publisher.plan, sink, board, "w0")
    (control.folder(KEY) / "plan.sealed").unlink()
    assert watcher.poll() == 0
    assert (sink.swaps, sink.renewals) == (0, 0)
    assert board.read() == ()


def test_a_corrupt_plan_is_no_contact_and_the_old_one_stays(
    publisher: Publisher, board: ReplicaBoard, clock: Clock
) -> None:
    sink = Counting()
    watcher = PlanWatcher(publisher.plan, sink, board, "w0", clock=clock)
    watcher.poll()
    clock.advance(30)
    sealed = bytearray(publisher.plan.read() or b"")
    sealed[5] ^= 1
    publisher.plan.write(bytes(sealed))
    for _ in range(2):
        with pytest.raises(_core.PlanError):
            watcher.poll()
    assert (sink.renewals, sink.plan_revision()) == (0, 1)
    assert [seen.age_s for seen in board.read()] == [30.0]


def test_an_unreadable_plan_is_no_contact(publisher: Publisher, board: ReplicaBoard, control: ControlFolder) -> None:
    sink = Counting()
    watcher = PlanWatcher(publisher.plan, sink, board, "w0")
    watcher.poll()
    plan = control.folder(KEY) / "plan.sealed"
    plan.unlink()
    plan.mkdir()
    with pytest.raises(errors.PlanUnreadable):
        watcher.poll()
    assert sink.renewals == 0


def test_run_polls_until_stopped_survives_errors_and_retires(
    publisher: Publisher, board: ReplicaBoard, control: ControlFolder
) -> None:
    sink, stop, errors = Counting(), threading.Event(), list[Exception]()
    swapped, failed = threading.Event(), threading.Event()
    watcher = PlanWatcher(publisher.plan, sink, board, "w0")

    def on_error(error: Exception) -> None:
        errors.append(error)
        failed.set()

    publisher.plan.write(b"garbage")
    thread = threading.Thread(target=watcher.run, args=(stop, on_error), kwargs={"poll_s": 0.01})
    thread.start()
    try:
        assert failed.wait(30)
        control.ensure(KEY, ME)
        while not board.read():
            swapped.wait(0.01)
        assert sink.plan_revision() == 1
    finally:
        stop.set()
        thread.join(30)
    assert isinstance(errors[0], _core.PlanError)
    assert board.read() == ()


def test_board_reads_every_worker_by_name(board: ReplicaBoard, clock: Clock) -> None:
    board.report("w1", 3, START)
    board.report("w0", 2, START - timedelta(seconds=5))
    assert [(seen.replica, seen.revision, seen.age_s) for seen in board.read()] == [("w0", 2, 5.0), ("w1", 3, 0.0)]
    board.retire("w0")
    board.retire("never there")
    assert [seen.replica for seen in board.read()] == ["w1"]


def test_a_report_from_the_future_has_age_zero(board: ReplicaBoard) -> None:
    board.report("w0", 1, START + timedelta(seconds=5))
    assert [seen.age_s for seen in board.read()] == [0.0]


def test_the_dead_are_forgotten_when_a_worker_first_reports(
    publisher: Publisher, board: ReplicaBoard, clock: Clock
) -> None:
    board.report("dead", 1, START - FORGET_AFTER - timedelta(seconds=1))
    board.report("silent", 1, START - FORGET_AFTER)
    PlanWatcher(publisher.plan, Counting(), board, "w0", clock=clock).poll()
    assert [seen.replica for seen in board.read()] == ["silent", "w0"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"replica": "w1"}', json.dumps({"replica": "w1", "at": 3})])
def test_a_broken_report_is_a_replica_not_heard_from(board: ReplicaBoard, control: ControlFolder, content: str) -> None:
    board.report("w0", 1, START)
    (control.folder(KEY) / "replicas" / "w1.json").write_text(content)
    assert [seen.replica for seen in board.read()] == ["w0"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "w" * 65])
def test_replica_name_that_is_no_file_name(board: ReplicaBoard, name: str) -> None:
    with pytest.raises(errors.BadReplica):
        board.report(name, 1, START)
