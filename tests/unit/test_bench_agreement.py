"""The checks that end a run when a variant answers wrongly."""

import numpy as np
import pytest

from bench.agreement import WrongAnswerError, check_ranking, check_scores

WANTED = np.array([0.5, 0.9, 0.1, 0.9 - 1e-7])


def test_scores_within_the_error_pass() -> None:
    check_scores("x", (WANTED + 1e-7).astype(np.float32), WANTED, 1e-6)


@pytest.mark.parametrize("wrong", [0.2, np.nan, np.inf])
def test_a_score_outside_the_error_or_not_finite_is_refused(wrong: float) -> None:
    found = WANTED.copy()
    found[2] = wrong
    with pytest.raises(WrongAnswerError, match="candidate 2"):
        check_scores("x", found, WANTED, 1e-6)


@pytest.mark.parametrize("ranking", [[1, 3, 0, 2], [3, 1, 0, 2]])
def test_rankings_may_differ_where_scores_are_too_close_to_tell(ranking: list[int]) -> None:
    check_ranking("x", np.array(ranking), WANTED, 1e-6)


def test_an_inversion_beyond_the_error_is_refused() -> None:
    with pytest.raises(WrongAnswerError, match="place 0"):
        check_ranking("x", np.array([0, 1, 3, 2]), WANTED, 1e-6)


@pytest.mark.parametrize("ranking", [[1, 3, 0], [1, 1, 0, 2], [1, 3, 0, 4]])
def test_a_ranking_that_is_no_permutation_is_refused(ranking: list[int]) -> None:
    with pytest.raises(WrongAnswerError, match="permutation"):
        check_ranking("x", np.array(ranking), WANTED, 1e-6)
