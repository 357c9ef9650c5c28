"""The control plane over a real store, on a clock that the test moves: what it refuses, and what replicas hear."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ra_guard import _core
from ra_guard.errors import RaGuardError
from ra_guard.experiments import errors
from ra_guard.experiments.control_store import StoreBusy, StoreCorrupt, StoreFailed, StoreFull, StoreGone, StoreReadOnly
from ra_guard.experiments.definition import template
from ra_guard.experiments.errors import ExperimentError
from ra_guard.experiments.flag import FlagState
from ra_guard.experiments.model import Author, Pace
from ra_guard.experiments.plane import ACK_GRACE_S, SPREAD_NUMBER
from ra_guard.experiments.published import Answer
from ra_guard.v1 import plan_pb2

from tests.stand_ins.control_plane import KEY, ME, TTL_S, Clock, Instance, ScriptedFlags, instance

LEASE_S = 60
Opened = Callable[..., Instance]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'control.db'}"


@pytest.fixture
def opened(url: str, clock: Clock) -> Iterator[Opened]:
    """Opens instances over one store and closes them in the end."""
    made: list[Instance] = []

    def open_instance(**options: object) -> Instance:
        made.append(instance(url, clock, **options))  # type: ignore[arg-type]
        return made[-1]

    yield open_instance
    for each in made:
        each.close()


@pytest.fixture
def control(opened: Opened) -> Instance:
    """An instance that leads, with the template's experiment."""
    control = opened().lead()
    control.plane.create_default(ME)
    return control


class Replica:
    """A replica that speaks when told to."""

    def __init__(self, name: str = "r") -> None:
        self.name = name
        self.revision, self.checksum = 0, 0

    def speak(self, to: Instance) -> Answer:
        found = to.plane.hear(KEY, self.name, (self.revision, self.checksum))
        if found.sealed is not None and not found.halt:
            sealed = plan_pb2.SealedPlan.FromString(found.sealed)
            self.revision, self.checksum = found.revision, sealed.checksum
        return found


def plan_of(sealed: bytes | None) -> plan_pb2.Plan:
    assert sealed is not None
    return plan_pb2.Plan.FromString(_core.check_plan(sealed))


def ramped(control: Instance) -> None:
    control.plane.approve(KEY, 100, ME)
    control.plane.ramp(KEY, 100, Pace.BY_STAGE, ME)


# Replicas


def test_a_replica_is_given_the_plan_once_and_then_confirmed(control: Instance) -> None:
    replica = Replica()
    first, second = replica.speak(control), replica.speak(control)
    assert (plan_of(first.sealed).revision, first.revision, first.halt) == (1, 1, False)
    assert (second.sealed, second.revision, second.halt) == (None, 1, False)
    control.plane.kill(KEY, ME)
    assert plan_of(replica.speak(control).sealed).killed
    assert control.plane.replicas.revisions(KEY) == {"r": 1}, "it has not said yet that it holds the second"
    replica.speak(control)
    assert control.plane.replicas.revisions(KEY) == {"r": 2}


def test_what_is_said_unasked_is_no_word_of_the_replicas(control: Instance, clock: Clock) -> None:
    replica = Replica()
    replica.speak(control)
    clock.advance(5)
    control.plane.kill(KEY, ME)
    assert plan_of(control.plane.answer(KEY, (replica.revision, replica.checksum)).sealed).killed
    assert [seen.age_s for seen in control.plane.replicas.listed(KEY)] == [5]


def test_every_change_wakes_the_streams(control: Instance) -> None:
    control.woken.clear()
    ramped(control)
    control.plane.kill(KEY, ME)
    assert control.woken == [KEY] * 3


def test_a_plan_with_our_number_and_other_bytes_counts_as_none(control: Instance) -> None:
    stranger = Replica()
    stranger.revision, stranger.checksum = 1, 4711
    assert plan_of(stranger.speak(control).sealed).revision == 1
    assert control.plane.replicas.revisions(KEY) == {"r": 0}


def test_a_change_goes_above_what_replicas_hold(control: Instance) -> None:
    ahead = Replica()
    ahead.revision, ahead.checksum = 41, 4711
    ahead.speak(control)
    killed = control.plane.kill(KEY, ME).after
    assert (killed.revision, killed.killed) == (42, True)
    assert plan_of(control.plane.plan(KEY, 42)).revision == 42


def test_nobody_is_answered_without_the_lease(opened: Opened, control: Instance, clock: Clock) -> None:
    replica = Replica()
    replica.speak(control)
    second = opened(holder="b").lead()
    for refused in (lambda: replica.speak(second), lambda: second.plane.kill(KEY, ME), second.plane.stored_keys):
        with pytest.raises(errors.NotTheWriter) as named:
            refused()
        assert named.value.found == "a as the writer, with term 1"
    clock.advance(TTL_S)  # and nobody renewed
    with pytest.raises(errors.NotTheWriter):
        replica.speak(control)


# What is refused


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda plane: plane.current("nobody"), errors.UnknownExperiment),
        (lambda plane: plane.current("../x"), errors.BadKey),
        (lambda plane: plane.kill("nobody", ME), errors.UnknownExperiment),
        (lambda plane: plane.hear("nobody", "r", (0, 0)), errors.UnknownExperiment),
        (lambda plane: plane.hear(KEY, "a/b", (0, 0)), errors.BadReplica),
        (lambda plane: plane.plan(KEY, 2), errors.UnknownRevision),
        (lambda plane: plane.ramp(KEY, 5001, Pace.BY_STAGE, ME), errors.RampOutOfRange),
        (lambda plane: plane.ramp(KEY, 300, Pace.BY_STAGE, ME), errors.NotAStage),
        (lambda plane: plane.ramp(KEY, 100, Pace.BY_STAGE, ME), errors.ApprovalMissing),
        (lambda plane: plane.ramp(KEY, 500, Pace.BY_STAGE, ME), errors.StageSkipped),
        (lambda plane: plane.ramp(KEY, 500, Pace.SKIPPING_STAGES, ME), errors.ApprovalMissing),
        (lambda plane: plane.approve(KEY, 500, ME), errors.ApprovalNotNeeded),
        (lambda plane: plane.resume(KEY, ME), errors.AlreadyLive),
        (lambda plane: plane.ramp(KEY, 0, Pace.BY_STAGE, ME, expected_revision=2), errors.StaleRevision),
        (lambda plane: plane.approve(KEY, 100, ME, expected_revision=2), errors.StaleRevision),
        (lambda plane: plane.resume(KEY, ME, expected_revision=2), errors.StaleRevision),
        (lambda plane: plane.apply(template(), ME, 2), errors.StaleRevision),
        (lambda plane: plane.apply(template("another"), ME, 1), errors.StaleRevision),
        (lambda plane: plane.apply("key = ", ME, 0), errors.BadDefinition),
        (lambda plane: plane.apply(f"colour = 1\n{template()}", ME, 1), errors.UnknownOption),
        (lambda plane: plane.preview("format = 2"), errors.UnknownFormat),
    ],
)
def test_a_refused_change_leaves_no_trace(
    control: Instance, change: Callable[[object], object], error: type[ExperimentError]
) -> None:
    before = control.plane.current(KEY), control.plane.ledger(KEY)
    control.woken.clear()
    with pytest.raises(error) as refused:
        change(control.plane)
    assert refused.value.found
    assert refused.value.wanted
    assert refused.value.cure
    assert (control.plane.current(KEY), control.plane.ledger(KEY)) == before
    assert (control.woken, control.plane.stored_keys()) == ([], [KEY])


def test_a_second_experiment_is_applied_beside_the_first(control: Instance) -> None:
    changed = control.plane.apply(template("another"), ME, 0)
    assert (changed.before, changed.after.key, changed.after.ramp_bp) == (None, "another", 0)
    assert control.plane.stored_keys() == ["another", KEY]
    assert control.plane.preview(template("another")) == (changed.after, changed.after)


def test_a_repeated_change_adds_no_revision(control: Instance) -> None:
    first = control.plane.kill(KEY, ME)
    again = control.plane.kill(KEY, ME)
    assert again.before is again.after
    assert again.after.revision == first.after.revision
    assert len(control.plane.ledger(KEY)) == 2


def test_of_two_operators_who_saw_the_same_revision_one_is_first(control: Instance) -> None:
    together = threading.Barrier(2)
    outcomes: list[object] = []

    def approve(who: str) -> None:
        together.wait(30)
        try:
            outcomes.append(control.plane.approve(KEY, 100, Author(who, "go"), 1).after.revision)
        except errors.StaleRevision as error:
            outcomes.append(type(error))

    operators = [threading.Thread(target=approve, args=(who,)) for who in ("ana", "ben")]
    for operator in operators:
        operator.start()
    for operator in operators:
        operator.join(30)
    assert set(outcomes) == {2, errors.StaleRevision}
    assert len(control.plane.ledger(KEY)) == 2


def test_the_ledger_says_who_why_what_and_how_fast(control: Instance, clock: Clock) -> None:
    replica = Replica()
    replica.speak(control)
    changed = control.plane.kill(KEY, Author("ana", "too slow"))
    clock.advance(0.25)
    replica.speak(control)
    replica.speak(control)
    spread = control.plane.wait(changed, 0)
    assert (spread.rollout.acked, spread.rollout.done, spread.seconds) == (("r",), True, 0.25)
    _, killed, reached = control.plane.ledger(KEY)
    assert (killed.who, killed.why, killed.what, killed.revision) == ("ana", "too slow", "kill at ramp 0 %", 2)
    assert killed.numbers["replicas"] == 1
    assert (reached.revision, reached.numbers[SPREAD_NUMBER], reached.numbers["acked"]) == (2, 0.25, 1)
    assert control.announced[-2:] == [killed, reached]
    assert control.spreads_s == [0.25]


def test_a_wait_is_over_when_the_last_lease_is(control: Instance, clock: Clock) -> None:
    Replica().speak(control)
    changed = control.plane.kill(KEY, ME)
    assert control.plane.wait(changed, 0).rollout.waiting == ("r",)
    clock.advance(LEASE_S + ACK_GRACE_S)
    spread = control.plane.wait(changed)
    assert (spread.rollout.expired, spread.rollout.done) == (("r",), True)


# The store refuses


def gone() -> StoreGone:
    return StoreGone(found="a server that does not answer", wanted="an answer", cure="start it")


@pytest.mark.parametrize("cause", [StoreBusy, StoreCorrupt, StoreFailed, StoreFull, StoreGone, StoreReadOnly])
@pytest.mark.parametrize("stop", ["kill", "roll_back"])
def test_a_kill_that_the_store_refuses_halts_at_once_and_is_stored_later(
    control: Instance, cause: type[ExperimentError], stop: str
) -> None:
    replica = Replica()
    replica.speak(control)
    ramped(control)
    replica.speak(control)
    replica.speak(control)
    control.woken.clear()
    control.store.refusal = cause(found="no room", wanted="some", cure="make room")
    with pytest.raises(errors.KillNotStored, match="no room"):
        getattr(control.plane, stop)(KEY, ME)
    assert control.woken == [KEY]
    assert replica.speak(control) == Answer(3, None, halt=True)
    assert control.plane.answer(KEY, (0, 0)).halt
    assert control.plane.unstored_kills == 1
    for change in (
        lambda: control.plane.ramp(KEY, 100, Pace.BY_STAGE, ME),  # changes nothing, and must not end the halt
        control.lead,
    ):
        change()
        assert replica.speak(control).halt
    assert isinstance(control.reported[-1], cause)
    control.store.refusal = None
    control.lead()
    stopped = control.plane.current(KEY)
    assert (stopped.killed, stopped.rolled_back, control.plane.unstored_kills) == (True, stop == "roll_back", 0)
    assert (control.plane.ledger(KEY)[-1].who, control.plane.ledger(KEY)[-1].why) == (ME.who, ME.why)
    answer = replica.speak(control)
    assert (plan_of(answer.sealed).killed, answer.halt) == (True, False)


def test_a_kill_whose_outcome_is_unknown_halts_while_it_is_read(control: Instance) -> None:
    replica = Replica()
    replica.speak(control)
    control.store.swallow = True
    with pytest.raises(errors.KillNotStored):
        control.plane.kill(KEY, ME)
    assert not control.plane.leads()
    assert replica.speak(control).halt
    control.lead()
    answer = replica.speak(control)
    assert (plan_of(answer.sealed).killed, answer.halt, answer.revision) == (True, False, 2)
    assert control.plane.unstored_kills == 0
    assert len(control.plane.ledger(KEY)) == 2, "it had been stored"


def test_a_rollback_that_waits_for_the_store_survives_a_kill(control: Instance) -> None:
    control.store.refusal = gone()
    with pytest.raises(errors.KillNotStored):
        control.plane.roll_back(KEY, ME)
    control.store.refusal = None
    control.plane.kill(KEY, ME)
    control.lead()
    assert control.plane.current(KEY).rolled_back


def test_a_change_that_the_store_refuses_is_not_published(control: Instance) -> None:
    control.store.refusal = gone()
    with pytest.raises(StoreGone):
        control.plane.approve(KEY, 100, ME)
    assert control.plane.current(KEY).revision == 1
    assert not Replica().speak(control).halt


# Take-over


def test_another_instance_takes_over_with_the_replicas_of_the_first(
    opened: Opened, control: Instance, clock: Clock
) -> None:
    replica = Replica()
    ramped(control)
    for _ in range(2):
        replica.speak(control)
    control.lead()
    second = opened(holder="b")
    clock.advance(TTL_S)
    second.lead()
    assert second.plane.current(KEY).ramp_bp == 100
    assert second.plane.replicas.revisions(KEY) == {"r": 3}
    changed = second.plane.kill(KEY, ME)
    assert changed.after.revision == 4
    assert second.plane.wait(changed, 0).rollout.waiting == ("r",), "it may have spoken to the first a moment ago"
    with pytest.raises(errors.NotTheWriter):
        control.plane.ramp(KEY, 0, Pace.BY_STAGE, ME)
    assert plan_of(replica.speak(second).sealed).killed
    replica.speak(second)
    assert second.plane.wait(changed, 0).rollout.acked == ("r",)


def test_who_leads_again_reads_what_happened_meanwhile(opened: Opened, control: Instance, clock: Clock) -> None:
    clock.advance(TTL_S)
    second = opened(holder="b").lead()
    second.plane.kill(KEY, ME)
    second.seat.leave()
    control.lead()
    control.lead()
    assert control.plane.current(KEY).killed


def test_replicas_that_left_or_fell_silent_are_not_expected(opened: Opened, control: Instance, clock: Clock) -> None:
    for name in ("stays", "leaves"):
        Replica(name).speak(control)
    control.lead()
    control.plane.leave(KEY, "leaves")
    control.lead()
    clock.advance(TTL_S)
    assert set(opened(holder="b").lead().plane.replicas.revisions(KEY)) == {"stays"}


# The flag


@pytest.fixture
def flags() -> ScriptedFlags:
    return ScriptedFlags()


@pytest.fixture
def flagged(opened: Opened, flags: ScriptedFlags) -> Instance:
    """An instance whose flag was not read yet."""
    control = opened(flags=flags).lead()
    control.plane.create_default(ME)
    return control


def test_a_flag_that_is_off_kills_and_says_so(flagged: Instance, flags: ScriptedFlags) -> None:
    flagged.lead()
    assert not flagged.plane.current(KEY).killed
    flags.state = FlagState.OFF
    flagged.lead()
    flagged.lead()
    assert flagged.plane.current(KEY).killed
    assert [(line.who, line.why) for line in flagged.plane.ledger(KEY)][1:] == [("flag Scripted", f"flag {KEY} is off")]


def test_a_flag_that_comes_on_again_resumes_nothing(flagged: Instance, flags: ScriptedFlags) -> None:
    flags.state = FlagState.OFF
    flagged.lead()
    with pytest.raises(errors.FlagIsOff):
        flagged.plane.resume(KEY, ME)
    flags.state = FlagState.ON
    flagged.lead()
    assert flagged.plane.current(KEY).killed
    assert not flagged.plane.resume(KEY, ME).after.killed


def test_no_lease_before_the_flag_was_read_once(flagged: Instance, flags: ScriptedFlags) -> None:
    flags.state = FlagState.UNREADABLE
    flagged.lead()
    with pytest.raises(errors.FlagUnread):
        Replica().speak(flagged)
    assert flagged.plane.replicas.listed(KEY) == ()
    flags.state = FlagState.ON
    flagged.lead()
    assert Replica().speak(flagged).revision == 1
    flags.state = FlagState.UNREADABLE
    flagged.lead()
    assert Replica().speak(flagged).revision == 1, "the last value still holds"
    assert not flagged.plane.current(KEY).killed


def test_flags_that_are_off_halt_every_experiment_while_the_store_refuses(
    flagged: Instance, flags: ScriptedFlags
) -> None:
    flagged.plane.apply(template("another"), ME, 0)
    flagged.lead()
    flags.state, flagged.store.refusal = FlagState.OFF, gone()
    flagged.lead()
    assert flagged.plane.unstored_kills == 2
    asked = flagged.store.asked
    flagged.lead()
    assert flagged.store.asked <= asked + 2, "one attempt for each"
    flagged.store.refusal = None
    flagged.lead()
    assert all(flagged.plane.current(key).killed for key in ("another", KEY))


def test_a_step_that_fails_stops_no_other(control: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("boom")

    Replica().speak(control)
    monkeypatch.setattr(control.plane._upkeep, "_obey_flags", fail)
    control.plane.tick()
    assert set(control.store.replicas(KEY)) == {"r"}
    assert [str(error) for error in control.reported] == ["boom"]


def test_the_wall_clock_is_written_down_and_decides_nothing(url: str, clock: Clock) -> None:
    control = instance(url, clock)
    jumping = iter([datetime(2026, 1, 1, tzinfo=UTC), *[datetime(1990, 1, 1, tzinfo=UTC)] * 20])
    control.plane._clock = lambda: next(jumping)
    control.lead()
    control.plane.create_default(ME)
    replica = Replica()
    replica.speak(control)
    replica.speak(control)
    ramped(control)
    replica.speak(control)
    replica.speak(control)
    assert control.plane.wait(control.plane.kill(KEY, ME), 0).rollout.waiting == ("r",)
    assert control.plane.ledger(KEY)[-2].numbers["held_s"] == 0
    assert not [error for error in control.reported if not isinstance(error, RaGuardError)]
    control.close()
