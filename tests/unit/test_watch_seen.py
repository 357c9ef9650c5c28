"""What follows from the ledger: where the ramp stood, which looks were taken, what went wrong, when an epoch ended."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from ra_guard.experiments import model
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.model import Author, Experiment, Pace
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.experiments.upkeep import CRITICAL_ERRORS
from ra_guard.watch.seen import LOOK, Seen, look_numbers, look_of

from tests.stand_ins.definitions import definition

BEGAN = datetime(2026, 3, 4, 9, tzinfo=UTC)
ME = Author("me", "a test")


class Story:
    """An experiment and its ledger, an hour a change, as the control plane writes them."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.experiment: Experiment = model.first(definition(), self.now)
        self.ledger = [self._entry(None, self.experiment)]

    def then(self, change: str, ramp_bp: int = 0) -> "Story":
        self.now += timedelta(hours=1)
        before = self.experiment
        if change == "ramp":
            if 100 not in before.approved_bp:
                self.experiment = before.approve(100)
            self.experiment = self.experiment.ramp(ramp_bp, Pace.SKIPPING_STAGES, self.now)
        elif change == "kill":
            self.experiment = before.kill()
        elif change == "roll back":
            self.experiment = before.roll_back(self.now)
        else:
            self.experiment = before.resume(self.now)
        if self.experiment is not before:
            self.ledger.append(self._entry(before, self.experiment))
        return self

    def note(self, what: str, **numbers: float) -> "Story":
        self.now += timedelta(minutes=1)
        self.ledger.append(
            Entry(self.experiment.key, self.experiment.revision, self.now, "me", "a test", what, numbers)
        )
        return self

    @property
    def seen(self) -> Seen:
        return Seen(self.experiment, tuple(self.ledger), replicas=2, failing=1)

    def _entry(self, before: Experiment | None, after: Experiment) -> Entry:
        numbers = model.numbers_of(before, after, self.now)
        return Entry(after.key, after.revision, self.now, ME.who, ME.why, model.describe(before, after), numbers)


def test_the_ramp_of_this_epoch_alone_is_told() -> None:
    story = Story().then("ramp", 100).then("ramp", 500).then("roll back").then("resume")
    assert [ramped.ramp_bp for ramped in story.seen.ramps()] == [0]
    assert story.seen.launched_at is None
    launched = story.then("ramp", 1000).now
    seen = story.then("ramp", 2500).seen
    assert [ramped.ramp_bp for ramped in seen.ramps()] == [0, 1000, 2500]
    assert seen.launched_at == seen.began_at == launched


def test_an_epoch_ends_when_it_is_killed_or_rolled_back() -> None:
    story = Story().then("ramp", 100)
    assert story.seen.closed_at is None
    killed = story.then("kill").now
    assert story.note("seen").seen.closed_at == killed
    assert story.then("roll back").seen.closed_at == story.now
    assert story.then("resume").seen.closed_at is None


def test_critical_errors_count_by_stage_and_by_epoch() -> None:
    story = Story().note(CRITICAL_ERRORS, critical_errors=7).then("ramp", 100).note(CRITICAL_ERRORS, critical_errors=2)
    story.then("ramp", 500).note(CRITICAL_ERRORS, critical_errors=1)
    vitals = story.seen.vitals()
    assert (vitals.critical_errors, vitals.critical_errors_in_epoch) == (1, 10)
    assert (vitals.replicas, vitals.failing) == (2, 1)


finite = st.floats(-1e6, 1e6)


@given(
    st.builds(
        Look,
        day=st.integers(1, 365),
        at_unix_s=st.integers(0, 2**32),
        control_users=st.integers(0, 10**9),
        treatment_users=st.integers(0, 10**9),
        estimate=finite,
        standard_error=finite,
        information=finite,
        is_last=st.booleans(),
    )
)
def test_a_look_comes_back_from_the_ledger_as_it_was(look: Look) -> None:
    assert look_of(Story().note(LOOK, **look_numbers(look)).ledger[-1]) == look
    assert Story().then("ramp", 100).note(LOOK, **look_numbers(look)).seen.looks() == (look,)


def test_ticks_end_an_epoch_from_when_its_stage_and_its_definition_are_in_force() -> None:
    story = Story().then("ramp", 100).note("apply: triggers[0].bound_percent: 2 -> 1").note("look")
    assert story.seen.judged_since == BEGAN + timedelta(hours=1, minutes=1)
    assert story.then("ramp", 500).seen.judged_since == story.now
