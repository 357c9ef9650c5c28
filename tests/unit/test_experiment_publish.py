"""History, plan and lock on a real folder: what a crash leaves is cut off or published, what is corrupt is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ra_guard import _core
from ra_guard.experiments import errors, store
from ra_guard.experiments.definition import parse_definition, template
from ra_guard.experiments.model import Author, Experiment
from ra_guard.experiments.publish import ControlFolder, PlanFile, Publisher, seal
from ra_guard.v1 import plan_pb2

KEY = "ra_guard_enhancement"
ME = Author("me", "a test")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def ticking() -> Callable[[], datetime]:
    ticks = iter(range(1_000))
    return lambda: START + timedelta(seconds=next(ticks))


@pytest.fixture
def control(tmp_path: Path) -> ControlFolder:
    return ControlFolder(tmp_path / "control", clock=ticking())


@pytest.fixture
def publisher(control: ControlFolder) -> Publisher:
    return control.ensure(KEY, ME)


def published(publisher: Publisher) -> plan_pb2.Plan:
    sealed = publisher.plan.read()
    assert sealed is not None
    return plan_pb2.Plan.FromString(_core.check_plan(sealed))


def changes(publisher: Publisher) -> list[store.Change]:
    return [revision.change for revision in publisher.revisions()]


def test_first_start_stores_and_publishes_the_default(publisher: Publisher) -> None:
    plan = published(publisher)
    assert (plan.revision, plan.experiment_key, plan.ramp_bp, plan.killed) == (1, KEY, 0, False)
    assert [domain.domain for domain in plan.domain_weights] == ["flowers"]
    (change,) = changes(publisher)
    assert (change.revision, change.at, change.who, change.why) == (1, START, "me", "a test")


def test_the_default_takes_the_key_it_is_asked_for(control: ControlFolder) -> None:
    assert published(control.ensure("other", ME)).experiment_key == "other"
    assert control.stored_keys() == ["other"]


def test_a_second_start_changes_nothing(control: ControlFolder, publisher: Publisher) -> None:
    publisher.ramp(500, ME)
    assert control.ensure(KEY, Author("someone", "restart")).current() == publisher.current()
    assert len(publisher.revisions()) == 2


def test_changes_reach_history_and_plan(control: ControlFolder, publisher: Publisher) -> None:
    publisher.ramp(500, ME)
    publisher.kill(Author("ops", "too slow"))
    plan = published(publisher)
    assert (plan.revision, plan.ramp_bp, plan.killed) == (3, 500, True)
    assert [change.what for change in changes(control.open(KEY))] == ["create at ramp 0 %", "ramp 0 % to 5 %", "kill"]
    publisher.resume(ME)
    plan = published(publisher)
    assert (plan.revision, plan.ramp_bp, plan.killed, plan.salt) == (4, 0, False, "epoch-2")


def test_a_repeated_kill_adds_no_revision(publisher: Publisher) -> None:
    first = publisher.kill(ME)
    assert publisher.kill(ME).revision == first.revision
    assert len(publisher.revisions()) == 2


def test_a_refused_change_leaves_no_trace(publisher: Publisher) -> None:
    before = publisher.plan.read()
    with pytest.raises(errors.RampOutOfRange):
        publisher.ramp(5001, ME)
    with pytest.raises(errors.AlreadyLive):
        publisher.resume(ME)
    assert publisher.plan.read() == before
    assert len(publisher.revisions()) == 1


def test_stale_revision(publisher: Publisher) -> None:
    publisher.ramp(100, ME, expected_revision=1)
    with pytest.raises(errors.StaleRevision):
        publisher.kill(ME, expected_revision=1)
    assert not publisher.current().killed


def test_unknown_experiment_names_the_known(control: ControlFolder, publisher: Publisher) -> None:
    with pytest.raises(errors.UnknownExperiment) as refused:
        control.open("nobody")
    assert KEY in refused.value.wanted


def test_key_that_would_leave_the_folder(control: ControlFolder) -> None:
    with pytest.raises(errors.BadKey):
        control.open("../control")


def test_plan_that_the_core_refuses(control: ControlFolder) -> None:
    experiment = parse_definition(template())
    with pytest.raises(errors.PlanRefused):
        control.create(replace(experiment, domain_weights={"d" * 33: experiment.default_weights}), ME)
    assert control.stored_keys() == []


def test_full_state_survives_the_history(control: ControlFolder) -> None:
    experiment = replace(parse_definition(template()), spaces=("0" * 32,), lease_s=7, salt="spring")
    publisher = control.create(experiment, ME)
    assert publisher.current() == experiment


def test_a_torn_tail_is_cut_off(tmp_path: Path, publisher: Publisher) -> None:
    history = tmp_path / "control" / KEY / "history.jsonl"
    publisher.ramp(100, ME)
    whole = history.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for length in range(1, len(last)):
        history.write_bytes(whole + last[:length])
        assert publisher.current().revision == 2
    publisher.ramp(200, ME)
    assert [change.revision for change in changes(publisher)] == [1, 2, 3]
    assert history.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"{}",
        lambda line: b"not json",
        lambda line: line.replace(b'"killed":false', b'"kiled":false'),
        lambda line: line.replace(b'"ramp_bp":0', b'"ramp_bp":9999'),
        lambda line: line.replace(b'"revision":1', b'"revision":7', 1),
        lambda line: line.replace(b'"state":{', b'"state":0,"x":{'),
        lambda line: line + b"\n" + line,
    ],
)
def test_corrupt_history(tmp_path: Path, publisher: Publisher, damage: Callable[[bytes], bytes]) -> None:
    history = tmp_path / "control" / KEY / "history.jsonl"
    history.write_bytes(damage(history.read_bytes().rstrip(b"\n")) + b"\n")
    with pytest.raises(errors.HistoryCorrupt):
        publisher.kill(ME)


@pytest.mark.parametrize("plan", [None, b"", b"garbage", "older"])
def test_a_recorded_revision_is_published_on_the_next_start(
    control: ControlFolder, publisher: Publisher, plan: bytes | str | None
) -> None:
    older = publisher.plan.read()
    assert older is not None
    publisher.kill(ME)
    if plan is None:
        (control.folder(KEY) / "plan.sealed").unlink()
    else:
        publisher.plan.write(older if isinstance(plan, str) else plan)
    control.ensure(KEY, ME)
    assert published(publisher).killed
    assert published(publisher).revision == 2


def test_a_crash_between_history_and_plan_is_healed_by_the_next_change(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store, "replace_durably", full)
        with pytest.raises(OSError, match="No space left"):
            publisher.kill(ME)
    assert publisher.plan.revision() == 1
    # The repetition finds the kill recorded, adds nothing, and publishes it.
    assert publisher.kill(ME).revision == 2
    assert published(publisher).killed
    assert len(publisher.revisions()) == 2


def test_plan_ahead_of_the_history(publisher: Publisher) -> None:
    publisher.plan.write(seal(replace(publisher.current(), revision=9)))
    with pytest.raises(errors.PlanAhead):
        publisher.kill(ME)


def test_one_writer_at_a_time(control: ControlFolder, publisher: Publisher) -> None:
    busy = Publisher(control.folder(KEY), lock_wait_s=0.0)
    with store.exclusive(control.folder(KEY) / "LOCK", 0.0), pytest.raises(errors.WriterBusy):
        busy.kill(ME)
    assert busy.kill(ME).killed


def test_plan_unreadable(tmp_path: Path) -> None:
    (tmp_path / "plan.sealed").mkdir()
    with pytest.raises(errors.PlanUnreadable):
        PlanFile(tmp_path / "plan.sealed").read()


def test_no_plan_yet(tmp_path: Path) -> None:
    assert PlanFile(tmp_path / "plan.sealed").read() is None


def test_nothing_temporary_stays(control: ControlFolder, publisher: Publisher) -> None:
    publisher.kill(ME)
    assert sorted(path.name for path in control.folder(KEY).iterdir()) == ["LOCK", "history.jsonl", "plan.sealed"]


def test_history_lines_are_plain_json(control: ControlFolder, publisher: Publisher) -> None:
    publisher.ramp(100, Author("zoë", "première étape\nsuite"))
    lines = (control.folder(KEY) / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["revision"] for line in lines] == [1, 2]
    assert json.loads(lines[1])["why"] == "première étape\nsuite"
    assert json.loads(lines[1])["state"]["ramp_bp"] == 100


def test_transitions_see_the_state_on_disk(control: ControlFolder, publisher: Publisher) -> None:
    other: Publisher = control.open(KEY)
    publisher.ramp(100, ME)
    assert other.ramp(200, ME).revision == 3
    current: Experiment = publisher.current()
    assert current.ramp_bp == 200
