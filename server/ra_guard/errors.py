"""What RA-Guard refuses or fails at, as exceptions. Every message says what was found, what was wanted and the cure."""


class RaGuardError(Exception):
    """Base of every error that RA-Guard raises on purpose. ``variant`` names the cause."""

    @property
    def variant(self) -> str:
        return type(self).__name__
