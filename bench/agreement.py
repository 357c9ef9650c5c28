"""Whether two ways to score rank alike. A benchmark of wrong answers is worth nothing: a disagreement ends the run.

Two rankings agree when neither puts a candidate ahead of another that is better by more than the tolerance, which is
twice the largest error that a score may carry.
"""

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]


class WrongAnswerError(Exception):
    """A measured variant gives another answer than the reference."""


def check_scores(who: str, found: Scores, wanted: Scores, error: float) -> None:
    """Refuses scores that differ from the reference by more than ``error``, or are not finite."""
    difference = np.abs(found.astype(np.float64) - wanted)
    if not np.all(difference <= error):
        worst = int(np.nanargmax(np.where(np.isfinite(difference), difference, np.inf)))
        raise WrongAnswerError(
            f"{who}: score of candidate {worst} is {found[worst]!r}, wanted {wanted[worst]!r} within {error:.1e}"
        )


def check_ranking(who: str, ranking: npt.NDArray[np.integer], wanted: Scores, error: float) -> None:
    """Refuses a ranking that is no permutation, or that contradicts the reference scores beyond twice ``error``."""
    if not np.array_equal(np.sort(ranking), np.arange(len(wanted))):
        raise WrongAnswerError(f"{who}: the ranking is no permutation of {len(wanted)} candidates")
    along = wanted[ranking]
    best_behind = np.maximum.accumulate(along[::-1])[::-1]
    inversion = best_behind - along
    if not np.all(inversion <= 2 * error):
        place = int(np.argmax(inversion))
        raise WrongAnswerError(
            f"{who}: place {place} holds a candidate that is worse by {inversion[place]:.3e} than one behind it, "
            f"allowed {2 * error:.1e}"
        )
