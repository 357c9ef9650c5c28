"""What the statistics refuse: a caller's mistakes, one class for each cause.

Too little data is no mistake: it is the outcome `outcome.Insufficient`.
"""

from ra_guard.errors import Code, Refused


class StatsError(Refused):
    """Base of what the statistics refuse."""

    status_code = Code.INVALID_ARGUMENT


class NotFinite(StatsError):
    """NaN or infinity where a number is needed: a missing value is left out by the caller, who knows why."""


class OutOfRange(StatsError):
    """A number outside the bounds of its meaning, such as a probability of 2 or a negative count."""


class WrongShape(StatsError):
    """Arrays or sequences whose lengths do not belong together."""


class OutOfOrder(StatsError):
    """Looks or counts that go backwards, or looks too close to each other to be told apart."""


class AlphaSpent(StatsError):
    """A look after the one that spent the last of the error probability."""
