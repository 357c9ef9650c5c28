"""What the store refuses or cannot do: one class for each cause, whichever database stands behind it.

`postgres.py` and `sqlite.py` map what their database says to these; nothing of either database leaves the package.
"""

from ra_guard.errors import Code
from ra_guard.experiments.errors import ExperimentError, InvalidInput


class BadStoreUrl(InvalidInput):
    """An address that names neither an SQLite file by its whole path nor a PostgreSQL database."""


class BadEntry(InvalidInput):
    """A value that the store cannot hold: text with a zero byte, a number that is not finite, a revision too large."""


class StoreReadOnly(ExperimentError):
    """The store can be read and not written: its file, its file system, the server or the role forbids it."""

    status_code = Code.FAILED_PRECONDITION


class StoreFull(ExperimentError):
    """No room for another row. What was stored stays readable."""

    status_code = Code.RESOURCE_EXHAUSTED


class StoreGone(ExperimentError):
    """The file or the server cannot be reached, or does not answer in time. Nothing was stored."""

    status_code = Code.UNAVAILABLE


class OutcomeUnknown(StoreGone):
    """The store went away while it committed: the change is stored whole or not at all, and only reading tells."""


class StoreBusy(ExperimentError):
    """Another transaction held what this one needs for too long."""

    status_code = Code.ABORTED


class StoreCorrupt(ExperimentError):
    """What is stored cannot be what was written."""

    status_code = Code.DATA_LOSS


class StoreFailed(ExperimentError):
    """The database failed in a way that no other class foresees."""

    status_code = Code.INTERNAL


class SchemaVersion(ExperimentError):
    """Tables of another version of this program, or of another program."""

    status_code = Code.FAILED_PRECONDITION


class AppendOnly(ExperimentError):
    """The database refused to change, remove or overtake what it has recorded."""

    status_code = Code.FAILED_PRECONDITION


class LeaseLost(ExperimentError):
    """The writer lease went to another holder, or was given back: this holder writes no more under that term."""

    status_code = Code.ABORTED
