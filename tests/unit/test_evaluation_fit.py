"""Weights learnt from judged calls: the optimum is one, gains that exist are shown, and those that do not are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ra_guard.cli.evaluate_fit import definition_table
from ra_guard.evaluation.calls import Calls, JudgedCall, Scale
from ra_guard.evaluation.errors import NothingToLearn, TooFewUsers
from ra_guard.evaluation.fit import MOST_PAIRS, Pairs, cross_validated, fitted
from ra_guard.evaluation.weights import Weights
from ra_guard.experiments.definition import parse_definition
from scipy.optimize import minimize

from tests.stand_ins.definitions import changed

SPACE = "00" * 16
COSINE_ONLY = np.array([1, 0, 0, 0], np.float32)


def drawn(truth: tuple[float, ...], *, users: int, seed: int, noise: float = 0.3, candidates: int = 12) -> Calls:
    """Calls served by cosine alone; grades follow the terms by ``truth``, contradiction counted against."""
    random = np.random.default_rng(seed)
    calls = []
    for number in range(2 * users):
        terms = random.random((4, candidates), np.float32)
        worth = np.array(truth) @ terms + noise * random.normal(size=candidates)
        grades = np.searchsorted([0.5, 0.8, 0.95], np.argsort(np.argsort(worth)) / candidates)
        calls.append(
            JudgedCall(
                request_id=f"r-{number}",
                user_id=f"user-{number % users}",
                domain="",
                space=SPACE,
                top_k=0,
                states=[],
                ranking=np.argsort(-terms[0], kind="stable").tolist(),
                terms=terms.tolist(),
                scores=terms[0].tolist(),
                weights=COSINE_ONLY.tolist(),
                grades=dict(enumerate(grades.tolist())),
            )
        )
    return Calls.of(calls, {SPACE: Scale(0.0, 1.0)})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_fit_is_the_optimum_that_another_method_finds(seed: int, number: int) -> None:
    random = np.random.default_rng(seed)
    difference = random.uniform(-1, 1, (number, 4)) + random.uniform(0, 0.5, 4)
    importance = random.random(number) + 0.1
    pairs = Pairs(difference, importance / importance.sum(), np.zeros(number, np.int64))

    def loss(weights: np.ndarray) -> float:
        margins = np.logaddexp(0, -pairs.difference @ weights)
        return float(pairs.importance @ margins + 0.0005 * weights @ weights)

    best = minimize(loss, np.ones(4), bounds=[(0, None)] * 4, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    found = fitted(pairs).row().astype(np.float64)
    # The scale is not reported, so it is found again along the line.
    along = minimize(lambda scale: loss(scale[0] * found), [best.x.max()], bounds=[(0, None)], method="L-BFGS-B")
    assert along.fun <= best.fun + 1e-4


def test_a_gain_that_exists_is_shown_and_its_weights_are_those_of_the_truth() -> None:
    fit = cross_validated(drawn((1.0, 2.0, -1.0, 0.0), users=60, seed=1), folds=5, seed=0)
    assert fit.shows_a_gain
    assert fit.held_out.second.mean > fit.held_out.first.mean + 5
    assert fit.weights.cosine == 1
    assert fit.weights.consistency == pytest.approx(2, rel=0.15)
    assert fit.weights.contradiction == pytest.approx(1, rel=0.2)
    assert fit.weights.prior < 0.15


def test_no_gain_is_claimed_where_the_weights_in_force_are_the_truth_or_nothing_is() -> None:
    claims = [
        cross_validated(drawn(truth, users=20, seed=seed), folds=4, seed=seed).shows_a_gain
        for truth in ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
        for seed in range(10)
    ]
    assert sum(claims) <= 3  # of 20, each wrong in at most 2.5 %: more than 3 has probability 0.001


def test_the_same_seed_gives_the_same_fit() -> None:
    calls = drawn((1.0, 1.0, 0.0, 0.0), users=12, seed=3, candidates=30)
    assert cross_validated(calls, folds=3, seed=5) == cross_validated(calls, folds=3, seed=5)


def test_each_user_counts_once_and_pairs_are_bounded() -> None:
    calls = drawn((1.0, 1.0, 0.0, 0.0), users=4, seed=3, candidates=60)
    pairs = Pairs.of(calls, 0)
    assert pairs.difference.shape == (8 * MOST_PAIRS, 4)
    assert np.bincount(pairs.user, pairs.importance) == pytest.approx(0.25)
    kept = pairs.without(np.array([True, False, False, False]))
    assert set(kept.user.tolist()) == {1, 2, 3}
    assert kept.importance.sum() == pytest.approx(1)


def test_what_cannot_be_learnt_from_is_said() -> None:
    with pytest.raises(TooFewUsers, match="found 5 users"):
        cross_validated(drawn((1.0, 0.0, 0.0, 0.0), users=5, seed=0), folds=3, seed=0)
    calls = drawn((1.0, 0.0, 0.0, 0.0), users=6, seed=0)
    calls.grade[:] = 1
    with pytest.raises(NothingToLearn, match="different grades"):
        cross_validated(calls, folds=3, seed=0)


def test_the_printed_table_is_one_of_a_definition() -> None:
    text = changed()
    start, end = text.index("[weights.default]"), text.index("# Weights of one gallery domain")
    table = definition_table(Weights(1.0, 0.0, 1230.0, 1.5e-05))
    weights = parse_definition(f"{text[:start]}{table}\n\n{text[end:]}").weights.default
    assert (weights.cosine, weights.consistency, weights.contradiction, weights.prior) == (1.0, 0.0, 1230.0, 1.5e-05)
