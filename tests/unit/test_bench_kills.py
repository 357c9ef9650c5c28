"""What callers saw of a kill is held to it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.v1 import rerank_pb2 as wire

from bench.agreement import WrongAnswerError
from bench.kills import Kill, obedience, percentile
from bench.steady import Call

KILL = Kill(called_ns=1000, answered_ns=2000, resumed_ns=5000, push_s=0.001)
TREATED = Call(0, "a", 100, 200, wire.ARM_TREATMENT, wire.ARM_TREATMENT, wire.STATUS_RERANKED, 0, 3)
LAST = replace(TREATED, sent_ns=900, answered_ns=1500)
KILLED = Call(0, "b", 2000, 2100, 2, wire.ARM_CONTROL, wire.STATUS_BASELINE, wire.REASON_KILLED, 4)


def test_calls_between_the_answer_and_the_next_change_count() -> None:
    obeyed = obedience([TREATED, LAST, KILLED, replace(KILLED, sent_ns=4000, answered_ns=5001)], [KILL])
    assert (obeyed.killed, obeyed.treated) == (1, 2)
    assert obeyed.last_treated_ms == [500 / 1e6]


@pytest.mark.parametrize(
    "stray",
    [
        replace(TREATED, sent_ns=2000, answered_ns=2300, plan_revision=4),
        replace(KILLED, reason=wire.REASON_LEASE_EXPIRED),
        replace(KILLED, reason=wire.REASON_CONTROL, answered_ns=5000),
    ],
)
def test_another_answer_than_the_kills_ends_the_section(stray: Call) -> None:
    with pytest.raises(WrongAnswerError, match="after a kill was answered"):
        obedience([TREATED, stray], [KILL])


def test_a_worker_that_goes_back_to_an_older_plan_ends_the_section() -> None:
    with pytest.raises(WrongAnswerError, match="no way back"):
        obedience([TREATED, KILLED, replace(TREATED, sent_ns=6000, answered_ns=6100)], [KILL])
    obedience([TREATED, KILLED, replace(TREATED, connection=1, sent_ns=6000, answered_ns=6100)], [KILL])


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)
