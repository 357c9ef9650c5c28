"""What a comparison of two arms comes to: an effect, or the statement that the data cannot say.

`Insufficient` is a value, not an error: no estimate, interval or p-value is made up where there is none, and a
caller cannot read a number without having asked which of the two it holds.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Alternative(StrEnum):
    """What the test tries to show of treatment minus control (or of their relative lift)."""

    TWO_SIDED = "two-sided"
    """It differs from the null value."""
    GREATER = "greater"
    """It is above the null value; the interval has no upper end."""
    LESS = "less"
    """It is below the null value; the interval has no lower end."""


class Sides(IntEnum):
    """Whether a test may end on one side or on both."""

    ONE = 1
    TWO = 2


class Better(StrEnum):
    """Which direction of a metric is good."""

    HIGHER = "higher"
    LOWER = "lower"


class Lack(StrEnum):
    """Why the data cannot say."""

    TOO_FEW = "too few observations"
    NO_VARIANCE = "no variance"
    BASELINE_NEAR_ZERO = "baseline near zero"
    DENOMINATOR_ZERO = "denominator zero"


@dataclass(frozen=True)
class Insufficient:
    """The data cannot say, and why: what was found, and what would be enough."""

    lack: Lack
    found: str
    wanted: str


@dataclass(frozen=True)
class Interval:
    """A confidence interval, ends included; an end is infinite where nothing bounds the effect on that side."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Effect:
    """Treatment against control. What interval and p-value promise is said by the function that made them."""

    estimate: float
    """Treatment minus control in the metric's unit, or the relative lift as a fraction of the baseline."""
    interval: Interval
    """At confidence 1 - alpha."""
    p_value: float
    """Against the null value, in the direction of the alternative; rejects exactly when the interval excludes it."""
    alpha: float
    null: float
    alternative: Alternative

    @property
    def rejects(self) -> bool:
        """Whether the null value is rejected at ``alpha``."""
        return self.p_value <= self.alpha
