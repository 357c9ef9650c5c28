"""What the way of the logs refuses. Nothing is lost by any of them: local files stay until their object is certain."""

from ra_guard.errors import Code, RaGuardError


class BadObjectsUrl(RaGuardError):
    """A store that cannot be named so."""

    status_code = Code.INVALID_ARGUMENT


class ObjectsUnreachable(RaGuardError):
    """The store does not answer, or fails by itself."""

    status_code = Code.UNAVAILABLE


class ObjectsFull(RaGuardError):
    """The store has no room."""

    status_code = Code.RESOURCE_EXHAUSTED


class ObjectsDenied(RaGuardError):
    """The store answers and does not let us."""

    status_code = Code.FAILED_PRECONDITION


class NoSuchObject(RaGuardError):
    """Nothing lies under this name."""

    status_code = Code.NOT_FOUND


class ObjectDiffers(RaGuardError):
    """Something else lies under this name, and objects are written once."""

    status_code = Code.DATA_LOSS


class NotASegment(RaGuardError):
    """A file whose name or header is no log segment's."""

    status_code = Code.DATA_LOSS


class BadDay(RaGuardError):
    """Not a calendar day."""

    status_code = Code.INVALID_ARGUMENT


class NothingExported(RaGuardError):
    """No Parquet where some was wanted."""

    status_code = Code.NOT_FOUND
