"""The watch when something fails: who is told, what is not lost, and that the next turn goes on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ra_guard.alerts.message import Kind
from ra_guard.experiments.control_store import StoreGone
from ra_guard.logs.errors import ObjectsUnreachable
from ra_guard.logs.layout import LIVE_COUNTS_PREFIX
from ra_guard.logs.objects import StoredObjects
from ra_guard.stats.outcome import Effect
from ra_guard.watch.loop import PATIENCE, ClockWentBack

from tests.stand_ins.definitions import changed
from tests.stand_ins.log_segments import Faulty
from tests.stand_ins.serving_process import KEY
from tests.stand_ins.watched_world import FEW, ME, QUICK_ALERT, QUICK_TRIGGER, World, complete, world

MINUTE = timedelta(minutes=1)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, changed(QUICK_TRIGGER)) as made:
        yield made


def harmed(world: World) -> datetime:
    """Half of all users are treated, and one in ten of them badly; when that is known."""
    world.ramp(5000)
    world.answer(range(300), fail=lambda user: user % 10 == 0)
    world.ship()
    return complete(datetime.now(UTC))


def healthy(world: World) -> datetime:
    world.ramp(5000)
    world.answer(range(300))
    world.judge(range(300), lambda user, row: row % 3)
    world.ship()
    return complete(datetime.now(UTC))


# Ends


def test_a_kill_by_a_person_is_told_once_across_a_restart(watched: World) -> None:
    at = healthy(watched)
    first = watched.watch()
    first.turn(at)
    watched.plane.kill(KEY, ME)
    first.turn(at + MINUTE)
    (message,) = [each for each in watched.told if each.kind is Kind.KILLED]
    assert ME.who in message.summary
    assert ME.why in message.summary
    first.close()
    second = watched.watch()
    second.turn(at + 2 * MINUTE)
    assert watched.kinds().count(Kind.KILLED) == 1
    second.close()


def test_an_end_that_people_have_lived_with_is_no_news(watched: World) -> None:
    at = healthy(watched)
    watched.plane.kill(KEY, ME)
    watch = watched.watch()
    watch.turn(at + timedelta(days=8))
    assert Kind.KILLED not in watched.kinds()
    watch.close()


def test_a_rollback_whose_answer_is_lost_is_told_from_the_ledger(
    watched: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, roll_back = harmed(watched), watched.plane.roll_back

    def lost(*order: Any) -> None:
        roll_back(*order)
        raise StoreGone(found="an answer that got lost", wanted="one", cure="ask again")

    monkeypatch.setattr(watched.plane, "roll_back", lost)
    watch = watched.watch()
    watch.turn(at)
    watch.turn(at + MINUTE)
    watch.turn(at + 2 * MINUTE)
    (message,) = [each for each in watched.told if each.kind is Kind.ROLLED_BACK]
    assert "error_rate" in message.summary
    watch.close()


# What is remembered


def test_alerts_of_an_epoch_that_ended_while_nobody_watched_are_taken_back(tmp_path: Path) -> None:
    with world(tmp_path, changed(QUICK_ALERT)) as watched:
        at = harmed(watched)
        first = watched.watch()
        first.turn(at)
        assert watched.standing.standing
        first.close()
        watched.plane.kill(KEY, ME)
        watched.plane.resume(KEY, ME, watched.experiment.revision)
        watched.told.clear()
        second = watched.watch()
        second.turn(at + MINUTE)
        assert watched.standing.standing == ()
        assert Kind.WITHDRAWN in watched.kinds()
        assert Kind.ESCALATED not in watched.kinds()
        second.close()


def test_a_disk_that_is_full_keeps_no_message_from_people_and_stops_nothing(tmp_path: Path) -> None:
    with world(tmp_path, changed(QUICK_TRIGGER, QUICK_ALERT)) as watched:
        at = harmed(watched)
        watched.is_full = True
        watch = watched.watch()
        watch.turn(at)
        assert Kind.FIRED in watched.kinds()
        assert watched.experiment.rolled_back
        assert {type(error) for error in watched.failed} == {OSError}
        fired = watched.kinds().count(Kind.FIRED)
        watch.turn(at + MINUTE)
        assert watched.kinds().count(Kind.FIRED) == fired
        watch.close()


# What is seen


def test_what_was_read_is_not_lost_to_a_store_that_fails_afterwards(watched: World) -> None:
    at, is_down = healthy(watched), True

    def fault(step: str, key: str) -> None:
        if is_down and key.startswith(LIVE_COUNTS_PREFIX):
            raise ObjectsUnreachable(f"{key}: found nobody at {step}, wanted an answer; nothing is lost")

    watched.objects = Faulty(StoredObjects.open(str(watched.state / "objects")), fault)
    watch = watched.watch()
    watch.turn(at)
    assert watch.latest is None
    is_down = False
    watch.turn(at + MINUTE)
    found = watch.assessment()
    assert isinstance(found.primary, Effect)
    assert found.primary == watched.replay(at + MINUTE).assessment.primary
    watch.close()


def test_a_clock_that_was_ahead_and_is_set_back_is_reported_and_asked_again(watched: World) -> None:
    at = healthy(watched)
    watch = watched.watch()
    watch.turn(at + timedelta(hours=3))
    watch.turn(at + MINUTE)
    assert [type(error) for error in watched.failed] == [ClockWentBack]
    assert watch.latest is not None
    assert watch.latest.as_of == int((at + MINUTE).timestamp() - 60) // 60 - 1
    watch.turn(at + 2 * MINUTE)
    assert len(watched.failed) == 1
    watch.close()


def test_a_control_plane_that_does_not_answer_is_told_of_once_and_not_at_once(
    watched: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> None:
        raise StoreGone(found="nobody", wanted="an answer", cure="wait")

    at = healthy(watched)
    watch = watched.watch()
    watch.turn(at)
    with monkeypatch.context() as down:
        down.setattr(watched.plane, "current", nobody)
        watch.turn(at + MINUTE)
        assert Kind.UNWATCHED not in watched.kinds()
        for minutes in range(1, 4):
            watch.turn(at + MINUTE + minutes * PATIENCE)
    assert watched.kinds().count(Kind.UNWATCHED) == 1
    failed = len(watched.failed)
    watch.turn(at + 20 * MINUTE)
    assert len(watched.failed) == failed
    watch.close()


def test_a_ramp_whose_hours_are_over_and_that_waits_is_told_once(watched: World) -> None:
    watched.ramp(1000)
    watched.answer(range(100))
    watched.ship()
    watch, at = watched.watch(), complete(datetime.now(UTC)) + timedelta(hours=24)
    watched.stay_alive_until(at + timedelta(hours=1))
    watch.turn(at)
    watch.turn(at + MINUTE)
    (message,) = [each for each in watched.told if each.kind is Kind.RAMP_WAITS]
    assert "error rate below control + 1 percentage point" in message.plain
    watch.close()


def test_a_ramp_does_not_go_on_by_evidence_of_yesterday(tmp_path: Path) -> None:
    with world(tmp_path, changed(FEW)) as watched:
        watched.ramp(1000)
        watched.answer(range(1000))
        watched.ship()
        watch, at = watched.watch(), complete(datetime.now(UTC)) + timedelta(hours=24)
        watch.turn(at)
        assert watched.experiment.ramp_bp == 1000
        (message,) = [each for each in watched.told if each.kind is Kind.RAMP_WAITS]
        assert "evidence" in message.plain
        watched.stay_alive_until(at + timedelta(hours=1))
        watch.turn(at + MINUTE)
        assert watched.experiment.ramp_bp == 2500
        watch.close()
