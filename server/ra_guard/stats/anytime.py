"""Treatment against control, looked at as often as one likes: dashboards, guardrails and triggers.

Asymptotic confidence sequences: with probability 1 - alpha, in the limit of many users at the first look, the true
effect lies in the intervals of **all** looks together, so stopping at any of them keeps the error probability.
Reference: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
confidence sequences", Annals of Statistics 52 (2024). The price is width: about 1.6 times the fixed-sample interval
where it is tightest.

The limit needs users: below `LEAST_USERS` in an arm the answer is Insufficient, and a caller who looks from there on
gets the promised coverage for metrics without extreme tails. Rates of rare events have `proportions`, which holds at
any number.

A user's value must not depend on when one looks: take users whose metric is settled, or accept that a user's later
requests move it a little between looks.
"""

import math

from ra_guard.stats import mixtures
from ra_guard.stats.effects import (
    Arm,
    ArmEstimate,
    no_variance,
    one_sided,
    relative_estimate,
)
from ra_guard.stats.inputs import finite, positive, probability
from ra_guard.stats.outcome import Alternative, Better, Effect, Insufficient, Interval, Lack

LEAST_USERS = 100
"""In each arm, before the limit theorem is trusted."""


def difference(
    control: Arm,
    treatment: Arm,
    *,
    users_opt: float,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: float = 0.0,
) -> Effect | Insufficient:
    """Treatment minus control, valid at all looks. Unit: the metric's.

    Null hypothesis: the difference is ``null`` (at most it for GREATER, at least it for LESS). Guarantee and
    reference: the module's; the p-value is 1 / e for the mixture's e-value e, and holds at all looks too.
    ``users_opt`` is the number of users, both arms together, at which the interval should be tightest; choose it before
    the data. Insufficient where an arm is, below `LEAST_USERS`, or where both are constant. Raises OutOfRange for
    alpha of 0.5 or more where one-sided, NotFinite.
    """
    if isinstance(control, Insufficient):
        return control
    if isinstance(treatment, Insufficient):
        return treatment
    return _sequence(
        treatment.value - control.value,
        control.squared_error + treatment.squared_error,
        (control, treatment),
        _Mixture(users_opt, alpha, alternative, null),
    )


def lift(
    control: Arm,
    treatment: Arm,
    *,
    users_opt: float,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: float = 0.0,
) -> Effect | Insufficient:
    """(treatment - control) / abs(control) by the delta method, valid at all looks. Unit: fraction of the baseline.

    Otherwise as `difference`. Insufficient also where `effects.lift` is.
    """
    relative = relative_estimate(control, treatment)
    if isinstance(relative, Insufficient):
        return relative
    mixture = _Mixture(users_opt, alpha, alternative, null)
    return _sequence(relative.value, sum(relative.errors), relative.arms, mixture)


def noninferiority(
    control: Arm, treatment: Arm, *, margin: float, better: Better, users_opt: float, alpha: float = 0.05
) -> Effect | Insufficient:
    """Whether treatment is worse than control by less than a margin, valid at all looks.

    Null hypothesis: worse by ``margin`` (above 0, in the metric's unit) or more. Otherwise as `difference`.
    """
    alternative, null = one_sided(margin, better)
    return difference(control, treatment, users_opt=users_opt, alpha=alpha, alternative=alternative, null=null)


class _Mixture:
    """The normal mixture of one question: its parameter and its threshold."""

    def __init__(self, users_opt: float, alpha: float, alternative: Alternative, null: float) -> None:
        self.alpha = probability("alpha", alpha)
        self.null = finite("null", null)
        self.alternative = alternative
        positive("users_opt", users_opt)
        both = alternative is Alternative.TWO_SIDED
        self.rho = mixtures.best_rho(users_opt, alpha if both else 2 * alpha)

    def bound(self, users: float) -> float:
        """Of the sum of standardised observations."""
        if self.alternative is Alternative.TWO_SIDED:
            return mixtures.normal_mixture_bound(users, self.alpha, self.rho)
        return mixtures.one_sided_normal_mixture_bound(users, self.alpha, self.rho)

    def p_value(self, s: float, users: float) -> float:
        """1 / e, at most 1."""
        if self.alternative is Alternative.TWO_SIDED:
            log_e = mixtures.log_normal_mixture(s, users, self.rho)
        else:
            toward = s if self.alternative is Alternative.GREATER else -s
            log_e = mixtures.log_one_sided_normal_mixture(toward, users, self.rho)
        return math.exp(min(0.0, -float(log_e)))


def _sequence(
    estimate: float, squared_error: float, arms: tuple[ArmEstimate, ArmEstimate], ask: _Mixture
) -> Effect | Insufficient:
    control, treatment = arms
    if min(control.n, treatment.n) < LEAST_USERS:
        return Insufficient(Lack.TOO_FEW, f"{control.n} and {treatment.n} users", f"{LEAST_USERS} or more in each arm")
    if squared_error == 0:
        return no_variance(arms)
    users = control.n + treatment.n
    # The estimate is the mean of `users` observations of this standard deviation.
    deviation = math.sqrt(squared_error * users)
    width = ask.bound(users) * deviation / users
    low, high = estimate - width, estimate + width
    if ask.alternative is Alternative.GREATER:
        high = math.inf
    elif ask.alternative is Alternative.LESS:
        low = -math.inf
    p = ask.p_value((estimate - ask.null) * users / deviation, users)
    return Effect(estimate, Interval(low, high), p, ask.alpha, ask.null, ask.alternative)
