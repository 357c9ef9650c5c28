"""What a simulation refuses."""

from ra_guard.errors import Code, Refused


class SimulationError(Refused):
    """Base of what a simulation refuses."""

    status_code = Code.INVALID_ARGUMENT


class UnknownPreset(SimulationError):
    """A preset that does not exist."""


class WrongTicks(SimulationError):
    """A clock that does not meet every full hour, at which the ramp moves."""


class NoPurpose(SimulationError):
    """Options that ask for something that cannot be told from such a run."""
