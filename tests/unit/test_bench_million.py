"""The books of a long run: they balance whatever dies, and whatever is wrong with a log is named."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.v1 import rerank_pb2 as wire

from bench.accounts import ARMS, Offered, Sealed
from bench.million import Run, Scenario, judge
from bench.mix import Mix, number_of, request_id
from bench.streams import Asked

SCENARIO = Scenario(calls=1, kills=1)
ENROLLED = (wire.ARM_CONTROL, wire.ARM_TREATMENT)

Fate = tuple[int, bool, bool, bool]
"""Of a call: its arm, and whether it was offered, sealed and answered."""


def possible(fate: Fate) -> bool:
    arm, offered, sealed, answered = fate
    logged = arm in ENROLLED
    return (offered or not sealed) and (offered or not answered or not logged) and (logged or not offered)


fates = st.lists(
    st.tuples(st.sampled_from((0, 1, 2, 3)), st.booleans(), st.booleans(), st.booleans()).filter(possible), min_size=1
)


def run_of(lived: list[Fate], runs: int = 2) -> Run:
    """What a log without fault makes of those calls, over several lives of a writer."""
    asked, sealed = Asked(), Sealed(times=bytearray(len(lived)), arms=bytearray(len(lived)))
    offered: dict[str, Counter[str]] = {}
    for number, (arm, is_offered, is_sealed, is_answered) in enumerate(lived):
        name = f"0-{number % runs}"
        asked.take()
        if is_answered:
            response = wire.RerankResponse(request_id=request_id(number).decode())
            response.assigned_arm = wire.Arm.Name(arm)  # type: ignore[assignment]
            asked.keep(response)
        if is_offered:
            offered.setdefault(name, Counter())[ARMS[arm]] += 1
        if is_sealed:
            sealed.by_run.setdefault(name, Counter())[ARMS[arm]] += 1
            sealed.times[number], sealed.arms[number] = 1, arm + 1
            sealed.records += 1
    return Run(asked, 1, 0, sealed, Offered(offered, 0, 0))


@given(fates)
def test_books_balance_whatever_was_lost(lived: list[Fate]) -> None:
    books = judge(run_of(lived), SCENARIO)
    assert books.broken == []
    assert books.lost.total() == sum(offered and not sealed for _, offered, sealed, _ in lived)
    assert books.missing.total() == sum(answered and offered and not sealed for _, offered, sealed, answered in lived)


LIVED: list[Fate] = [
    (wire.ARM_TREATMENT, True, True, True),
    (wire.ARM_CONTROL, True, True, True),
    (wire.ARM_TREATMENT, True, False, True),
    (wire.ARM_NOT_ENROLLED, False, False, True),
    (wire.ARM_TREATMENT, False, False, False),
]
"""Logged twice, lost once, not logged, and a call that its worker never read."""


def _seal_twice(run: Run) -> None:
    run.sealed.times[0] = 2


def _hide_a_loss(run: Run) -> None:
    run.offered.by_run["0-0"]["treatment"] -= 1  # type: ignore[index]


def _count_too_many(run: Run) -> None:
    run.offered.by_run["0-0"]["treatment"] += 5  # type: ignore[index]


def _seal_under_another_run(run: Run) -> None:
    run.sealed.by_run["0-7"] = Counter(treatment=1)


def _log_another_arm(run: Run) -> None:
    run.sealed.arms[0] = 2


def _differ(run: Run) -> None:
    run.sealed.note("different", "0-1-1.log record 3: score 4")


def _fail_a_call(run: Run) -> None:
    run.asked.fail("a stream ended with INTERNAL")


def _answer_twice(run: Run) -> None:
    run.asked.keep(wire.RerankResponse(request_id="call-0"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_seal_twice, "sealed more than once"),
        (_hide_a_loss, "answered treatment calls are not sealed"),
        (_count_too_many, "are of no answered call"),
        (_seal_under_another_run, "run 0-7: 1 treatment records sealed, 0 offered"),
        (_log_another_arm, "name another arm"),
        (_differ, "do not replay to the same bits: 0-1-1.log record 3"),
        (_fail_a_call, "INTERNAL"),
        (_answer_twice, "not waiting for one"),
    ],
)
def test_what_is_wrong_is_named(spoil: Callable[[Run], None], said: str) -> None:
    run = run_of(LIVED)
    assert judge(run, SCENARIO).broken == []
    spoil(run)
    assert [line for line in judge(run, SCENARIO).broken if said in line], judge(run, SCENARIO).broken


@given(st.integers(0, 5_000_000))
def test_a_request_is_the_one_of_its_number(number: int) -> None:
    request = wire.RerankRequest.FromString(MIX.message(number))
    assert number_of(request.request_id) == number
    assert request.user_id.startswith("user-")
    assert len(request.candidate_ids) or request.pool_size


MIX = Mix()
