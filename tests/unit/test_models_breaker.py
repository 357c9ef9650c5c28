"""The circuit breaker, on a clock that the test turns."""

import pytest
from ra_guard.serving.breaker import BreakerState, CircuitBreaker, Outcome


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(failures=3, reset_s=10, clock=clock)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admit()
        breaker.record(Outcome.FAILED)


def test_opens_after_failures_in_a_row(breaker: CircuitBreaker) -> None:
    fail(breaker, 3)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.admit()


def test_stays_closed_one_failure_before(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_an_answer_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.record(Outcome.ALIVE)
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_unknown_outcomes_neither_open_nor_reset(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        assert breaker.admit()
        breaker.record(Outcome.UNKNOWN)
    fail(breaker, 2)
    breaker.record(Outcome.UNKNOWN)
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN


def test_half_open_admits_exactly_one(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now = 9.9
    assert not breaker.admit()
    clock.now = 10.0
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit()
    assert not breaker.admit()


def test_a_good_probe_closes(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now = 10.0
    assert breaker.admit()
    breaker.record(Outcome.ALIVE)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 2)
    assert breaker.admit()


def test_a_bad_probe_opens_for_another_reset(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now = 10.0
    fail(breaker, 1)
    clock.now = 19.9
    assert not breaker.admit()
    clock.now = 20.0
    assert breaker.admit()


def test_a_probe_that_learned_nothing_lets_the_next_one_try(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now = 10.0
    assert breaker.admit()
    breaker.record(Outcome.UNKNOWN)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit()
