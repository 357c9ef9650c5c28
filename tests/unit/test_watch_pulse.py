"""Signs of life: records, or counts of a worker that nobody calls, and not counts that grow while no record comes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from ra_guard.watch.logs import NS_PER_S, Pulse

NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * NS_PER_S
SECONDS = st.integers(0, 86_400)


def test_nothing_is_no_sign() -> None:
    assert Pulse().sign(None, 0, [], NOW) is None


def test_counts_are_a_sign_where_nobody_calls() -> None:
    pulse = Pulse()
    assert pulse.sign(None, 0, [NOW], NOW) == NOW
    pulse.sign(NOW_NS, 3, [NOW], NOW)
    assert pulse.sign(NOW_NS, 0, [NOW + timedelta(hours=5)], NOW + timedelta(hours=5)) == NOW + timedelta(hours=5)


def test_counts_that_grow_without_a_record_are_none_until_one_comes() -> None:
    pulse, later = Pulse(), NOW + timedelta(hours=1)
    pulse.sign(NOW_NS, 3, [NOW], NOW)
    assert pulse.sign(NOW_NS, 4, [later], later) == NOW
    assert pulse.sign(NOW_NS, 400, [later], later) == NOW
    assert pulse.sign(NOW_NS + 60 * NS_PER_S, 400, [later], later) == later


@given(SECONDS, SECONDS, st.integers(0, 9))
def test_no_sign_is_of_the_future(record_s: int, counted_s: int, missing: int) -> None:
    counted = NOW + timedelta(seconds=counted_s - 43_200)
    found = Pulse().sign(NOW_NS + (record_s - 43_200) * NS_PER_S, missing, [counted], NOW)
    assert found is not None
    assert found <= NOW
