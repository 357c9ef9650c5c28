"""What the launch refuses."""

from ra_guard.errors import Code, Refused


class LaunchError(Refused):
    """Base of what the launch refuses."""

    status_code = Code.INVALID_ARGUMENT


class NoLaunchDate(LaunchError):
    """A package without a date to count from."""


class BeyondTheCalendar(LaunchError):
    """A timeline that leaves the calendar."""


class NotSigned(LaunchError):
    """A signature for a line that the checklist does not have, or that the software proves."""


class WrongRole(LaunchError):
    """A signature in a role that the line does not ask for, or without one that it does."""


class NothingToRehearse(LaunchError):
    """A gallery without an embedding to ask with."""

    status_code = Code.FAILED_PRECONDITION


class EverybodyEnrolled(LaunchError):
    """Nobody to call as without being counted among the users of an arm."""

    status_code = Code.FAILED_PRECONDITION


class NotResumed(LaunchError):
    """A drill that could stop the experiment and not start it again."""

    status_code = Code.FAILED_PRECONDITION


class DrillRefused(LaunchError):
    """A rollback drill that would stop something real, or take back what was decided."""

    status_code = Code.FAILED_PRECONDITION
