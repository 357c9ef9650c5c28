"""A mean on its own, with its interval: of users, or of paired differences, at a sample size fixed in advance.

Arms that are compared belong to `effects`. Here each unit is one number: a user's mean, a query's value, or the
difference that two rankings make to it.
"""

import math
from dataclasses import dataclass

from scipy import stats

from ra_guard.stats.effects import mean_of
from ra_guard.stats.inputs import Labels, Values, probability
from ra_guard.stats.moments import Moments, per_user
from ra_guard.stats.outcome import Insufficient, Interval, Lack


@dataclass(frozen=True)
class Mean:
    """A mean over ``n`` units, and its interval at confidence 1 - alpha."""

    estimate: float
    interval: Interval
    n: int
    alpha: float


def mean_of_values(values: Values, *, alpha: float = 0.05) -> Mean | Insufficient:
    """Student's interval of a mean, from ``values`` (n,), one a unit; units are independent.

    Guarantee: coverage 1 - alpha for one look, exact for normal values, else asymptotic in n. For paired data pass the
    differences: the interval excludes 0 exactly when the paired t test rejects at alpha. Insufficient under two units,
    or where all are equal: nothing then says how far chance could have moved the mean. Raises OutOfRange, NotFinite,
    WrongShape.
    """
    probability("alpha", alpha)
    moments = Moments.of(values)
    estimate = mean_of(moments)
    if isinstance(estimate, Insufficient):
        return Insufficient(Lack.TOO_FEW, f"{moments.n}", "2 or more to average over")
    if estimate.variance == 0:
        return Insufficient(Lack.NO_VARIANCE, f"{estimate.n} times {estimate.value:.6g}", "values that vary")
    width = float(stats.t.isf(alpha / 2, estimate.n - 1)) * math.sqrt(estimate.squared_error)
    interval = Interval(estimate.value - width, estimate.value + width)
    return Mean(estimate.value, interval, estimate.n, alpha)


def mean_of_users(users: Labels, values: Values, *, alpha: float = 0.05) -> Mean | Insufficient:
    """`mean_of_values` of users' means, from one row a request: ``users`` (n,) integers, ``values`` (n,).

    Requests of one user are not independent; users are. Each user counts once, however many requests came from them.
    """
    totals, counts = per_user(users, values)
    return mean_of_values(totals / counts, alpha=alpha)
