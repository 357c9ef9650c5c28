"""What the statistics must keep for any data: moments add, nDCG agrees with itself, boundaries spend what they say."""

import math
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ra_guard.stats import effects, quantile_tests
from ra_guard.stats.effects import mean_of
from ra_guard.stats.moments import Moments, per_user
from ra_guard.stats.ndcg import NOT_SERVED, ndcg, ndcg_by_request
from ra_guard.stats.outcome import Alternative, Effect, Insufficient, Sides
from ra_guard.stats.quantile_tests import sample
from ra_guard.stats.sequential import Family, bounds, crossing_probabilities

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
rows = st.lists(st.tuples(numbers, numbers), max_size=30)
gains = st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.5])


def close(one: Moments, other: Moments) -> bool:
    return (
        one.n == other.n
        and np.allclose(one.means, other.means, rtol=1e-9, atol=1e-6)
        and np.allclose(one.scatter, other.scatter, rtol=1e-9, atol=1e-3)
    )


def of(users: list[tuple[float, float]]) -> Moments:
    return Moments.of([one for one, _ in users], [other for _, other in users])


@given(rows, st.lists(st.integers(0, 30), max_size=4), st.randoms())
def test_moments_add_in_any_order(users: list[tuple[float, float]], cuts: list[int], order: Random) -> None:
    edges = [0, *sorted(min(cut, len(users)) for cut in cuts), len(users)]
    parts = [of(users[start:end]) for start, end in pairwise(edges)]
    order.shuffle(parts)
    total = Moments.empty(2)
    for part in parts:
        total = total + part
    assert close(total, of(users))
    raw = np.array(users).reshape(-1, 2)
    assert close(total, Moments.of_sums(len(users), raw.sum(axis=0), raw.T @ raw))


@given(st.floats(1e6, 1e9), st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=20))
def test_a_spread_small_beside_the_mean_survives(level: float, spread: list[float]) -> None:
    values = level + np.array(spread)
    halves = Moments.of(values[: len(spread) // 2]) + Moments.of(values[len(spread) // 2 :])
    assert halves.variance(0) == pytest.approx(np.var(values - level, ddof=1), rel=1e-5, abs=1e-6)


@given(st.lists(st.tuples(st.integers(-5, 5), numbers), max_size=30))
def test_totals_by_user_are_those_of_each(requests: list[tuple[int, float]]) -> None:
    totals, counts = per_user([user for user, _ in requests], [value for _, value in requests])
    users = sorted({user for user, _ in requests})
    assert counts.tolist() == [sum(each == user for each, _ in requests) for user in users]
    wanted = [math.fsum(value for each, value in requests if each == user) for user in users]
    assert totals == pytest.approx(wanted, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), gains), max_size=40), st.integers(1, 12), st.randoms())
def test_ndcg_of_many_requests_is_that_of_each(rated: list[tuple[int, bool, float]], k: int, order: Random) -> None:
    served: dict[int, list[float]] = {}
    judged: dict[int, list[float]] = {}
    lines = []
    for request, was_served, gain in rated:
        judged.setdefault(request, []).append(gain)
        place = NOT_SERVED
        if was_served:
            served.setdefault(request, []).append(gain)
            place = len(served[request])
        lines.append((request, place, gain))
    order.shuffle(lines)
    found = ndcg_by_request([line[0] for line in lines], [line[1] for line in lines], [line[2] for line in lines], k=k)
    each = {request: ndcg(served.get(request, []), judged[request], k=k) for request in sorted(judged)}
    assert found.request.tolist() == [request for request, points in each.items() if points is not None]
    assert found.points == pytest.approx([points for points in each.values() if points is not None])
    assert found.without_relevant == sum(points is None for points in each.values())
    assert all(0 <= points <= 100 + 1e-9 for points in found.points)


@given(st.lists(numbers, max_size=8), st.lists(numbers, max_size=8), st.sampled_from(Alternative), numbers)
def test_an_effect_is_all_numbers_or_none(
    control: list[float], treatment: list[float], alternative: Alternative, null: float
) -> None:
    for compare in (effects.difference, effects.lift):
        found = compare(
            mean_of(Moments.of(control)), mean_of(Moments.of(treatment)), alternative=alternative, null=null
        )
        if isinstance(found, Insufficient):
            continue
        assert isinstance(found, Effect)
        assert math.isfinite(found.estimate)
        assert 0 <= found.p_value <= 1
        assert found.interval.low <= found.estimate <= found.interval.high


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.02, 1.3), min_size=1, max_size=6),
    st.sampled_from(Family),
    st.sampled_from(Sides),
    st.floats(0.001, 0.2),
)
def test_boundaries_spend_what_they_say(looks: list[float], family: Family, sides: Sides, alpha: float) -> None:
    information = sorted(looks)
    assume(all(later - sooner > 0.005 * later for sooner, later in pairwise(information)))
    information = [look for look in information if look < 1] + [look for look in information if look >= 1][:1]
    found = bounds(information, family=family, alpha=alpha, sides=sides)
    crossed = np.cumsum(crossing_probabilities(information, found.z, sides=sides))
    # Two one-sided walls are solved as one: a path that crosses both counts once, far less than this.
    assert crossed == pytest.approx(found.spent, rel=1e-6, abs=1e-12)
    assert found.spent[-1] <= alpha * (1 + 1e-12)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=60),
    st.lists(st.integers(0, 20), min_size=1, max_size=60),
    st.integers(-25, 25),
    st.sampled_from([0.5, 0.9]),
)
def test_the_quantile_interval_is_every_shift_that_is_not_refuted(
    control: list[int], treatment: list[int], null: int, quantile: float
) -> None:
    for alternative in Alternative:
        found = quantile_tests.difference(
            sample(control), sample(treatment), quantile=quantile, requests_opt=50, alternative=alternative, null=null
        )
        assert isinstance(found, Effect)
        assert found.rejects is (null not in found.interval)
        assert found.estimate in found.interval
