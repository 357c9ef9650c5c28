"""What cannot be told to people, and what is asked of an alert that does not stand."""

from ra_guard.errors import Code, RaGuardError


class NotDelivered(RaGuardError):
    """A receiver did not take a message. It names the receiver without its secrets."""

    status_code = Code.UNAVAILABLE


class MessageDropped(RaGuardError):
    """A message that no receiver will be asked to take any more: its line was full, or closed."""

    status_code = Code.RESOURCE_EXHAUSTED


class NoSuchAlert(RaGuardError):
    """An alert that does not stand, so nobody can acknowledge it."""

    status_code = Code.NOT_FOUND
