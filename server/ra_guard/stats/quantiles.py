"""A quantile of all requests, such as P95 latency, compared between arms at a sample size fixed in advance.

Users are drawn, requests are measured: requests of one user are alike, and a quantile's interval that counts them as
independent is too narrow. `quantile_of` reduces an arm to an `effects.ArmEstimate`, which `effects.difference` and
`effects.noninferiority` compare. What may be looked at again and again is `quantile_tests`.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from ra_guard.stats.effects import Arm, ArmEstimate, ratio_of
from ra_guard.stats.inputs import Labels, Values, labels, probability, vector
from ra_guard.stats.moments import Moments, per_user
from ra_guard.stats.outcome import Insufficient, Lack

_REACH: Final = float(ndtri(0.975))
"""Standard errors to either side, at which the spacing of the order statistics is read (the 95 % interval)."""


@dataclass(frozen=True)
class DesignEffect:
    """By how much clustering multiplies the variance of the share of requests at or below a quantile; 1 is none."""

    value: float
    requests: int
    users: int


def least_requests(quantile: float) -> int:
    """Requests in an arm below which its quantile has no interval: 73 for P95. Raises OutOfRange."""
    odds = probability("quantile", quantile) / (1 - quantile)
    return math.floor(_REACH**2 * max(odds, 1 / odds)) + 1


def design_effect(values: Values, users: Labels, *, quantile: float) -> DesignEffect | Insufficient:
    """Cluster variance over independent variance of the share of requests at or below the sample quantile.

    ``values`` (requests,), ``users`` (requests,) integers. The cluster variance is `effects.ratio_of`'s. Insufficient
    under two users, or under `least_requests`. Raises OutOfRange, NotFinite, WrongShape.
    """
    rows = vector("values", values)
    labels("users", users, rows.size)
    if rows.size < least_requests(quantile):
        return _too_few(rows.size, quantile)
    below = rows <= np.quantile(rows, quantile, method="inverted_cdf")
    hits, requests = per_user(users, below.astype(np.float64))
    share = ratio_of(Moments.of(hits, requests))
    if isinstance(share, Insufficient):
        return share
    independent = quantile * (1 - quantile) / rows.size
    return DesignEffect(share.squared_error / independent, int(rows.size), share.n)


def quantile_of(values: Values, users: Labels, *, quantile: float) -> Arm:
    """The quantile of an arm's requests with users as clusters. Unit: that of the values.

    ``values`` (requests,), ``users`` (requests,) integers. The variance is ((Y_U - Y_L) / 2z)**2 times the
    `design_effect`, where Y_L and Y_U are the order statistics z standard errors of an independent sample to either
    side. Guarantee: asymptotic in users, for a density that is positive and smooth at the quantile. References: Deng,
    Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018; Yao, Li and Lu, "Novel application of
    the delta method for quantile metrics", 2024. Insufficient under two users or `least_requests`. Raises OutOfRange,
    NotFinite, WrongShape.
    """
    effect = design_effect(values, users, quantile=quantile)
    if isinstance(effect, Insufficient):
        return effect
    rows = np.sort(vector("values", values))
    reach = _REACH * math.sqrt(quantile * (1 - quantile) * rows.size)
    ranks = np.array([rows.size * quantile - reach, rows.size * quantile, rows.size * quantile + reach])
    low, middle, high = rows[np.clip(np.ceil(ranks).astype(int) - 1, 0, rows.size - 1)].tolist()
    squared_error = ((high - low) / (2 * _REACH)) ** 2 * effect.value
    return ArmEstimate(middle, squared_error * effect.users, effect.users)


def _too_few(requests: int, quantile: float) -> Insufficient:
    return Insufficient(Lack.TOO_FEW, f"{requests} requests", f"{least_requests(quantile)} or more in each arm")
