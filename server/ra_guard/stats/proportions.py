"""Rates of yes-or-no events, such as errors, looked at as often as one likes, at any number of events.

Beta-binomial mixtures: exact for independent trials with the same chance, with no limit theorem, so that 2 errors in
100 requests are read as what they are. Trials of one user are not independent. Either count users with an event among
users, which keeps the guarantee, or pass the arms' design effects, which divide events and trials and are asymptotic:
the variance of the rate with users as clusters (`effects.ratio_of`) over that of independent trials.

Reference: Howard et al. (the reference of `mixtures`). Two arms multiply: under any pair of chances the product of
their processes is one too, and what is not refuted of the pairs gives what is not refuted of their difference.

The mixture over Beta(p K, (1 - p) K) has evidence sum(log(K + i / p)) + sum(log(K + j / (1 - p))) up to a constant,
over i below the events and j below the others. Each term is convex in p, so every set of chances, pairs and differences
here is an interval, and every minimum is the only one.
"""

import math
from dataclasses import dataclass
from math import lgamma
from typing import Final

from scipy import optimize

from ra_guard.stats.errors import OutOfRange
from ra_guard.stats.inputs import count, finite, probability, widening
from ra_guard.stats.mixtures import best_rho
from ra_guard.stats.outcome import Alternative, Effect, Insufficient, Interval, Lack

_EDGE: Final = 1e-12
"""How near to 0 and 1 a chance is looked for; nearer, the evidence is either infinite or none."""
_LEAST_STRENGTH: Final = 1e-3


@dataclass(frozen=True)
class Trials:
    """``events`` among ``trials``, both whole numbers, and by how much they count less than independent ones.

    Raises OutOfRange, also for a design effect below 1; NotFinite.
    """

    events: int
    trials: int
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        if count("events", self.events) > count("trials", self.trials):
            raise OutOfRange(
                found=f"{self.events} events in {self.trials} trials",
                wanted="no more events than trials",
                cure="count both over the same requests",
            )
        widening(self.design_effect)


def rate_interval(seen: Trials, *, trials_opt: float, alpha: float = 0.05) -> Interval | Insufficient:
    """The chance of an event, with an interval that holds at all numbers of trials together.

    Guarantee: with probability 1 - alpha the chance lies in the intervals of all looks; exact for independent trials,
    asymptotic with a design effect. ``trials_opt`` is the number of independent trials at which it should be tightest;
    choose it before the data, so do not divide it by a design effect, which is of the data. Insufficient without a
    trial. Raises OutOfRange, NotFinite.
    """
    threshold = -math.log(probability("alpha", alpha))
    strength = _strength(trials_opt, alpha)
    if not seen.trials:
        return Insufficient(Lack.TOO_FEW, "no trials", "1 or more")
    rate = seen.events / seen.trials

    def excess(p: float) -> float:
        return _log_mixture(seen, p, strength) - threshold

    low = 0.0 if rate <= _EDGE or excess(_EDGE) < 0 else float(optimize.brentq(excess, _EDGE, rate))
    high = 1.0 if rate >= 1 - _EDGE or excess(1 - _EDGE) < 0 else float(optimize.brentq(excess, rate, 1 - _EDGE))
    return Interval(low, high)


def difference(
    control: Trials,
    treatment: Trials,
    *,
    trials_opt: float,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: float = 0.0,
) -> Effect | Insufficient:
    """Chance under treatment minus chance under control, valid at all looks. Unit: probability; 0.01 is one point.

    Null hypothesis: the difference is ``null`` (at most it for GREATER, at least it for LESS): a margin is a null away
    from 0. Guarantee: exact size alpha and coverage 1 - alpha over all looks together, whatever the numbers and
    however the arms' trials are interleaved, for independent trials; asymptotic with a design effect. The p-value is
    1 / e. The evidence against a difference is that against the least refuted pair of chances with this difference; it
    is two-sided, so a one-sided alternative costs nothing and gains nothing. ``trials_opt`` is the number of
    independent trials in each arm at which the interval should be tightest; choose it before the data, as in
    `rate_interval`. Reference: the module's. Insufficient without a trial in an arm. Raises OutOfRange for a null
    outside (-1, 1), NotFinite.
    """
    threshold = -math.log(probability("alpha", alpha))
    strength = _strength(trials_opt, alpha)
    if not -1 < finite("null", null) < 1:
        raise OutOfRange(found=f"null = {null}", wanted="-1 to 1", cure="give a difference of probabilities")
    if not control.trials or not treatment.trials:
        return Insufficient(Lack.TOO_FEW, f"{control.trials} and {treatment.trials} trials", "1 or more in each arm")
    estimate = treatment.events / treatment.trials - control.events / control.trials

    def log_e(delta: float) -> float:
        """Of the least refuted pair (p, p + delta)."""

        def evidence(p: float) -> float:
            return _log_mixture(control, p, strength) + _log_mixture(treatment, p + delta, strength)

        ends = max(0.0, -delta), min(1.0, 1.0 - delta)
        return float(optimize.minimize_scalar(evidence, bounds=ends, method="bounded", options={"xatol": 1e-9}).fun)

    def excess(delta: float) -> float:
        return log_e(delta) - threshold

    edge = 1 - 2 * _EDGE
    low = -1.0 if estimate <= -edge or excess(-edge) < 0 else float(optimize.brentq(excess, -edge, estimate))
    high = 1.0 if estimate >= edge or excess(edge) < 0 else float(optimize.brentq(excess, estimate, edge))
    against = log_e(null)
    if alternative is Alternative.GREATER:
        high, against = math.inf, against if estimate > null else 0.0
    elif alternative is Alternative.LESS:
        low, against = -math.inf, against if estimate < null else 0.0
    return Effect(estimate, Interval(low, high), math.exp(min(0.0, -against)), alpha, null, alternative)


def _strength(trials_opt: float, alpha: float) -> float:
    """K: how many trials the prior counts for, as `mixtures.beta_spread` has it."""
    return max(best_rho(trials_opt, alpha) - 1, _LEAST_STRENGTH)


def _log_mixture(seen: Trials, p: float, strength: float) -> float:
    """`mixtures.log_beta_binomial_mixture` for one chance, with the library's scalar functions: it is called often."""
    inside = min(max(p, _EDGE), 1 - _EDGE)
    a, b = inside * strength, (1 - inside) * strength
    events, trials = seen.events / seen.design_effect, seen.trials / seen.design_effect
    others = trials - events
    mixture = lgamma(a + events) - lgamma(a) + lgamma(b + others) - lgamma(b)
    mixture -= lgamma(strength + trials) - lgamma(strength)
    return mixture - events * math.log(inside) - others * math.log1p(-inside)
