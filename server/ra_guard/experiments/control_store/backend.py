"""What the store needs of a database beyond SQL: transactions, a clock for leases, words for failures."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ra_guard.experiments.errors import ExperimentError


@dataclass(frozen=True, slots=True)
class Moment:
    """A time on the clock that leases run by. Times of different boots do not compare: no holder outlives its boot."""

    boot: str
    seconds: float


class Backend(Protocol):
    """One database. Every method but `close` may raise SQLAlchemy's errors; `failure` says what they mean."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection whose statements see one state. Nothing is kept of what the block writes."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A connection in a transaction that the caller commits; rolled back when the block ends without."""
        ...

    def creating(self) -> AbstractContextManager[Connection]:
        """As `writing`, while nobody else creates the schema."""
        ...

    def now(self, connection: Connection) -> Moment:
        """The lease clock, read now: not when the transaction began."""
        ...

    def require_there(self) -> None:
        """Raises StoreGone when what was opened is no longer what the address names."""
        ...

    def inspect_storage(self, connection: Connection) -> None:
        """Lets the database check its own pages. Raises StoreCorrupt."""
        ...

    def failure(self, error: DBAPIError) -> ExperimentError:
        """What a failure of the database means to the caller."""
        ...

    def close(self) -> None:
        """Closes every connection."""
        ...
