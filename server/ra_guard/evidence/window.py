"""Windows of evidence: batches go in, in any order and any cut, and come out as what both arms come to.

A row whose correction brings a count below zero stays in, because the row that it corrects may yet come; until then
the arm's quantity is marked as broken and has no number.
"""

from typing import Final

import numpy as np

from ra_guard.errors import Code, RaGuardError
from ra_guard.evidence.contrast import Contrast
from ra_guard.evidence.sums import Rows, Sums, Whole
from ra_guard.evidence.tally import Batch

_WAITING: Final = 65_536
"""Rows that may wait to be added at once."""
_NEVER: Final = np.iinfo(np.int64).max


class MinuteWentBack(RaGuardError):
    """A window that moves with time was asked about a minute before the one it was last asked about."""

    status_code = Code.INVALID_ARGUMENT


class Window:
    """Everything of one minute and later."""

    def __init__(self, since: int) -> None:
        """``since``: minutes since the Unix epoch."""
        self._since = since
        self._sums = Sums()
        self._waiting: list[Rows] = []
        self._known: Contrast | None = None

    def add(self, batch: Batch) -> None:
        """Take note of a batch; what lies before the window is left out."""
        self._waiting.append(Rows.of(batch).after(self._since - 1))
        self._known = None
        if sum(map(len, self._waiting)) > _WAITING:
            self._settle()

    def contrast(self) -> Contrast:
        """Both arms, by all that was added."""
        if self._known is None:
            self._settle()
            self._known = self._sums.contrast()
        return self._known

    def _settle(self) -> None:
        if self._waiting:
            self._sums.add(Rows.joined(*self._waiting))
            self._waiting.clear()


class Recent:
    """The last minutes. What grows older is taken out again, so it holds the rows of as many minutes."""

    def __init__(self, minutes: int) -> None:
        self._minutes = minutes
        self._sums = Sums()
        self._held = Rows.none()
        self._waiting: list[Rows] = []
        self._as_of: int | None = None
        self._known: Contrast | None = None

    def add(self, batch: Batch) -> None:
        """Take note of a batch, which may be of minutes to come."""
        self._waiting.append(Rows.of(batch))
        self._known = None

    def contrast(self, as_of: int) -> Contrast:
        """Both arms over the minutes ``as_of - minutes + 1`` to ``as_of``. Raises MinuteWentBack."""
        if self._as_of is not None and as_of < self._as_of:
            raise MinuteWentBack(
                f"found minute {as_of} after {self._as_of}, wanted one that is not earlier; ask in the order of time"
            )
        if self._known is None or as_of != self._as_of:
            start = as_of - self._minutes
            fresh = Rows.joined(*self._waiting, Rows.none()).after(start)
            entering, later = fresh.up_to(as_of), fresh.after(as_of)
            self._sums.add(Rows.joined(entering, self._held.up_to(start).taken_back()))
            self._held = Rows.joined(self._held.after(start), entering)
            self._waiting = [later]
            self._as_of = as_of
            self._known = self._sums.contrast()
        return self._known


class Enrolment:
    """When users were first seen, by arm. A call that is taken back was a visit all the same."""

    def __init__(self) -> None:
        self._first: Whole = np.full(0, _NEVER)

    def add(self, batch: Batch) -> None:
        """Take note of a batch's calls."""
        rows = batch.calls.user.astype(np.int64) * 2 + batch.calls.arm - 1
        last = int(rows.max(initial=-1))
        if last >= self._first.size:
            more = max(last + 1, 2 * self._first.size) - self._first.size
            self._first = np.concatenate([self._first, np.full(more, _NEVER)])
        np.minimum.at(self._first, rows, batch.calls.minute)

    def between(self, first: int, last: int) -> tuple[int, int]:
        """Users first seen in the minutes ``first`` to ``last``: of control, of treatment."""
        within = (self._first >= first) & (self._first <= last)
        return int(np.count_nonzero(within[0::2])), int(np.count_nonzero(within[1::2]))
