"""Logged calls ranked again: against SCORE.md written out candidate by candidate, over whatever a log may hold."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ra_guard.evaluation.calls import Calls, JudgedCall, Scale
from ra_guard.evaluation.errors import OtherScores
from ra_guard.evaluation.weights import compare
from ra_guard.stats.ndcg import NOT_SERVED, ndcg

SPACE = "00" * 16
SCALE = Scale(0.1, 0.35)
SCALES = {SPACE: SCALE}
f32 = np.float32

numbers = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]) | st.floats(0, 1, width=32)
weights = st.tuples(*[st.sampled_from([0.0, 1.0, 3e38]) | st.floats(0, 2, width=32)] * 4)


def score(terms: tuple[float, ...], state: int, of: tuple[float, ...]) -> np.float32:
    if state > 2:
        return f32(math.nan)
    cosine, consistency, contradiction, prior = (f32(each) for each in terms)
    scaled = f32(0) if np.isnan(cosine) else (cosine - f32(SCALE.low)) / (f32(SCALE.high) - f32(SCALE.low))
    if np.isnan(consistency):
        consistency = contradiction = f32(0)
    with np.errstate(all="ignore"):
        total = f32(of[0]) * scaled + f32(of[1]) * consistency - f32(of[2]) * contradiction + f32(of[3]) * prior
    return total if np.isfinite(total) else f32(math.nan)


def ranking(scores: list[np.float32], states: list[int], top_k: int) -> list[int]:
    best = iter(sorted((each for each in range(len(scores)) if not np.isnan(scores[each])), key=lambda i: -scores[i]))
    order = [each if np.isnan(scores[each]) else next(best) for each in range(len(scores)) if states[each] != 5]
    return order[:top_k] if top_k else order


def terms_of(state: int, drawn: tuple[float, ...]) -> tuple[float, ...]:
    cosine, consistency, contradiction, prior = drawn
    if state != 0 and state != 1:
        cosine = math.nan
    if state != 0 and state != 2:
        consistency = contradiction = math.nan
    return cosine, consistency, contradiction, prior


@st.composite
def judged_calls(draw: st.DrawFn) -> JudgedCall:
    n = draw(st.integers(1, 14))
    states = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5]), min_size=n, max_size=n))
    terms = [terms_of(state, draw(st.tuples(*[numbers] * 4))) for state in states]
    logged, top_k = draw(weights), draw(st.integers(0, n + 1))
    scores = [score(each, state, logged) for each, state in zip(terms, states, strict=True)]
    return JudgedCall(
        request_id=draw(st.sampled_from("rst")),
        user_id=draw(st.sampled_from("uvw")),
        domain=draw(st.sampled_from(["", "pets"])),
        space=SPACE,
        top_k=top_k,
        states=states if any(states) else [],
        ranking=ranking(scores, states, top_k),
        terms=list(zip(*terms, strict=True)),
        scores=[float(each) for each in scores],
        weights=logged,
        grades=draw(st.dictionaries(st.integers(0, n - 1), st.integers(0, 4), min_size=1)),
    )


def order_of(ranks: list[int]) -> list[int]:
    served = [(rank, position) for position, rank in enumerate(ranks) if rank != NOT_SERVED]
    assert [rank for rank, _ in sorted(served)] == list(range(1, len(served) + 1))
    return [position for _, position in sorted(served)]


@settings(max_examples=120, deadline=None)
@given(st.lists(judged_calls(), min_size=1, max_size=6), weights)
def test_calls_are_ranked_as_the_reference_ranks_them(drawn: list[JudgedCall], other: tuple[float, ...]) -> None:
    calls = Calls.of(drawn, SCALES)
    others = np.tile(np.array(other, f32), (len(drawn), 1))
    scores, ranks = calls.scores(others), calls.ranks(others)
    assert (calls.ranks(calls.logged_weights) == calls.served_rank).all()
    points = {}
    for number, call in enumerate(drawn):
        mine = calls.call == number
        states = list(call.states) or [0] * len(call.scores)
        rows = list(zip(*call.terms, strict=True))
        wanted = [score(row, state, other) for row, state in zip(rows, states, strict=True)]
        assert np.array_equal(scores[mine], np.array(wanted, f32), equal_nan=True)
        order = ranking(wanted, states, call.top_k)
        assert order_of(ranks[mine].tolist()) == order
        value = ndcg([call.grades.get(each, 0) for each in order], list(call.grades.values()))
        if value is not None:
            points[number] = value
    gains = calls.gains(ranks)
    assert gains.request.tolist() == list(points)
    assert gains.points.tolist() == pytest.approx(list(points.values()))


@settings(max_examples=40, deadline=None)
@given(st.lists(judged_calls(), min_size=1, max_size=8))
def test_weights_compared_with_themselves_differ_by_nothing(drawn: list[JudgedCall]) -> None:
    calls = Calls.of(drawn, SCALES)
    found = compare(calls, calls.served_rank, calls.ranks(calls.logged_weights))
    relevant = [call for call in drawn if any(call.grades.values())]
    assert set(found) == ({None} | {call.domain for call in relevant} if relevant else set())
    for domain, each in found.items():
        of_domain = [call for call in drawn if domain is None or call.domain == domain]
        assert each.requests + each.without_relevant == len(of_domain)
        assert each.users == len({call.user_id for call in of_domain if call in relevant})
        assert (each.difference.mean, each.first.mean) == (0.0, each.second.mean)
        assert 0 <= each.first.mean <= 100 + 1e-9


def test_scores_that_the_logged_weights_do_not_give_are_refused() -> None:
    call = JudgedCall(
        "r", "u", "", SPACE, 0, [], [0], [[0.2], [0.0], [0.0], [1.0]], [0.4], [1.0, 0.0, 0.0, 0.0], {0: 1}
    )
    wrong = replace(call, scores=[float(score((0.2, 0, 0, 1), 0, (1, 0, 0, 0)))])
    Calls.of([wrong], SCALES)
    with pytest.raises(OtherScores, match="request 'r'"):
        Calls.of([wrong], {SPACE: Scale(0.0, 0.35)})
