"""Mixture supermartingales: evidence against a null value that may be looked at after every observation.

Each function gives the logarithm of a process that starts at 1 and, under the null, is a nonnegative supermartingale:
the probability that it ever reaches 1 / alpha is at most alpha (Ville 1939). So its reciprocal is a p-value that holds
at all times together, and the null values that it has not rejected form a confidence sequence.

``s`` is a sum of centred observations and ``v`` its variance so far (the intrinsic time). ``v_opt`` is where the
bound should be tightest; it must be chosen before the data. Reference: Howard, Ramdas, McAuliffe and Sekhon,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021). Arguments and
results are floats or arrays that broadcast.
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import optimize
from scipy.special import betainc, betaln, log_ndtr

from ra_guard.stats.inputs import Floats, Numbers, positive, probability

_LEAST_SPREAD: Final = 1e-3
"""The flattest beta prior, where v_opt asks for one that does not exist."""
_FAR: Final = 600.0
"""Where the share of an average on one side of the null is 0 or 1 for a double."""


def best_rho(v_opt: float, alpha: float) -> float:
    """The variance parameter of the normal mixture that makes its bound tightest near v_opt (their equation 3.8).

    For a one-sided mixture pass 2 * alpha. Raises OutOfRange.
    """
    budget = 2 * math.log(1 / probability("alpha", alpha))
    return positive("v_opt", v_opt) / (budget + math.log1p(budget))


def log_normal_mixture(s: Numbers, v: Numbers, rho: float) -> Floats:
    """Two-sided: drifts averaged over a normal with mean 0 and variance 1 / rho. Null: the drift is 0."""
    return np.asarray(0.5 * np.log(rho / (v + rho)) + np.square(s) / (2 * (v + rho)))


def log_one_sided_normal_mixture(s: Numbers, v: Numbers, rho: float) -> Floats:
    """One-sided: drifts averaged over the upper half of that normal. Null: the drift is 0 or less."""
    return np.asarray(math.log(2) + log_normal_mixture(s, v, rho) + log_ndtr(s / np.sqrt(v + rho)))


def normal_mixture_bound(v: float, alpha: float, rho: float) -> float:
    """What |s| stays below at all times with probability 1 - alpha under the null."""
    return math.sqrt((v + rho) * (math.log1p(v / rho) + 2 * math.log(1 / probability("alpha", alpha))))


@lru_cache(maxsize=1 << 16)  # a root search, and a watch asks about the same numbers of users again and again
def one_sided_normal_mixture_bound(v: float, alpha: float, rho: float) -> float:
    """What s stays below at all times with probability 1 - alpha under the null."""
    threshold = math.log(1 / probability("alpha", alpha))

    def excess(s: float) -> float:
        return float(log_one_sided_normal_mixture(s, v, rho)) - threshold

    # The process grows in s, and the two-sided bound is above it only by the normal tail: twice is always enough.
    high = 2 * normal_mixture_bound(v, alpha, rho)
    low = -math.sqrt(v + rho)
    while excess(low) >= 0:
        low *= 2
    return float(optimize.brentq(excess, low, high, xtol=1e-12 * high, rtol=1e-14))


def beta_spread(p: Numbers, n_opt: float, alpha: float) -> Floats:
    """The parameter r of the beta-binomial mixtures that is tightest near ``n_opt`` Bernoulli(p) trials.

    For a one-sided mixture pass 2 * alpha.
    """
    unit = np.asarray(p * (1 - np.asarray(p)))
    return np.maximum(unit * (best_rho(n_opt, alpha) - 1), _LEAST_SPREAD * unit)


def log_beta_binomial_mixture(successes: Numbers, trials: Numbers, p: Numbers, r: Numbers) -> Floats:
    """Two-sided, for Bernoulli trials. Null: the chance of success is p, given the past.

    Chances are averaged over Beta(r / (1 - p), r / p), which has mean p. Counts may be fractional, for counts that
    were divided by a design effect.
    """
    a, b = r / (1 - np.asarray(p)), r / np.asarray(p)
    return np.asarray(_likelihood(successes, trials, p) + betaln(b + trials - successes, a + successes) - betaln(b, a))


def log_one_sided_beta_binomial_mixture(successes: Numbers, trials: Numbers, p: Numbers, r: Numbers) -> Floats:
    """One-sided: the same average over chances above p only. Null: the chance of success is p or less, given the past.

    Grows in ``successes``.
    """
    p = np.asarray(p)
    a, b = r / (1 - p), r / p
    two_sided = log_beta_binomial_mixture(successes, trials, p, r)
    success, failure = (np.broadcast_to(each, two_sided.shape) for each in (a + successes, b + trials - successes))
    below = np.broadcast_to(1 - p, two_sided.shape)
    # The share of the average above p: one, to all digits, far above it. Far below it underflows while the other
    # factor grows without limit, and only their product is of ordinary size. There the leading term of the incomplete
    # beta function, in which the powers cancel, is a lower bound: the terms of its series are at least those of the
    # geometric series taken instead.
    near = two_sided < _FAR
    share = np.ones(two_sided.shape)
    share[near] = betainc(failure[near], success[near], below[near])
    ratio = below * np.minimum((failure + success) / (failure + 1), 1.0)
    tail = a * np.log(p) + b * np.log1p(-p) - betaln(b, a) - np.log(failure) - np.log1p(-ratio)
    is_tail = ~near & (success < p * (success + failure))
    with np.errstate(divide="ignore"):  # a share of 0 lies in the tail, where it is not taken
        return np.asarray(np.where(is_tail, tail, two_sided + np.log(share)) - np.log(betainc(b, a, 1 - p)))


def _likelihood(successes: Numbers, trials: Numbers, p: Numbers) -> Floats:
    events = np.asarray(successes, dtype=np.float64)
    return np.asarray(-events * np.log(p) - (trials - events) * np.log1p(-np.asarray(p)))
