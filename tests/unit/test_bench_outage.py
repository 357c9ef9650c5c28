"""The judge of an outage: what an honest fleet does holds, and each promise that is broken is named."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.v1 import rerank_pb2 as wire

from bench.outage import Outage, Scenario, judge
from bench.steady import Call

SCENARIO = Scenario(seconds=20.0, lease_s=10, replicas=2, connections_per_replica=1)
SECOND = 1_000_000_000
KILLED, GONE, BACK, END = 100 * SECOND, 100 * SECOND + 5_000_000, 121 * SECOND, 130 * SECOND
USERS = 4


def call(connection: int, number: int, sent_ns: int, reason: int) -> Call:
    treated = reason == wire.REASON_UNSPECIFIED
    return Call(
        connection,
        f"user-{number % USERS}",
        sent_ns,
        sent_ns + 1_000_000,
        wire.ARM_TREATMENT,
        wire.ARM_TREATMENT if treated else wire.ARM_CONTROL,
        wire.STATUS_RERANKED if treated else wire.STATUS_BASELINE,
        reason,
        7,
    )


def honest(lease_ends_ns: Sequence[int], returns_ns: Sequence[int], step_ns: int) -> Outage:
    """Each connection's replica treats until its lease ends, and again from when it heard of the next control plane."""
    calls = [
        call(
            connection,
            number,
            sent_ns,
            wire.REASON_LEASE_EXPIRED
            if lease_ends_ns[connection] <= sent_ns < returns_ns[connection]
            else wire.REASON_UNSPECIFIED,
        )
        for number, sent_ns in enumerate(range(95 * SECOND, END, step_ns))
        for connection in (0, 1)
    ]
    return Outage(calls, (11, 22), KILLED, GONE, BACK, None, (22, 11))


OUTAGE = honest((GONE + 10 * SECOND - 1, KILLED + 9 * SECOND), (BACK, BACK + SECOND), SECOND // 4)

moments = st.integers(KILLED + 8 * SECOND, GONE + 10 * SECOND)
returns = st.integers(BACK, BACK + 5 * SECOND)


@given(st.tuples(moments, moments), st.tuples(returns, returns), st.integers(SECOND // 50, SECOND // 2))
def test_leases_that_end_in_time_hold(ends_ns: tuple[int, int], returns_ns: tuple[int, int], step_ns: int) -> None:
    verdict = judge(honest(ends_ns, returns_ns, step_ns), SCENARIO)
    assert verdict.holds, verdict
    assert [each.treated_late for each in verdict.replicas] == [0, 0]


@given(st.integers(GONE + 11 * SECOND, BACK - SECOND))
def test_treatment_beyond_the_lease_does_not_hold(end_ns: int) -> None:
    verdict = judge(honest((end_ns, KILLED + 9 * SECOND), (BACK, BACK), SECOND // 4), SCENARIO)
    assert [line for line in verdict.broken if "replica 11" in line and "after its lease" in line]
    assert not [line for line in verdict.broken if "replica 22" in line]


def test_treatment_again_before_the_restart_does_not_hold() -> None:
    """Within ten seconds of the end, but after the replica itself had said that its lease was over."""
    stray = call(0, 0, KILLED + 9 * SECOND, wire.REASON_UNSPECIFIED)
    outage = honest((KILLED + 8 * SECOND + SECOND // 2, KILLED + 9 * SECOND), (BACK, BACK), SECOND // 4)
    verdict = judge(replace(outage, calls=[*outage.calls, stray]), SCENARIO)
    assert [line for line in verdict.broken if "1 calls treated after" in line]


def test_a_lease_that_ends_early_is_told_apart() -> None:
    verdict = judge(honest((KILLED + SECOND, KILLED + 9 * SECOND), (BACK, BACK), SECOND // 4), SCENARIO)
    assert verdict.broken == []
    assert len(verdict.early) == 1
    assert not verdict.holds


def _switch_an_arm(outage: Outage) -> Outage:
    switched = replace(outage.calls[-1], assigned_arm=wire.ARM_CONTROL)
    return replace(outage, calls=[*outage.calls[:-1], switched])


def _never_return(outage: Outage) -> Outage:
    return replace(outage, calls=[each for each in outage.calls if each.sent_ns < BACK or each.connection == 0])


def _never_expire(outage: Outage) -> Outage:
    expired = wire.REASON_LEASE_EXPIRED
    return replace(outage, calls=[each for each in outage.calls if each.reason != expired or each.connection == 0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_switch_an_arm, "1 users were assigned to more than one arm"),
        (_never_return, "treated nobody within"),
        (_never_expire, "never answered LEASE_EXPIRED"),
        (lambda outage: replace(outage, failure="a call failed: reset"), "a call failed: reset"),
        (lambda outage: replace(outage, replicas_after=(11, 33)), "at the end"),
    ],
)
def test_every_broken_promise_is_named(change: Callable[[Outage], Outage], said: str) -> None:
    assert judge(OUTAGE, SCENARIO).holds
    assert [line for line in judge(change(OUTAGE), SCENARIO).broken if said in line]
