"""The watch over a real control plane, a real engine's logs, Parquet and DuckDB: what it sees, does and tells."""

import math
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ra_guard.alerts.message import Kind
from ra_guard.experiments.control_store import StoreGone
from ra_guard.experiments.definition.vocabulary import Outcome
from ra_guard.experiments.monitor.decision import decide
from ra_guard.experiments.monitor.outcomes import BY_ITSELF, Assessment
from ra_guard.logs.errors import ObjectsUnreachable
from ra_guard.logs.objects import StoredObjects
from ra_guard.stats.outcome import Effect
from ra_guard.watch.loop import ACKNOWLEDGED
from ra_guard.watch.seen import LOOK, look_of

from tests.stand_ins.definitions import changed
from tests.stand_ins.log_segments import Faulty
from tests.stand_ins.serving_process import KEY, enrol_everyone, free_ports, publish_gallery, request, serving
from tests.stand_ins.watched_world import FEW, ME, QUICK_ALERT, QUICK_TRIGGER, World, complete, world


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, changed(QUICK_TRIGGER, FEW)) as made:
        yield made


def test_errors_of_treatment_roll_back_and_the_ledger_says_why(watched: World) -> None:
    watched.ramp(5000)
    watched.answer(range(300), fail=lambda user: user % 10 == 0)
    watched.ship()
    watch = watched.watch()
    watch.turn(complete(datetime.now(UTC)))
    assert watched.failed == []
    assert watched.experiment.rolled_back
    (line,) = [entry for entry in watched.ledger if "roll back" in entry.what]
    assert line.who == BY_ITSELF
    assert "error_rate" in line.why
    assert "2 %" in line.why
    assert 2 < line.numbers["trigger_error_rate"] < 30
    assert line.numbers["trigger_error_rate_control"] == 0
    assert "shared cause" not in line.why
    assert Kind.ROLLED_BACK in watched.kinds()
    watch.turn(complete(datetime.now(UTC)) + timedelta(minutes=1))
    assert watched.kinds().count(Kind.ROLLED_BACK) == 1, "one way: there is nothing left to roll back"
    watch.close()


def test_a_fault_that_came_and_went_while_nobody_looked_rolls_back_all_the_same(watched: World) -> None:
    watched.ramp(5000)
    watched.answer(range(300), fail=lambda user: user % 10 == 0)
    watched.ship()
    watch = watched.watch()
    watch.turn(complete(datetime.now(UTC)) + timedelta(minutes=30))
    assert watch.latest is not None
    assert not any(each.is_firing for each in watch.latest.triggers), "its five minutes are long over"
    assert watched.experiment.rolled_back
    watch.close()


def test_a_rollback_that_is_refused_is_ordered_until_it_is_done(
    watched: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreGone(found="no store", wanted="one", cure="mend it")

    watched.ramp(5000)
    watched.answer(range(300), fail=lambda user: user % 10 == 0)
    watched.ship()
    watch, at = watched.watch(), complete(datetime.now(UTC))
    with monkeypatch.context() as down:
        down.setattr(watched.plane, "roll_back", refuse)
        watch.turn(at)
    assert [type(error) for error in watched.failed] == [StoreGone]
    assert Kind.ROLLED_BACK not in watched.kinds()
    watch.turn(at + timedelta(minutes=30))
    assert watched.experiment.rolled_back, "although nothing fires any more"
    assert watched.kinds().count(Kind.ROLLED_BACK) == 1
    watch.close()


def test_a_healthy_stage_that_was_held_leads_to_the_next(watched: World) -> None:
    watched.ramp(1000)
    watched.answer(range(1000))
    watched.ship()
    watch, at = watched.watch(), datetime.now(UTC)
    watch.turn(complete(at))
    assert watched.experiment.ramp_bp == 1000, "the stage is held for a day"
    watched.stay_alive_until(complete(at) + timedelta(hours=25))
    watch.turn(complete(at) + timedelta(hours=24))
    assert watched.failed == []
    assert watched.experiment.ramp_bp == 2500
    line = next(entry for entry in reversed(watched.ledger) if entry.who == BY_ITSELF)
    assert "gate" in line.why
    assert line.numbers["held_h"] >= 24
    assert Kind.RAMP_ADVANCED in watched.kinds()
    watch.turn(complete(at) + timedelta(hours=24, minutes=1))
    assert watched.experiment.ramp_bp == 2500, "the next stage has its own hold"
    watch.close()


def test_a_look_is_taken_once_on_its_day_and_reported(watched: World) -> None:
    watched.ramp(5000)
    watched.answer(range(400))
    # Who is shown images in descending order of row is right: what is relevant is the same for both arms.
    watched.judge(range(400), lambda user, row: row % 7 % 3)
    watched.ship()
    watch, launched = watched.watch(), datetime.now(UTC)
    watch.turn(complete(launched))
    assert not [entry for entry in watched.ledger if entry.what == LOOK]
    for minutes in range(3):
        watch.turn(complete(launched) + timedelta(days=3, minutes=minutes + 1))
    assert watched.failed == []
    (line,) = [entry for entry in watched.ledger if entry.what == LOOK]
    look = look_of(line)
    assert look.day == 3
    assert min(look.control_users, look.treatment_users) > 50
    assert look.control_users + look.treatment_users <= 400
    assert decide(watched.experiment.definition, [look], watch.assessment()).outcome is Outcome.KEEP_RUNNING
    assert Kind.DECISION_DUE in watched.kinds()
    assert Kind.REPORT_READY in watched.kinds()
    names = {path.name.partition("-")[2][6:] for path in (watched.state / "reports" / KEY / "1").iterdir()}
    assert {"interim_review.html", "interim_review.md"} <= names
    watch.close()


def test_clicks_have_a_value_corrected_by_the_definitions_propensity_beside_them(tmp_path: Path) -> None:
    def found(folder: str, propensity: str) -> Assessment:
        labels = ('labels = "judgments"', f'labels = "clicks"\npropensity = {propensity}')
        with world(tmp_path / folder, changed(labels)) as clicked:
            clicked.ramp(5000)
            clicked.answer(range(300))
            clicked.click(range(300), lambda row: row % 5 == 0)
            clicked.ship()
            watch = clicked.watch()
            watch.turn(complete(datetime.now(UTC)))
            assert clicked.failed == []
            assessment = watch.assessment()
            watch.close()
            return assessment

    flat, steep = found("flat", "[1.0]"), found("steep", "[1.0, 0.5, 0.33]")
    assert isinstance(flat.primary, Effect)
    assert flat.corrected == flat.primary == steep.primary
    assert isinstance(steep.corrected, Effect)
    assert steep.corrected.estimate != steep.primary.estimate


def test_a_new_watch_comes_to_where_the_old_one_was(watched: World) -> None:
    watched.ramp(5000)
    watched.answer(range(200))
    watched.judge(range(0, 200, 2), lambda user, row: row % 3)
    watched.ship()
    old, at = watched.watch(), complete(datetime.now(UTC))
    old.turn(at)
    watched.answer(range(200, 300))
    watched.judge(range(1, 200, 2), lambda user, row: row % 2)
    watched.ship()
    for minutes in range(1, 4):
        old.turn(at + timedelta(minutes=minutes))
    new = watched.watch()
    new.turn(at + timedelta(minutes=3))
    assert watched.failed == []
    found, wanted = new.assessment(), old.assessment()
    assert [each.reading for each in found.tick.triggers] == [each.reading for each in wanted.tick.triggers]
    # The old one had fewer calls for its first minutes' readings: they came later.
    assert replace(found, tick=wanted.tick) == wanted
    old.close()
    new.close()


def test_a_report_on_demand_sees_what_the_watch_sees_and_the_hour_that_goes_on(watched: World) -> None:
    watched.ramp(5000)
    watched.answer(range(300))
    watched.judge(range(300), lambda user, row: row % 3)
    watched.ship()
    watch, at = watched.watch(), complete(datetime.now(UTC))
    watch.turn(at)
    content = watched.replay(at)
    found = watch.assessment()
    assert isinstance(found.primary, Effect)
    assert content.assessment == found
    assert content.hours[-1].primary == found.primary
    assert content.hours[-1].at_unix_s == (found.tick.as_of + 1) * 60
    watch.close()


def test_logs_that_cannot_be_read_are_told_once_and_do_no_other_harm(watched: World) -> None:
    watched.ramp(5000)
    watched.answer(range(200))
    watched.ship()
    is_down = True

    def fault(step: str, key: str) -> None:
        if is_down:
            raise ObjectsUnreachable(f"{key}: found nobody at {step}, wanted an answer; nothing is lost")

    watched.objects = Faulty(StoredObjects.open(str(watched.state / "objects")), fault)
    watch, at = watched.watch(), complete(datetime.now(UTC))
    for minutes in range(3):
        watch.turn(at + timedelta(minutes=minutes))
    assert watched.kinds().count(Kind.EVIDENCE_UNREADABLE) == 1
    assert watch.latest is None
    is_down = False
    watch.turn(at + timedelta(minutes=3))
    assert watch.latest is not None
    assert watch.totals.evidence_at is not None
    assert watched.experiment.ramp_bp == 5000
    watch.close()


def test_an_alert_is_told_once_across_a_restart_and_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, changed(QUICK_ALERT)) as watched:
        watched.ramp(5000)
        watched.answer(range(300), fail=lambda user: user % 10 == 0)
        watched.ship()
        at = complete(datetime.now(UTC))
        first = watched.watch()
        first.turn(at)
        fired = [message.alert for message in watched.told if message.kind is Kind.FIRED]
        assert "error_rate-critical" in fired
        first.close()
        monkeypatch.setattr(watched.plane, "_clock", lambda: at + timedelta(seconds=30))
        watched.plane.note(KEY, f"{ACKNOWLEDGED}error_rate-critical", ME, {})
        second = watched.watch()
        second.turn(at + timedelta(minutes=1))
        assert [message.alert for message in watched.told if message.kind is Kind.FIRED] == fired
        (standing,) = [each for each in watched.standing.standing if each.id == "error_rate-critical"]
        assert standing.acknowledged is not None
        assert standing.acknowledged.by == ME.who
        second.close()


def test_the_process_watches_beside_the_server_and_ends_with_it(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    enrol_everyone(tmp_path)
    port = free_ports(1)
    options: dict[str, Any] = {
        "RA_GUARD_WATCH__EVERY_S": "0.5",
        "RA_GUARD_WATCH__LAG_S": "0",
        "RA_GUARD_WATCH__METRICS_PORT": str(port),
        "RA_GUARD_LOG__SEGMENT_S": "1",
        "RA_GUARD_LOG__SHIP_S": "0.2",
    }
    with serving(tmp_path, **options) as server:
        server.call(request())

        def metric(name: str) -> float:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                lines = str(answer.read(), "utf-8").splitlines()
            return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), math.nan)

        # The sign of life is the shipper's: it shows what a living worker has offered.
        wait_for(lambda: metric("ra_guard_watch_evidence_at_age_seconds") < 60)
        assert metric("ra_guard_watch_failed_steps_total") == 0
    assert (tmp_path / "evidence" / "plans.parquet").exists()


def wait_for(holds: Callable[[], bool], timeout_s: float = 120.0) -> None:
    """Until it holds; what raises meanwhile does not hold yet."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"did not hold within {timeout_s:g} s")
