"""What a simulation refuses."""

from ra_guard.errors import Code, RaGuardError


class SimulationError(RaGuardError):
    """Base of what a simulation refuses. Carries the three parts of its message."""

    status_code = Code.INVALID_ARGUMENT

    def __init__(self, *, found: str, wanted: str, cure: str) -> None:
        super().__init__(f"found {found}, wanted {wanted}; {cure}")
        self.found = found
        self.wanted = wanted
        self.cure = cure


class UnknownPreset(SimulationError):
    """A preset that does not exist."""


class WrongTicks(SimulationError):
    """A clock that does not meet every full hour, at which the ramp moves."""


class NoPurpose(SimulationError):
    """Options that ask for something that cannot be told from such a run."""
