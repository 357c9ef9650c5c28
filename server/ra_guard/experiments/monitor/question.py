"""A bound turned into what is asked of a number: which metric, on which scale, on which side of what.

A definition is read once and asked every minute; a question holds what would otherwise be looked up each time.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

from ra_guard.experiments.definition.measures import (
    Alarm,
    Better,
    Comparison,
    Evidence,
    Metric,
    Requirement,
    Scale,
)
from ra_guard.stats.outcome import Alternative, Interval

Asked = Requirement | Alarm
"""A bound that says on which side of it a value is asked for."""

_HOLDS: Final[dict[Comparison, Callable[[float, float], bool]]] = {
    Comparison.ABOVE: operator.gt,
    Comparison.BELOW: operator.lt,
    Comparison.AT_LEAST: operator.ge,
    Comparison.AT_MOST: operator.le,
}


What = tuple[Metric, Scale, int, int | None, "Question | None"]


@dataclass(frozen=True)
class Question:
    """What a requirement or an alarm asks."""

    metric: Metric
    scale: Scale
    evidence: Evidence
    comparison: Comparison
    bound: float
    min_count: int
    is_alarm: bool
    over_minutes: int | None

    @classmethod
    def of(cls, asked: Asked) -> Self:
        """The question of a bound."""
        is_alarm = isinstance(asked, Alarm)
        return cls(
            metric=asked.metric,
            scale=asked.scale,
            evidence=asked.evidence,
            comparison=asked.when if isinstance(asked, Alarm) else asked.must_be,
            bound=asked.bound,
            min_count=asked.min_count,
            is_alarm=is_alarm,
            over_minutes=asked.over_minutes if isinstance(asked, Alarm) else None,
        )

    @cached_property
    def what(self) -> What:
        """The same for questions that have the same reading: its interval alone depends on the bound."""
        is_observed = self.evidence is Evidence.OBSERVED
        return self.metric, self.scale, self.min_count, self.over_minutes, None if is_observed else self

    def holds(self, value: float) -> bool:
        """Whether a value lies on the side that is asked for."""
        return _HOLDS[self.comparison](value, self.bound)

    def is_proven(self, interval: Interval) -> bool:
        """Whether all of an interval lies there."""
        return self.holds(interval.high if self._is_downward else interval.low)

    def is_refuted(self, interval: Interval) -> bool:
        """Whether none of it does."""
        return not self.holds(interval.low if self._is_downward else interval.high)

    def needs(self, value: float) -> Alternative | None:
        """What an interval has to show to change the answer that this value gives; None where no interval could.

        A value on the wrong side cannot be proven, and one on the right side cannot be refuted.
        """
        holds = self.holds(value)
        to_prove = self.evidence is Evidence.PROVEN and holds
        to_refute = self.evidence is not Evidence.OBSERVED and not holds and not self.is_alarm
        if not to_prove and not to_refute:
            return None
        return Alternative.LESS if self._is_downward is to_prove else Alternative.GREATER

    @property
    def _is_downward(self) -> bool:
        return self.comparison.towards is Better.LOWER
