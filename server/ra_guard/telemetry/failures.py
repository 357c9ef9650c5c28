"""Failures that nobody was told of as an error: written once a minute for each cause and place."""

import time
from collections.abc import Callable
from traceback import extract_tb
from typing import Final

from structlog.typing import FilteringBoundLogger

REPEAT_NS: Final = 60_000_000_000
"""A failure of one cause from the same place is written once a minute, with the number of times it happened."""


def variant_of(error: BaseException) -> str:
    """A failure's cause by name; for what nobody foresaw, its class."""
    return str(getattr(error, "variant", type(error).__name__))


class Failures:
    """Writes failures to the log. Used by one thread, or by several where a doubled line does no harm."""

    def __init__(self, log: FilteringBoundLogger, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._log = log
        self._clock_ns = clock_ns
        self._told: dict[tuple[str, str, int], tuple[int, int]] = {}

    def report(self, error: BaseException) -> None:
        """A failure that happens now."""
        self.tell(error, self._clock_ns())

    def tell(self, error: BaseException, at_ns: int) -> None:
        """A failure that happened at a time of the clock."""
        place = _place(error)
        first_ns, times = self._told.get(place, (None, 0))
        if first_ns is not None and at_ns - first_ns < REPEAT_NS:
            self._told[place] = (first_ns, times + 1)
            return
        self._told[place] = (at_ns, 0)
        self._log.error(
            "failure",
            variant=variant_of(error),
            error=str(error),
            repeated=times,
            exc_info=(type(error), error, error.__traceback__),
        )


def _place(error: BaseException) -> tuple[str, str, int]:
    frames = extract_tb(error.__traceback__, limit=-1)
    return (variant_of(error), *((frames[0].filename, frames[0].lineno or 0) if frames else ("", 0)))
