"""The memory of an alarm against the definition's words, read again over all minutes so far."""

from hypothesis import given
from hypothesis import strategies as st
from ra_guard.experiments.definition.safety import Trigger
from ra_guard.experiments.monitor.trigger import Memory

Readings = list[tuple[int, bool | None]]


def alarm(for_minutes: int, coverage_percent: float) -> Trigger:
    return Trigger.model_validate(
        {
            "metric": "error_rate",
            "evidence": "observed",
            "when": "above",
            "bound_percent": 2.0,
            "for_minutes": for_minutes,
            "min_requests": 100,
            **({"coverage_percent": coverage_percent} if for_minutes else {}),
        }
    )


@st.composite
def readings(draw: st.DrawFn) -> Readings:
    """Minutes in order, some skipped; mostly crossing, or nothing would ever fire."""
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 5, 40]), min_size=1, max_size=40))
    words = st.sampled_from([True, True, True, True, True, True, None, False])
    minute, found = 29_000_000, []
    for step in steps:
        minute += step
        found.append((minute, draw(words)))
    return found


def fires(told: Readings, for_minutes: int, coverage_percent: float) -> bool:
    """Each reading of the last minutes crosses, and enough minutes have one; or this one crosses."""
    now, crossed = told[-1]
    if not for_minutes:
        return crossed is True
    window = [word for minute, word in told if now - for_minutes < minute <= now and word is not None]
    return bool(window) and all(window) and 100 * len(window) >= coverage_percent * for_minutes


@given(readings(), st.integers(0, 12), st.sampled_from([10.0, 50.0, 90.0, 100.0]))
def test_it_fires_as_the_definition_says(told: Readings, for_minutes: int, coverage_percent: float) -> None:
    memory = Memory.of(alarm(for_minutes, coverage_percent))
    for number, (minute, crossed) in enumerate(told, start=1):
        memory = memory.at(minute, crossed=crossed)
        so_far = told[:number]
        assert memory.is_firing is fires(so_far, for_minutes, coverage_percent)
        if for_minutes:
            present = [word for at, word in so_far if minute - for_minutes < at <= minute and word is not None]
            assert memory.coverage == len(present) / for_minutes
        else:
            assert memory.coverage == 1


@given(readings(), st.integers(0, 12), st.sampled_from([10.0, 50.0, 90.0, 100.0]))
def test_minutes_crossed_are_those_since_the_run_began(
    told: Readings, for_minutes: int, coverage_percent: float
) -> None:
    gap = int(max(for_minutes, 1) * (100 - coverage_percent) / 100) if for_minutes else 0
    memory = Memory.of(alarm(for_minutes, coverage_percent))
    for number, (minute, crossed) in enumerate(told, start=1):
        memory = memory.at(minute, crossed=crossed)
        start, last = None, minute + 1
        for at, word in reversed(told[:number]):
            if word is False or (word and last - at - 1 > gap):
                break
            if word:
                start = last = at
        assert memory.minutes_crossed == (0 if start is None else minute - start + 1)


@given(readings(), st.integers(0, 12), st.integers(0, 50))
def test_a_minute_that_comes_twice_or_goes_back_changes_nothing(told: Readings, for_minutes: int, back: int) -> None:
    memory = Memory.of(alarm(for_minutes, 90))
    for minute, crossed in told:
        memory = memory.at(minute, crossed=crossed)
    for again in (True, False, None):
        assert memory.at(told[-1][0] - back, crossed=again) == memory


@given(st.integers(1, 7 * 24 * 60))
def test_it_holds_no_more_than_its_minutes(for_minutes: int) -> None:
    memory = Memory.of(alarm(for_minutes, 90))
    for minute in (0, 1, for_minutes, 10**9, 10**9 + 1):
        memory = memory.at(minute, crossed=True)
        assert max(memory.read, memory.reset).bit_length() <= for_minutes
