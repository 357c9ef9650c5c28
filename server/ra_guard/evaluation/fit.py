"""Learns one set of weights from judged calls, and measures it on users that it was not learnt from.

The loss is pairwise and logistic (RankNet without a network; Burges et al., ICML 2005): of two candidates of one call,
the one with the higher grade should score higher. It is convex in the four weights, so there is one answer and no start
to choose; with four numbers to learn there is little to overfit, and what there is the cross-validation shows. Each
user counts once, each of a user's calls the same, and each pair of a call the same.

What is reported is another thing than what is learnt from: nDCG@10 of held-out users, against the weights that were in
force. Users are dealt to folds whole, since calls of one user resemble each other. The folds' fits share most of their
data, so the interval is a little too short; it is that of the procedure, not of the last fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ra_guard.evaluation.calls import TERMS, Calls, Integers, Singles
from ra_guard.evaluation.errors import NothingToLearn, TooFewUsers
from ra_guard.evaluation.weights import Comparison, Weights, comparison_of
from ra_guard.stats.inputs import Floats
from ra_guard.stats.outcome import Insufficient

MOST_PAIRS: Final = 200
"""Of one call; of more a seeded sample is taken."""
USERS_PER_FOLD: Final = 2
_RIDGE: Final = 1e-3
"""Times half the squared weights, so that there is an optimum where one term alone sorts everything."""
_MOST_STEPS: Final = 5_000
_STILL: Final = 1e-6
"""A step that moves no weight by more than this, relative to the largest, is the last."""
_DIGITS: Final = 3
_SMALL: Final = 0.01
_SIGNS: Final = np.array([1.0, 1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Pairs:
    """Pairs of candidates of one call, better less worse, with the contradiction negated."""

    difference: Floats
    """(pairs, 4)"""
    importance: Floats
    """(pairs,) summing to 1 over all."""
    user: Integers
    """(pairs,)"""

    @classmethod
    def of(cls, calls: Calls, seed: int) -> Self:
        """Of the judged candidates that have features. Raises NothingToLearn without a pair of different grades."""
        random = np.random.default_rng(seed)
        rows = np.flatnonzero(calls.judged & calls.with_features & calls.licensed)
        ends = np.flatnonzero(np.diff(calls.call[rows])) + 1
        better, worse, sizes = [], [], []
        for of_call in np.split(rows, ends):
            high, low = np.nonzero(calls.grade[of_call][:, np.newaxis] > calls.grade[of_call])
            if high.size > MOST_PAIRS:
                chosen = random.choice(high.size, MOST_PAIRS, replace=False)
                high, low = high[chosen], low[chosen]
            if high.size:
                better.append(of_call[high])
                worse.append(of_call[low])
                sizes.append(high.size)
        if not better:
            raise NothingToLearn(
                found="no call with two scored candidates of different grades", wanted="one or more", cure="judge more"
            )
        over, under, size = np.concatenate(better), np.concatenate(worse), np.array(sizes)
        user = calls.user[calls.call[over]]
        users_of_calls = calls.user[calls.call[np.array([each[0] for each in better])]]
        calls_of_user = np.bincount(users_of_calls, minlength=int(calls.user.max()) + 1)
        importance = 1.0 / (np.repeat(size, size) * calls_of_user[user])
        terms = calls.terms.astype(np.float64)
        return cls((terms[:, over] - terms[:, under]).T * _SIGNS, importance / importance.sum(), user)

    def without(self, users: npt.NDArray[np.bool_]) -> "Pairs":
        """Without those users, of whom ``users`` (highest number + 1,) says True. Raises NothingToLearn."""
        kept = ~users[self.user]
        if not kept.any():
            raise NothingToLearn(found="every pair from one fold's users", wanted="users in each", cure="judge more")
        return Pairs(self.difference[kept], self.importance[kept] / self.importance[kept].sum(), self.user[kept])


def fitted(pairs: Pairs) -> Weights:
    """The weights of least loss, 0 or more, in three digits.

    Orders do not depend on their scale: the cosine's is 1, or the largest where the cosine's is small beside it.
    Projected gradient with Nesterov's momentum, its step from the curvature that the loss has at most.
    """
    weighted = pairs.difference * pairs.importance[:, np.newaxis]
    step = 1 / (np.linalg.norm(weighted.T @ pairs.difference, 2) / 4 + _RIDGE)
    at = ahead = np.zeros(len(TERMS))
    momentum = 1.0
    for _ in range(_MOST_STEPS):
        # The chance that the loss gives to the wrong order; tanh, since exp overflows.
        wrong = 0.5 - 0.5 * np.tanh(pairs.difference @ ahead / 2)
        moved = np.maximum(ahead - step * (_RIDGE * ahead - wrong @ weighted), 0.0)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - at)
        still = np.abs(moved - at).max() <= _STILL * moved.max()
        at, momentum = moved, following
        if still:
            break
    unit = at[0] if at[0] > _SMALL * at.max() else at.max()
    return Weights(*(float(f"{each / unit:.{_DIGITS}g}") if unit > 0 else 0.0 for each in at))


@dataclass(frozen=True)
class Fit:
    """Weights learnt from all users, and what the same procedure gave users that it did not see."""

    weights: Weights
    held_out: Comparison
    """First the weights in force, second the fitted ones."""

    @property
    def shows_a_gain(self) -> bool:
        """The whole interval of the held-out difference is above 0. False where the data cannot say."""
        interval = self.held_out.difference.interval
        return not isinstance(interval, Insufficient) and interval.interval.low > 0


def _unheard(_: int) -> None:
    pass


def cross_validated(calls: Calls, *, folds: int, seed: int, tell: Callable[[int], None] = _unheard) -> Fit:
    """Fits once without each fold of users, ranks that fold's calls, and fits once with all.

    ``tell`` hears how many folds are done, after each.

    Raises TooFewUsers where ``folds`` would have under two users with a relevant candidate each, NothingToLearn.
    """
    in_force = calls.gains(calls.ranks(calls.logged_weights))
    users = np.unique(calls.user[in_force.request])
    if users.size < USERS_PER_FOLD * folds:
        raise TooFewUsers(
            found=f"{users.size} users with a relevant candidate",
            wanted=f"{USERS_PER_FOLD * folds}, for {folds} folds",
            cure="judge calls of more users",
        )
    pairs = Pairs.of(calls, seed)
    fold = np.zeros(int(calls.user.max()) + 1, np.int64)
    fold[users] = np.random.default_rng(seed).permutation(users.size) % folds
    ranks = np.zeros(calls.call.size, np.int64)
    for number in range(folds):
        learnt = fitted(pairs.without(fold == number))
        mine = fold[calls.user[calls.call]] == number
        ranks[mine] = calls.ranks(_everywhere(calls, learnt))[mine]
        tell(number + 1)
    return Fit(fitted(pairs), comparison_of(calls, in_force, calls.gains(ranks)))


def _everywhere(calls: Calls, weights: Weights) -> Singles:
    return np.tile(weights.row(), (len(calls.domain), 1))
