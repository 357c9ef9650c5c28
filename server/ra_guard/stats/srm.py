"""Whether users arrived in the arms in the shares that they were drawn with.

A sample-ratio mismatch says that assignment, logging or counting is broken, and that no comparison of the arms means
what it says. Reference: Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from ra_guard.stats.errors import OutOfRange
from ra_guard.stats.inputs import count, probability, same_length, vector
from ra_guard.stats.outcome import Insufficient, Lack

ALPHA: Final = 0.001
"""Strict, because the check is repeated: daily for two weeks it alarms falsely in 0.7 % of experiments,
0.01 in 5.5 %."""
LEAST_EXPECTED: Final = 5.0
"""Users expected in each arm before the chi-square approximation is trusted."""


@dataclass(frozen=True)
class SampleRatio:
    """The test of the split."""

    chi_square: float
    degrees_of_freedom: int
    p_value: float
    alpha: float
    expected: tuple[float, ...]
    """Users, by arm."""

    @property
    def mismatch(self) -> bool:
        """Whether the split is not what it should be: below alpha, not at it."""
        return self.p_value < self.alpha


def sample_ratio(counts: Sequence[int], shares: Sequence[float], *, alpha: float = ALPHA) -> SampleRatio | Insufficient:
    """Pearson's chi-square test of the users by arm against their shares.

    Null hypothesis: each user fell into an arm by ``shares``, which need not add to 1. ``counts`` are users, not
    requests: a user's requests are not independent. Guarantee: size alpha for one look, asymptotic. An arm of share 0
    adds no degree of freedom; a single user in it is a mismatch of p-value 0. Insufficient where fewer than five are
    expected in an arm. Raises OutOfRange for negative counts or shares, or fewer than two arms with a share; NotFinite,
    WrongShape.
    """
    users = np.array([count("counts", each) for each in counts], dtype=np.float64)
    weights = vector("shares", shares)
    same_length("shares", weights.size, users.size)
    probability("alpha", alpha)
    drawn = weights > 0
    if (weights < 0).any() or np.count_nonzero(drawn) < 2:
        raise OutOfRange(
            found=f"shares {weights.tolist()}",
            wanted="two or more above 0, none below",
            cure="pass the shares drawn with",
        )
    expected = users.sum() * weights / weights.sum()
    freedom = int(np.count_nonzero(drawn)) - 1
    if users[~drawn].any():
        return SampleRatio(float("inf"), freedom, 0.0, alpha, tuple(expected.tolist()))
    if expected[drawn].min() < LEAST_EXPECTED:
        return Insufficient(
            Lack.TOO_FEW, f"{expected[drawn].min():.3g} users expected in an arm", f"{LEAST_EXPECTED:g} or more"
        )
    chi_square = float((np.square(users[drawn] - expected[drawn]) / expected[drawn]).sum())
    p = float(stats.chi2.sf(chi_square, freedom))
    return SampleRatio(chi_square, freedom, p, alpha, tuple(expected.tolist()))
