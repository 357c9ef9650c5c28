"""A quantile of two arms, such as P95 latency, looked at as often as one likes, against a margin.

Under any pair of quantiles (x, x + d) the counts of control's requests below x and of treatment's below x + d are
Bernoulli sums with a known chance, so each has a beta-binomial mixture and the two multiply. The evidence against a
difference d is the least over all x. It holds for every distribution, with ties, at any sample size and at all looks
together, however the arms' requests are interleaved. Reference: Howard and Ramdas, "Sequential estimation of quantiles
with applications to A/B testing and best-arm identification", Bernoulli 28 (2022), theorem 5; the margin is a shift of
one arm, the one-sided form takes each arm's mixture on the side where it would be slower or faster.

Requests are taken as independent. Where users make several, either pass one request a user (`first_of_user`), which
keeps the guarantee, or pass the arms' `quantiles.design_effect`, which divides the counts by it and is asymptotic.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import optimize

from ra_guard.stats.errors import OutOfOrder, OutOfRange
from ra_guard.stats.inputs import (
    Floats,
    Labels,
    Values,
    finite,
    labels,
    positive,
    probability,
    same_length,
    vector,
    widening,
)
from ra_guard.stats.mixtures import (
    beta_spread,
    log_beta_binomial_mixture,
    log_one_sided_beta_binomial_mixture,
)
from ra_guard.stats.outcome import Alternative, Effect, Insufficient, Interval, Lack

Counts = npt.NDArray[np.intp]

_TUNED_AT: Final = 0.05
"""The level at which the mixtures are tightest: one for all alphas, so that one e-value answers all of them."""


@dataclass(frozen=True)
class Sample:
    """An arm's requests in ascending order, and by how much they count less than independent ones (1 or more)."""

    values: Floats
    """Ascending; a value stands for as many requests as ``cumulative`` grows by after it."""
    cumulative: Counts
    """Requests before each value, and all of them at the end; (values + 1,)."""
    design_effect: float

    @property
    def requests(self) -> int:
        """All of them."""
        return int(self.cumulative[-1])

    @property
    def size(self) -> float:
        """Independent requests that they are worth."""
        return self.requests / self.design_effect


def sample(values: Values, *, design_effect: float = 1.0) -> Sample:
    """An arm for the tests below; ``values`` (requests,) in any order.

    Raises NotFinite, WrongShape, OutOfRange for a design effect below 1.
    """
    ascending = np.sort(vector("values", values))
    return Sample(ascending, np.arange(ascending.size + 1), widening(design_effect))


def sample_of_histogram(values: Values, counts: Labels, *, design_effect: float = 1.0) -> Sample:
    """As `sample` of each value as often as it was counted, at the cost of the distinct values alone.

    ``values`` (n,) strictly ascending, ``counts`` (n,) whole numbers; a value without a count is left out. Raises as
    `sample` does, and OutOfRange, OutOfOrder for such counts and values.
    """
    distinct, often = vector("values", values), np.asarray(counts, dtype=np.intp)
    same_length("counts", often.size, distinct.size)
    if (np.diff(distinct) <= 0).any():
        raise OutOfOrder(
            found="values that do not ascend", wanted="each value once, ascending", cure="add up its counts"
        )
    if (often < 0).any():
        raise OutOfRange(found=f"a count of {often.min()}", wanted="0 or more", cure="count again")
    seen = often > 0
    return Sample(distinct[seen], np.append(0, np.cumsum(often[seen])), widening(design_effect))


def first_of_user(users: Labels) -> Counts:
    """Positions of each user's first row, ascending: rows that are independent where users are. ``users`` (n,)."""
    array = np.asarray(users)
    labels("users", array, array.size)
    return np.sort(np.unique(array, return_index=True)[1])


def difference(
    control: Sample,
    treatment: Sample,
    *,
    quantile: float,
    requests_opt: float,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: float = 0.0,
) -> Effect | Insufficient:
    """Treatment's quantile minus control's, valid at all looks. Unit: that of the values.

    Null hypothesis: the difference is ``null`` (at most it for GREATER, at least it for LESS). A guardrail "P95 less
    than 100 ms slower" is shown to be breached by rejecting GREATER at a null of 100, and shown to hold by LESS.
    Guarantee: exact size alpha and coverage 1 - alpha over all looks together for independent requests; asymptotic
    with a design effect. Two-sided answers are two one-sided ones at alpha / 2. The interval is infinite as long as
    the data bound nothing. ``requests_opt`` is the number of requests in each arm at which it should be tightest;
    choose it before the data. Reference: the module's. Insufficient without a request in an arm. Raises OutOfRange,
    NotFinite.
    """
    probability("quantile", quantile)
    positive("requests_opt", requests_opt)
    finite("null", null)
    if not control.requests or not treatment.requests:
        return Insufficient(
            Lack.TOO_FEW, f"{control.requests} and {treatment.requests} requests", "1 or more in each arm"
        )
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    threshold = math.log(sides / probability("alpha", alpha))
    spread = float(beta_spread(quantile, requests_opt, 2 * _TUNED_AT))
    low, high, against = -math.inf, math.inf, []
    if alternative is not Alternative.LESS:
        above = _Slower(control, treatment, quantile, spread)
        low = above.limit(threshold)
        against.append(above.log_e(null))
    if alternative is not Alternative.GREATER:
        below = _Slower(treatment, control, quantile, spread)
        high = 0.0 - below.limit(threshold)
        against.append(below.log_e(-null))
    p = min(1.0, sides * math.exp(min(0.0, -max(against))))
    estimate = _sample_quantile(treatment, quantile) - _sample_quantile(control, quantile)
    return Effect(estimate, Interval(low, high), p, alpha, null, alternative)


def equality_p_value(
    control: Sample, treatment: Sample, *, quantile: float, requests_opt: float, shift: float = 0.0
) -> float | Insufficient:
    """The two-sided test of the reference: treatment's quantile is control's plus ``shift``. An anytime-valid p-value.

    Uses the two-sided mixture in each arm. `difference` is the one to decide by: it has an interval and directions.
    Null, guarantee and errors as there.
    """
    probability("quantile", quantile)
    positive("requests_opt", requests_opt)
    if not control.requests or not treatment.requests:
        return Insufficient(
            Lack.TOO_FEW, f"{control.requests} and {treatment.requests} requests", "1 or more in each arm"
        )
    spread = float(beta_spread(quantile, requests_opt, _TUNED_AT))

    def least(arm: Sample, at_least: Counts, at_most: Counts) -> Floats:
        """The least evidence over the counts that lie between those before two positions."""

        def evidence(count: Floats | float) -> Floats:
            return log_beta_binomial_mixture(count / arm.design_effect, arm.size, quantile, spread)

        lowest = optimize.minimize_scalar(evidence, bounds=(0, arm.requests), method="bounded").x
        return evidence(np.clip(lowest, arm.cumulative[at_least], arm.cumulative[at_most]))

    total = [
        least(control, control_below, control_within) + least(treatment, treatment_below, treatment_within)
        for control_below, control_within, treatment_below, treatment_within in _counts(
            control.values, treatment.values, finite("shift", shift)
        )
    ]
    return math.exp(min(0.0, -float(min(part.min() for part in total))))


class _Slower:
    """Evidence that the second arm's quantile is more than d above the first's, for any d."""

    def __init__(self, fast: Sample, slow: Sample, quantile: float, spread: float) -> None:
        self._fast, self._slow = fast, slow
        # By how many of the fast arm's values lie below x: many requests there speak for a quantile below x.
        self._fast_evidence = log_one_sided_beta_binomial_mixture(
            fast.cumulative / fast.design_effect, fast.size, quantile, spread
        )
        # By how many of the slow arm's values lie at or below x + d: few requests there speak for a quantile above it.
        self._slow_evidence = log_one_sided_beta_binomial_mixture(
            (slow.requests - slow.cumulative) / slow.design_effect, slow.size, 1 - quantile, spread
        )

    def log_e(self, d: float) -> float:
        """The least over x; it changes at the requests of either arm alone. Never grows in d."""
        return min(
            float((self._fast_evidence[fast_below] + self._slow_evidence[slow_within]).min())
            for fast_below, _, _, slow_within in _counts(self._fast.values, self._slow.values, d)
        )

    def limit(self, threshold: float) -> float:
        """The greatest d that is refuted with this much evidence, and all below it; -inf if none is."""
        fast, slow = self._fast.values, self._slow.values
        # With x at each of the fast arm's requests, and beyond the last: the x + d furthest down that is not refuted.
        x = np.append(fast, math.inf)
        budget = threshold - self._fast_evidence[np.append(np.searchsorted(fast, fast, side="left"), fast.size)]
        falling = np.maximum.accumulate(self._slow_evidence[::-1])
        within = self._slow_evidence.size - np.searchsorted(falling, budget, side="left")
        open_ended = np.append(-math.inf, np.append(slow, math.inf))
        with np.errstate(invalid="ignore"):
            limits = open_ended[within] - x
        return float(np.nanmin(limits)) + 0.0


def _counts(control: Floats, treatment: Floats, shift: float) -> tuple[tuple[Counts, ...], tuple[Counts, ...]]:
    """Values below x, and at or below x, of control; the same of treatment at x + shift.

    For x at each of control's values, then at each of treatment's less the shift, where treatment's own counts are
    taken before the shift rounds them.
    """
    moved = treatment - shift
    return (
        (
            np.searchsorted(control, control, side="left"),
            np.searchsorted(control, control, side="right"),
            np.searchsorted(moved, control, side="left"),
            np.searchsorted(moved, control, side="right"),
        ),
        (
            np.searchsorted(control, moved, side="left"),
            np.searchsorted(control, moved, side="right"),
            np.searchsorted(treatment, treatment, side="left"),
            np.searchsorted(treatment, treatment, side="right"),
        ),
    )


def _sample_quantile(arm: Sample, quantile: float) -> float:
    """The inverse of the empirical distribution."""
    rank = max(1, math.ceil(quantile * arm.requests))
    return float(arm.values[np.searchsorted(arm.cumulative[1:], rank)])
