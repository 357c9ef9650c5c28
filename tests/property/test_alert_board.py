"""The board over random ticks: whatever happens, people are told a story that makes sense."""

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from ra_guard.alerts.board import State
from ra_guard.alerts.message import Kind, Message

from tests.stand_ins.ticks import ALERTS, BOARD, Found, at, tick

CHANCES = [Found.CROSSED, Found.CROSSED, Found.HEALTHY, Found.HEALTHY, Found.NOTHING]
minutes = st.tuples(
    st.integers(1, 40),  # minutes since the tick before
    st.tuples(*(st.sampled_from(CHANCES) for _ in ALERTS)),
    st.booleans(),  # whether somebody acknowledges all that stands
)
ENDS = {Kind.RECOVERED, Kind.WITHDRAWN}


def play(story: list[tuple[int, tuple[Found, ...], bool]]) -> tuple[State, dict[str, list[Message]]]:
    state, told, minute = State(), defaultdict(list), 0
    for gap, found, is_acknowledged in story:
        minute += gap
        state, messages = BOARD.advance(state, tick(dict(zip(ALERTS, found, strict=True))), at(minute))
        for message in messages:
            told[message.alert].append(message)
        if is_acknowledged:
            for each in state.standing:
                state = state.acknowledge(each.id, "ana", at(minute))
    return state, told


@given(st.lists(minutes, max_size=40))
def test_alerts_fire_and_recover_in_turns(story: list[tuple[int, tuple[Found, ...], bool]]) -> None:
    state, told = play(story)
    standing = {each.id for each in state.standing}
    for alert, messages in told.items():
        turns = [message.kind for message in messages if message.kind is not Kind.ESCALATED]
        assert turns[0] is Kind.FIRED
        assert all((before is Kind.FIRED) is (after in ENDS) for before, after in pairwise(turns))
        assert (turns[-1] is Kind.FIRED) is (alert in standing)


@given(st.lists(minutes, max_size=40))
def test_levels_ascend_within_one_alert_and_stay_within_its_limit(
    story: list[tuple[int, tuple[Found, ...], bool]],
) -> None:
    _, told = play(story)
    limits = {BOARD.advance(State(), tick({a: Found.CROSSED}), at(0))[1][0].alert: a for a in ALERTS}
    for alert, messages in told.items():
        level = 0
        for message in messages:
            if message.kind is Kind.FIRED:
                level = message.level
            elif message.kind is Kind.ESCALATED:
                assert message.level == level + 1
                level = message.level
            else:
                assert message.level == level
            assert level <= limits[alert].escalates_to_level


@given(st.lists(minutes, max_size=40))
def test_one_who_acknowledges_hears_of_no_further_level(story: list[tuple[int, tuple[Found, ...], bool]]) -> None:
    _, told = play([(gap, found, True) for gap, found, _ in story])
    escalated = [message for messages in told.values() for message in messages if message.kind is Kind.ESCALATED]
    assert not escalated


@given(st.lists(minutes, max_size=20))
def test_a_restart_changes_nothing(story: list[tuple[int, tuple[Found, ...], bool]]) -> None:
    state, _ = play(story)
    assert State.from_json(state.to_json()) == state
