"""The looks that count, with their boundaries and repeated intervals, as reports show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.monitor.looks import boundaries, in_order
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.stats.outcome import Interval


@dataclass(frozen=True)
class Shown:
    """A look, the boundary that it met, and the interval that holds at all looks together, in points."""

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
    """By day, up to the one that spends the rest."""
    counted, bounds = in_order(looks), boundaries(definition, looks)
    return tuple(
        Shown(look, z, bounds.repeated_interval(number, look.estimate, look.standard_error))
        for number, (look, z) in enumerate(zip(counted, bounds.z, strict=True))
    )
