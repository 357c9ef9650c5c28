"""Treatment against control at a sample size fixed in advance: difference, relative lift, non-inferiority.

An arm is first reduced to an `ArmEstimate`, a value with its variance, by `mean_of`, `ratio_of` or `cuped`; every
comparison here and in `anytime` takes two of them. `Insufficient` arms pass through to the result.

Intervals and p-values hold for **one** look. Looked at again and again, a 5 % test rejects a true null far more often
(12.9 % at days 3, 7, 10 and 14): planned looks belong to `sequential`, dashboards and guardrails to `anytime`.
"""

import math
from dataclasses import dataclass

from scipy import stats

from ra_guard.stats.errors import WrongShape
from ra_guard.stats.inputs import finite, positive, probability
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Alternative, Better, Effect, Insufficient, Interval, Lack

BASELINE_STANDARD_ERRORS = 3.0
"""A relative lift is estimated only where the baseline is this far from zero: nearer, the delta method's linear step
around it says nothing."""


@dataclass(frozen=True)
class ArmEstimate:
    """The value of a metric in one arm, with ``variance / n`` the variance of that estimate."""

    value: float
    variance: float
    """Per user; of the linearised metric where the value is a ratio."""
    n: int
    """Users."""

    @property
    def squared_error(self) -> float:
        """The variance of the estimate."""
        return self.variance / self.n


Arm = ArmEstimate | Insufficient


@dataclass(frozen=True)
class CupedArms:
    """Both arms after the covariate is taken out."""

    control: ArmEstimate
    treatment: ArmEstimate
    theta: float
    """Slope of the metric on the covariate, within arms."""


def mean_of(arm: Moments) -> Arm:
    """The mean of users of the first column. Insufficient under two users."""
    if arm.n < 2:
        return _too_few(arm)
    return ArmEstimate(arm.means[0], arm.variance(0), arm.n)


def ratio_of(arm: Moments) -> Arm:
    """A ratio of totals, (numerator, denominator) a user, with users as clusters by the delta method.

    Requests of one user are not independent; users are. With R = sum(num) / sum(den), the variance of R is that of
    the user means of (num - R * den) / mean(den). Guarantee: asymptotic in users. Reference: Deng, Knoblich and Lu,
    "Applying the Delta Method in Metric Analytics", KDD 2018. Insufficient under two users, or where the denominator
    totals zero. Raises WrongShape unless the moments have two columns.
    """
    _columns(arm, 2, "numerator and denominator")
    if arm.n < 2:
        return _too_few(arm)
    numerator, denominator = arm.means
    if denominator == 0:
        return Insufficient(Lack.DENOMINATOR_ZERO, "a denominator that totals 0", "something to divide by")
    ratio = numerator / denominator
    linear = arm.variance(0) - 2 * ratio * arm.covariance(0, 1) + ratio**2 * arm.variance(1)
    return ArmEstimate(ratio, max(linear, 0.0) / denominator**2, arm.n)


def cuped(control: Moments, treatment: Moments) -> CupedArms | Insufficient:
    """Means adjusted by a covariate that the treatment cannot have changed, such as the same metric before it.

    Columns (value, covariate). value - theta * (covariate - its mean over both arms), with theta the slope within
    arms. The difference of the adjusted means estimates the same effect with the variance times 1 - correlation**2.
    Guarantee: asymptotic in users; the covariate must be known before the user was assigned. Reference: Deng, Xu,
    Kohavi and Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data",
    WSDM 2013. Insufficient under two users in an arm, or where the covariate is constant. Raises WrongShape unless
    both have two columns.
    """
    for arm in (control, treatment):
        _columns(arm, 2, "value and covariate")
        if arm.n < 2:
            return _too_few(arm)
    spread = control.scatter[1][1] + treatment.scatter[1][1]
    if spread == 0:
        return Insufficient(Lack.NO_VARIANCE, "a covariate that is the same for all users", "one that varies")
    theta = (control.scatter[0][1] + treatment.scatter[0][1]) / spread
    centre = (control + treatment).means[1]

    def adjusted(arm: Moments) -> ArmEstimate:
        variance = arm.variance(0) - 2 * theta * arm.covariance(0, 1) + theta**2 * arm.variance(1)
        return ArmEstimate(arm.means[0] - theta * (arm.means[1] - centre), max(variance, 0.0), arm.n)

    return CupedArms(adjusted(control), adjusted(treatment), theta)


def difference(
    control: Arm,
    treatment: Arm,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: float = 0.0,
) -> Effect | Insufficient:
    """Treatment minus control, by Welch's t test with Satterthwaite's degrees of freedom.

    Null hypothesis: the difference is ``null`` (at most it for GREATER, at least it for LESS). Guarantee: size alpha
    and coverage 1 - alpha for one look, exact for normal users of equal variance, else asymptotic. Reference: Welch
    1947. Unit: the metric's. Insufficient where an arm is, or where both arms are constant. Raises OutOfRange,
    NotFinite.
    """
    if isinstance(control, Insufficient):
        return control
    if isinstance(treatment, Insufficient):
        return treatment
    return _student(
        treatment.value - control.value,
        (control.squared_error, treatment.squared_error),
        (control, treatment),
        _Question(alpha, alternative, null),
    )


def lift(
    control: Arm,
    treatment: Arm,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: float = 0.0,
) -> Effect | Insufficient:
    """(treatment - control) / abs(control), by the delta method. Unit: fraction of the baseline; 0.1 is +10 %.

    Dividing by the absolute value keeps the sign of the effect where the baseline is negative. Null hypothesis,
    guarantee and errors as in `difference`, asymptotic in any case. Reference: Deng, Knoblich and Lu, KDD 2018.
    Insufficient also where the baseline is within three of its standard errors of zero.
    """
    relative = relative_estimate(control, treatment)
    if isinstance(relative, Insufficient):
        return relative
    return _student(relative.value, relative.errors, relative.arms, _Question(alpha, alternative, null))


def noninferiority(
    control: Arm, treatment: Arm, *, margin: float, better: Better, alpha: float = 0.05
) -> Effect | Insufficient:
    """Whether treatment is worse than control by less than a margin. Unit of the margin: the metric's, above zero.

    Null hypothesis: treatment is worse by ``margin`` or more; rejecting it shows non-inferiority, failing to reject
    shows nothing. One-sided at ``alpha``, otherwise as `difference`. Raises OutOfRange for a margin of 0 or less.
    """
    alternative, null = one_sided(margin, better)
    return difference(control, treatment, alpha=alpha, alternative=alternative, null=null)


def one_sided(margin: float, better: Better) -> tuple[Alternative, float]:
    """The alternative and the null value of a non-inferiority test. Raises OutOfRange for a margin of 0 or less."""
    positive("margin", margin)
    return (Alternative.GREATER, -margin) if better is Better.HIGHER else (Alternative.LESS, margin)


@dataclass(frozen=True)
class RelativeEstimate:
    """A relative lift and what each arm adds to its variance."""

    value: float
    errors: tuple[float, float]
    arms: tuple[ArmEstimate, ArmEstimate]


def relative_estimate(control: Arm, treatment: Arm) -> RelativeEstimate | Insufficient:
    """The lift of `lift`, before a level of confidence is chosen."""
    if isinstance(control, Insufficient):
        return control
    if isinstance(treatment, Insufficient):
        return treatment
    base = abs(control.value)
    if base <= BASELINE_STANDARD_ERRORS * math.sqrt(control.squared_error):
        return Insufficient(
            Lack.BASELINE_NEAR_ZERO,
            f"baseline {control.value:.6g} with standard error {math.sqrt(control.squared_error):.3g}",
            f"a baseline more than {BASELINE_STANDARD_ERRORS:g} standard errors from 0",
        )
    errors = (
        control.squared_error * treatment.value**2 / base**4,
        treatment.squared_error / base**2,
    )
    return RelativeEstimate((treatment.value - control.value) / base, errors, (control, treatment))


@dataclass(frozen=True)
class _Question:
    alpha: float
    alternative: Alternative
    null: float

    def __post_init__(self) -> None:
        probability("alpha", self.alpha)
        finite("null", self.null)


def _student(
    estimate: float, errors: tuple[float, float], arms: tuple[ArmEstimate, ArmEstimate], ask: _Question
) -> Effect | Insufficient:
    squared = sum(errors)
    if squared == 0:
        return no_variance(arms)
    freedom = 1 / sum((error / squared) ** 2 / (arm.n - 1) for error, arm in zip(errors, arms, strict=True))
    error = math.sqrt(squared)
    t = (estimate - ask.null) / error
    one_sided_width = float(stats.t.isf(ask.alpha, freedom)) * error
    if ask.alternative is Alternative.GREATER:
        p, interval = stats.t.sf(t, freedom), Interval(estimate - one_sided_width, math.inf)
    elif ask.alternative is Alternative.LESS:
        p, interval = stats.t.cdf(t, freedom), Interval(-math.inf, estimate + one_sided_width)
    else:
        width = float(stats.t.isf(ask.alpha / 2, freedom)) * error
        p, interval = 2 * stats.t.sf(abs(t), freedom), Interval(estimate - width, estimate + width)
    return Effect(estimate, interval, float(p), ask.alpha, ask.null, ask.alternative)


def no_variance(arms: tuple[ArmEstimate, ArmEstimate]) -> Insufficient:
    """Both arms constant: nothing says how far chance could have moved the difference."""
    control, treatment = arms
    return Insufficient(
        Lack.NO_VARIANCE, f"all users at {control.value:.6g} and at {treatment.value:.6g}", "a metric that varies"
    )


def _too_few(arm: Moments) -> Insufficient:
    return Insufficient(Lack.TOO_FEW, f"{arm.n} users in an arm", "2 or more in each")


def _columns(arm: Moments, wanted: int, what: str) -> None:
    if len(arm.means) != wanted:
        raise WrongShape(found=f"{len(arm.means)} columns", wanted=f"{wanted}: {what}", cure="pass both")
