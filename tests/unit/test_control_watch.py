"""What the control plane sees to by itself: treatment without evidence, and critical errors of replicas."""

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.experiments.condition import Condition, Conditions
from ra_guard.experiments.errors import BadNote
from ra_guard.experiments.model import Author, Pace
from ra_guard.experiments.upkeep import CRITICAL_ERRORS, CRITICAL_ERRORS_EVERY_S

from tests.stand_ins.control_plane import KEY, ME, Clock, Instance, instance

MINUTE_S = 60


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control(tmp_path: Path, clock: Clock) -> Iterator[Instance]:
    """An instance that leads, with the template's experiment at 1 %."""
    control = instance(f"sqlite:///{tmp_path / 'control.db'}", clock).lead()
    control.plane.create_default(ME)
    control.plane.approve(KEY, 100, ME)
    control.plane.ramp(KEY, 100, Pace.BY_STAGE, ME)
    yield control
    control.close()


def pass_time(control: Instance, clock: Clock, minutes: int) -> None:
    """Minute by minute, as the process does it."""
    for _ in range(minutes):
        clock.advance(MINUTE_S)
        control.lead()
        control.plane.tick()


def allowed(control: Instance) -> int:
    return control.plane.current(KEY).definition.rollback.without_evidence_minutes


# Evidence


def test_treatment_that_nobody_sees_is_rolled_back(control: Instance, clock: Clock) -> None:
    minutes = allowed(control)
    pass_time(control, clock, minutes - 1)
    assert not control.plane.current(KEY).killed
    pass_time(control, clock, 1)
    assert control.plane.current(KEY).rolled_back
    (line,) = [entry for entry in control.plane.ledger(KEY) if "no evidence" in entry.why]
    assert (line.who, line.numbers["minutes_allowed"]) == ("ra-guard control", minutes)
    assert line.numbers["minutes_without_evidence"] >= minutes


def test_evidence_keeps_it_running_and_only_new_evidence_does(control: Instance, clock: Clock) -> None:
    minutes = allowed(control)
    for _ in range(3):
        pass_time(control, clock, minutes - 3)
        patience_s = control.plane.attest(KEY, clock.now() - timedelta(minutes=2))
        assert patience_s == pytest.approx((minutes - 2) * MINUTE_S)
    seen = clock.now() - timedelta(minutes=2)
    for _ in range(minutes - 2):
        pass_time(control, clock, 1)
        if not control.plane.current(KEY).killed:
            control.plane.attest(KEY, seen)
    assert control.plane.current(KEY).rolled_back, "an attestation that is repeated is no evidence"


def test_nobody_waits_for_evidence_while_nobody_is_treated(control: Instance, clock: Clock) -> None:
    control.plane.ramp(KEY, 0, Pace.BY_STAGE, ME)
    pass_time(control, clock, 2 * allowed(control))
    assert control.plane.attest(KEY, clock.now()) is None
    assert not control.plane.current(KEY).killed
    control.plane.ramp(KEY, 100, Pace.BY_STAGE, ME)
    pass_time(control, clock, allowed(control) - 1)
    assert not control.plane.current(KEY).killed, "patience begins with the first users"


# Notes


def test_a_note_changes_nothing_and_stays(control: Instance) -> None:
    before = control.plane.current(KEY)
    control.plane.note(KEY, "look on day 3", Author("ra-guard watch", "it is due"), {"estimate": 4.2})
    assert control.plane.current(KEY) is before
    line = control.plane.ledger(KEY)[-1]
    assert (line.what, line.who, dict(line.numbers)) == ("look on day 3", "ra-guard watch", {"estimate": 4.2})


@pytest.mark.parametrize(
    ("what", "numbers"),
    [("", {}), ("x" * 257, {}), ("x", {"a": float("nan")}), ("x", {str(n): 0.0 for n in range(257)}), ("x", {"": 1.0})],
)
def test_a_note_that_says_nothing_is_refused(control: Instance, what: str, numbers: dict[str, float]) -> None:
    lines = control.plane.ledger(KEY)
    with pytest.raises(BadNote):
        control.plane.note(KEY, what, ME, numbers)
    assert control.plane.ledger(KEY) == lines


# Critical errors


def test_critical_errors_become_lines_that_grow_rare_while_they_go_on(control: Instance, clock: Clock) -> None:
    def word(errors: int) -> None:
        control.plane.hear(KEY, "r", (0, 0), Condition(critical_errors=errors, started_unix_ns=1))
        control.plane.tick()

    def noted() -> list[float]:
        return [e.numbers[CRITICAL_ERRORS] for e in control.plane.ledger(KEY) if e.what == CRITICAL_ERRORS]

    word(5)
    assert noted() == [], "what a replica brings along was there before"
    word(7)
    word(8)
    assert noted() == [2]
    shortest_s, longest_s = CRITICAL_ERRORS_EVERY_S
    clock.advance(shortest_s)
    control.lead()
    control.plane.tick()
    assert noted() == [2, 1]
    for minute in range(24 * 60):
        clock.advance(60.0)
        control.lead()
        word(9 + minute)
    assert sum(noted()) > 24 * 60 - longest_s / 60
    assert len(noted()) < 2 + math.log2(longest_s / shortest_s) + 24, "an hour apart at last"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=20))
def test_no_critical_error_is_lost_or_counted_twice(words: list[tuple[bool, int]]) -> None:
    """Each word either goes on counting or is of a new process, which means a crash."""
    conditions = Conditions()
    conditions.hear(KEY, "r", Condition())
    started = errors = expected = 0
    for crashed, more in words:
        if crashed:
            started, errors, expected = started + 1, 0, expected + 1
        errors, expected = errors + more, expected + more
        conditions.hear(KEY, "r", Condition(critical_errors=errors, started_unix_ns=started))
    assert conditions.new_critical_errors(KEY) == expected
    conditions.took(KEY, expected)
    assert conditions.new_critical_errors(KEY) == 0


def test_a_farewell_is_no_crash() -> None:
    conditions = Conditions()
    conditions.hear(KEY, "r", Condition(failing=True, started_unix_ns=1))
    assert conditions.failing(KEY) == {"r"}
    conditions.leave(KEY, "r")
    conditions.hear(KEY, "r", Condition(started_unix_ns=2))
    assert (conditions.new_critical_errors(KEY), conditions.failing(KEY)) == (0, frozenset())
