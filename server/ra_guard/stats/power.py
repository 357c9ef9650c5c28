"""How many users an experiment needs, and what it can see with those it has: difference of two means, one look.

By the normal approximation: an estimate with standard error ``se`` is significant with probability
Phi(effect / se - z), z the critical value. At a few hundred users and more this is the t test's power to three digits.
Planned looks (`sequential`) need slightly more users than one look, anytime-valid intervals many more. Reference: any,
such as Kohavi, Tang and Xu, "Trustworthy Online Controlled Experiments", 2020, chapter 17.

Effects and standard deviations are in the metric's unit: nDCG in points has a standard deviation of at most 50.
"""

import math

from scipy.special import ndtr, ndtri

from ra_guard.stats.errors import OutOfRange
from ra_guard.stats.inputs import positive, probability
from ra_guard.stats.outcome import Sides


def sample_size(
    effect: float, *, deviation: float, power: float = 0.8, alpha: float = 0.05, sides: Sides = Sides.TWO
) -> int:
    """Users in each of two equal arms that show an effect of this size with this probability, rounded up.

    ``effect`` is the size of the difference, above 0; ``deviation`` the standard deviation of users. At least 2.
    Raises OutOfRange, also for a power that a test without data has already; NotFinite.
    """
    positive("effect", effect)
    positive("deviation", deviation)
    return max(2, math.ceil(2 * (_standard_errors(power, alpha, sides) * deviation / effect) ** 2))


def minimum_detectable_effect(
    control: int, treatment: int, *, deviation: float, power: float = 0.8, alpha: float = 0.05, sides: Sides = Sides.TWO
) -> float:
    """The smallest difference that arms of these sizes show with this probability. Unit: that of ``deviation``.

    Raises as `sample_size` does.
    """
    return _standard_errors(power, alpha, sides) * _standard_error(control, treatment, deviation)


def power_of(
    effect: float,
    control: int,
    treatment: int,
    *,
    deviation: float,
    alpha: float = 0.05,
    sides: Sides = Sides.TWO,
) -> float:
    """The probability that arms of these sizes show a difference of this size, in its own direction.

    Raises as `sample_size` does.
    """
    shift = positive("effect", effect) / _standard_error(control, treatment, deviation)
    return float(ndtr(shift + ndtri(probability("alpha", alpha) / sides)))


def _standard_errors(power: float, alpha: float, sides: Sides) -> float:
    if probability("power", power) <= probability("alpha", alpha) / sides:
        raise OutOfRange(
            found=f"power = {power}", wanted=f"more than chance gives, {alpha / sides:g}", cure="0.8 is usual"
        )
    return float(ndtri(power) - ndtri(alpha / sides))


def _standard_error(control: int, treatment: int, deviation: float) -> float:
    positive("control", control)
    positive("treatment", treatment)
    return positive("deviation", deviation) * math.sqrt(1 / control + 1 / treatment)
