"""What replications of a simulation say: shares with exact intervals, and whether p-values are what they promise."""

from scipy import stats

from ra_guard.stats.errors import OutOfRange
from ra_guard.stats.inputs import Values, count, probability, vector
from ra_guard.stats.outcome import Insufficient, Interval, Lack


def share_interval(events: int, trials: int, *, alpha: float = 0.05) -> Interval | Insufficient:
    """The chance of an event from independent replications, at confidence 1 - alpha.

    Guarantee: at least 1 - alpha for any chance, for a number of trials that was fixed in advance. Reference: Clopper
    and Pearson, Biometrika 26 (1934). Insufficient without a trial. Raises OutOfRange.
    """
    if count("events", events) > count("trials", trials):
        raise OutOfRange(found=f"{events} events in {trials} trials", wanted="no more", cure="count both alike")
    if not trials:
        return Insufficient(Lack.TOO_FEW, "no trials", "1 or more")
    found = stats.binomtest(events, trials).proportion_ci(1 - probability("alpha", alpha), method="exact")
    return Interval(float(found.low), float(found.high))


def uniformity_p_value(p_values: Values) -> float | Insufficient:
    """The p-value of independent p-values being uniform on [0, 1], as they are when the null hypothesis is true.

    Two-sided, exact for small samples. Reference: Kolmogorov and Smirnov. Insufficient without a value. Raises
    OutOfRange for what is no p-value, NotFinite.
    """
    values = vector("p_values", p_values)
    if not values.size:
        return Insufficient(Lack.TOO_FEW, "no p-values", "1 or more")
    if values.min() < 0 or values.max() > 1:
        raise OutOfRange(found=f"p-values from {values.min():g} to {values.max():g}", wanted="0 to 1", cure="pass p")
    return float(stats.kstest(values, "uniform").pvalue)
