from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from ra_guard.alerts.board import QUIET, Board, State
from ra_guard.alerts.errors import NoSuchAlert
from ra_guard.alerts.message import Kind, Message
from ra_guard.experiments.definition.safety import Alert
from ra_guard.experiments.definition.vocabulary import Route, Severity, Team
from ra_guard.experiments.monitor.outcomes import Tick

from tests.stand_ins.definitions import definition
from tests.stand_ins.ticks import ALERTS, BOARD, ERRORS, Found, at, tick, watched

QUIET_MINUTES = int(QUIET.total_seconds() // 60)


def play(minutes: str, alert: Alert = ERRORS, state: State | None = None) -> tuple[State, list[tuple[int, Message]]]:
    """A letter a minute: x crossed, . healthy, ? nothing. The state at the end, and each message with its minute."""
    found = {"x": Found.CROSSED, ".": Found.HEALTHY, "?": Found.NOTHING}
    state, told = state or State(), []
    for minute, letter in enumerate(minutes):
        state, messages = BOARD.advance(state, tick({alert: found[letter]}), at(minute))
        told += [(minute, message) for message in messages]
    return state, told


def kinds(told: Sequence[tuple[int, Message]]) -> list[tuple[int, Kind]]:
    return [(minute, message.kind) for minute, message in told]


def test_an_alert_is_told_once_while_it_lasts() -> None:
    assert kinds(play("..xxxxx")[1]) == [(2, Kind.FIRED)]


def test_a_recovery_says_how_long_it_lasted_and_the_value_now() -> None:
    _, told = play("xxxxxxx" + "." * (QUIET_MINUTES + 1))
    assert kinds(told) == [(0, Kind.FIRED), (7 + QUIET_MINUTES, Kind.RECOVERED)]
    assert "above 2 % for 5 minutes after 7 min: now 2.00 %" in told[1][1].summary


def test_an_alert_that_comes_and_goes_is_told_once_and_recovers_once() -> None:
    _, told = play("x...." * 5 + "." * QUIET_MINUTES)
    assert kinds(told) == [(0, Kind.FIRED), (21 + QUIET_MINUTES, Kind.RECOVERED)]


def test_a_relapse_after_the_recovery_was_told_is_a_new_alert() -> None:
    _, told = play("x" + "." * (QUIET_MINUTES + 1) + "x")
    assert [kind for _, kind in kinds(told)] == [Kind.FIRED, Kind.RECOVERED, Kind.FIRED]


def test_what_cannot_be_told_neither_fires_nor_recovers() -> None:
    assert play("?" * 20) == (State(), [])
    assert kinds(play("x" + "?" * 20)[1]) == [(0, Kind.FIRED)]
    assert kinds(play("x." + "?" * 20)[1]) == [(0, Kind.FIRED)]
    assert kinds(play("x." + "?" * 20 + ".")[1])[-1] == (22, Kind.RECOVERED)


def test_it_climbs_to_its_last_level_and_no_further() -> None:
    _, told = play("x" * 200)
    assert [(minute, message.kind, message.level, message.to) for minute, message in told] == [
        (0, Kind.FIRED, 1, (Team.TECHNICAL,)),
        (30, Kind.ESCALATED, 2, (Team.PRODUCT_MANAGEMENT,)),
        (60, Kind.ESCALATED, 3, (Team.EXECUTIVES,)),
    ]
    medium = next(alert for alert in ALERTS if alert.severity is Severity.MEDIUM)
    assert kinds(play("x" * 200, medium)[1]) == [(0, Kind.FIRED)]


def test_it_climbs_while_nothing_can_be_told_and_not_while_it_is_quiet() -> None:
    assert (30, Kind.ESCALATED) in kinds(play("x" + "?" * 40)[1])
    assert kinds(play("x" * 28 + "....x")[1]) == [(0, Kind.FIRED), (32, Kind.ESCALATED)]


def test_levels_whose_time_passed_unseen_are_told_in_order() -> None:
    state, _ = play("x")
    _, messages = BOARD.advance(state, tick({ERRORS: Found.CROSSED}), at(90))
    assert [message.level for message in messages] == [2, 3]


def test_an_acknowledged_alert_climbs_no_further_and_still_recovers() -> None:
    state, _ = play("x")
    state = state.acknowledge("error_rate-critical", "ana", at(1))
    state, told = play("x" * 100 + "." * (QUIET_MINUTES + 1), state=state)
    assert [message.kind for _, message in told] == [Kind.RECOVERED]
    assert "Acknowledged: by ana at 2026-03-01 12:01 UTC" in told[0][1].plain
    assert state == State()


def test_the_first_acknowledgement_stays() -> None:
    state, _ = play("x")
    first = state.acknowledge("error_rate-critical", "ana", at(1))
    assert first.acknowledge("error_rate-critical", "ben", at(2)) == first


def test_only_what_stands_can_be_acknowledged() -> None:
    state, _ = play("x")
    with pytest.raises(NoSuchAlert, match=r"'error-rate'.*error_rate-critical"):
        state.acknowledge("error-rate", "ana", at(1))


def test_who_took_up_an_earlier_alert_has_not_taken_up_this_one() -> None:
    state, _ = play("x" + "." * (QUIET_MINUTES + 1) + "x")
    fired_again = QUIET_MINUTES + 2
    with pytest.raises(NoSuchAlert, match="wanted one that stood then: none"):
        state.acknowledge("error_rate-critical", "ana", at(fired_again - 1))
    assert state.acknowledge("error_rate-critical", "ana", at(fired_again)).standing[0].acknowledged


def test_every_alert_of_the_template_has_a_name_of_its_own() -> None:
    state, messages = BOARD.advance(State(), tick(dict.fromkeys(ALERTS, Found.CROSSED)), at(0))
    names = [message.alert for message in messages]
    assert len(set(names)) == len(ALERTS)
    assert {each.id for each in state.standing} == set(names)
    assert {"error_rate-critical", "error_rate-high", "latency_p95-critical", "complaints-medium"} <= set(names)


def test_alerts_that_differ_in_their_bound_alone_are_named_by_it() -> None:
    other = ERRORS.model_copy(update={"bound_percent": 5.0})
    _, messages = BOARD.advance(State(), tick({ERRORS: Found.CROSSED, other: Found.CROSSED}), at(0))
    names = [message.alert for message in messages]
    assert names == ["error_rate-critical-above-2-percent", "error_rate-critical-above-5-percent"]


def test_two_windows_of_one_bound_are_one_alert() -> None:
    slower = ERRORS.model_copy(update={"over_minutes": 60})
    both = Tick(0, (), (), (watched(ERRORS, Found.CROSSED), watched(slower, Found.HEALTHY)))
    state, messages = BOARD.advance(State(), both, at(0))
    assert [message.kind for message in messages] == [Kind.FIRED]
    assert len(state.standing) == 1


def test_an_alert_that_another_definition_lacks_is_withdrawn() -> None:
    state, _ = play("x")
    state, messages = BOARD.advance(state, tick({ALERTS[1]: Found.HEALTHY}), at(1))
    assert [message.kind for message in messages] == [Kind.WITHDRAWN]
    assert state == State()


def test_the_routes_and_levels_in_force_are_those_that_count() -> None:
    state, _ = play("x")
    calmer = ERRORS.model_copy(update={"escalates_to_level": 1, "routes": (Route.EMAIL,)})
    state, messages = BOARD.advance(state, tick({calmer: Found.CROSSED}), at(100))
    assert messages == ()
    assert state.standing[0].alert.routes == (Route.EMAIL,)


def test_the_end_of_an_epoch_takes_back_what_stands() -> None:
    state, _ = BOARD.advance(State(), tick({ERRORS: Found.CROSSED, ALERTS[1]: Found.CROSSED}), at(0))
    messages = BOARD.end(state, "the epoch was rolled back", at(3))
    assert [message.kind for message in messages] == [Kind.WITHDRAWN, Kind.WITHDRAWN]
    assert "the epoch was rolled back" in messages[0].summary


def test_levels_that_wait_are_not_told_at_once() -> None:
    later = definition(('response = "immediate response"\nafter_minutes = 0', 'response = "soon"\nafter_minutes = 10'))
    board = Board(later, BOARD.links)
    state, fired = board.advance(State(), tick({ERRORS: Found.CROSSED}), at(0))
    assert (fired[0].level, fired[0].to) == (0, ())
    state, climbed = board.advance(state, tick({ERRORS: Found.CROSSED}), at(10))
    assert [message.level for message in climbed] == [1]
    state, _ = board.advance(state, tick({ERRORS: Found.HEALTHY}), at(11))
    _, (recovered,) = board.advance(state, tick({ERRORS: Found.HEALTHY}), at(11) + QUIET)
    (withdrawn,) = board.end(state, "the epoch was rolled back", at(12))
    told = {reader for message in (*fired, *climbed) for reader in message.readers}
    assert set(recovered.readers) == set(withdrawn.readers) == told == {None, Team.TECHNICAL}


def test_what_is_remembered_survives_a_restart() -> None:
    state, _ = BOARD.advance(State(), tick(dict.fromkeys(ALERTS, Found.CROSSED)), at(0))
    state = state.acknowledge("error_rate-critical", "ana", at(1))
    state, _ = BOARD.advance(state, tick(dict.fromkeys(ALERTS, Found.HEALTHY)), at(2))
    restored = State.from_json(state.to_json())
    assert restored == state
    later = tick(dict.fromkeys(ALERTS, Found.HEALTHY))
    assert BOARD.advance(restored, later, at(9)) == BOARD.advance(state, later, at(9))


def test_a_trigger_among_the_alerts_is_a_mistake() -> None:
    trigger = replace(watched(ERRORS, Found.CROSSED), alarm=BOARD.definition.triggers[0])
    with pytest.raises(TypeError, match="found Trigger"):
        BOARD.advance(State(), Tick(0, (), (), (trigger,)), at(0))


def test_a_recovery_is_told_when_the_quiet_has_lasted_not_before() -> None:
    state, _ = play("x.")
    healthy = tick({ERRORS: Found.HEALTHY})
    assert BOARD.advance(state, healthy, at(1) + QUIET - timedelta(seconds=1))[1] == ()
    assert [message.kind for message in BOARD.advance(state, healthy, at(1) + QUIET)[1]] == [Kind.RECOVERED]
