"""The looks of an experiment with their boundaries, as reports show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.stats import sequential
from ra_guard.stats.outcome import Interval, Sides


@dataclass(frozen=True)
class Shown:
    """A look, the boundary that was in force at it, and the interval that holds at all looks together."""

    look: Look
    boundary_z: float
    interval: Interval

    @property
    def z(self) -> float:
        """The estimate in standard errors."""
        return self.look.estimate / self.look.standard_error

    @property
    def is_crossed(self) -> bool:
        """In either direction."""
        return abs(self.z) >= self.boundary_z


def shown(definition: Definition, looks: Sequence[Look]) -> tuple[Shown, ...]:
    """All looks in their order."""
    if not looks:
        return ()
    bounds = sequential.bounds(
        [look.information for look in looks],
        family=sequential.Family.OBRIEN_FLEMING,
        alpha=1 - definition.metrics.primary.confidence_percent / 100,
        sides=Sides.TWO,
        spending_time=[1.0 if look.is_last else min(1.0, look.information) for look in looks],
    )
    return tuple(
        Shown(look, z, bounds.repeated_interval(number, look.estimate, look.standard_error))
        for number, (look, z) in enumerate(zip(looks, bounds.z, strict=True))
    )
