"""Windows of evidence: batches go in, in any order and any cut, and come out as what both arms come to.

A row whose correction brings a count below zero stays in, because the row that it corrects may yet come; until then
the arm's quantity is marked as broken and has no number.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Final

import numpy as np

from ra_guard.errors import Code, RaGuardError
from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.sums import ArmCalls, CallSums, Places, Rows, Sums, Whole
from ra_guard.evidence.tally import Batch, Quantity
from ra_guard.stats.moments import Moments

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
        self._rows_waiting = 0
        self._known: Contrast | None = None

    def add(self, batch: Batch) -> None:
        """Take note of a batch; what lies before the window is left out."""
        self.add_rows(Rows.of(batch))

    def add_rows(self, rows: Rows) -> None:
        """The same, of a batch that several windows take note of."""
        within = rows.after(self._since - 1)
        self._waiting.append(within)
        self._rows_waiting += len(within)
        self._known = None
        if self._rows_waiting > _WAITING:
            self._settle()

    def contrast(self) -> Contrast:
        """Both arms, by all that was added."""
        if self._known is None:
            self._settle()
            self._known = self._sums.contrast()
        return self._known

    def _settle(self) -> None:
        if self._waiting:
            self._sums.add(self._placed(Rows.joined(*self._waiting)))
            self._waiting.clear()
            self._rows_waiting = 0

    def _placed(self, rows: Rows) -> Rows:
        return rows


class PartWindow(Window):
    """The same of a part of the traffic, such as a gallery domain: it costs its own users, whatever their numbers."""

    def __init__(self, since: int) -> None:
        super().__init__(since)
        self._places = Places()

    def _placed(self, rows: Rows) -> Rows:
        return self._places.placed(rows)


class Recent:
    """The last minutes. It holds the rows of as many, and takes out of its sums those that grow older.

    What needs no users costs what the latest rows are. What needs them is made from all rows held, when it is asked
    for: most alarms that look back over minutes are about calls.
    """

    def __init__(self, minutes: int) -> None:
        self._minutes = minutes
        self._calls = CallSums()
        self._held = Rows.none()
        self._waiting: list[Rows] = []
        self._rows_waiting = 0
        self._as_of: int | None = None
        self._known: Contrast | None = None

    def add(self, batch: Batch) -> None:
        """Take note of a batch, which may be of minutes to come."""
        self.add_rows(Rows.of(batch))

    def add_rows(self, rows: Rows) -> None:
        """The same, of a batch that several windows take note of."""
        self._waiting.append(rows)
        self._rows_waiting += len(rows)

    def contrast(self, as_of: int) -> Contrast:
        """Both arms over the minutes ``as_of - minutes + 1`` to ``as_of``. Raises MinuteWentBack."""
        if self._as_of is not None and as_of < self._as_of:
            raise MinuteWentBack(
                f"found minute {as_of} after {self._as_of}, wanted one that is not earlier; ask in the order of time"
            )
        if as_of != self._as_of or self._waiting:
            self._move(as_of)
        if self._known is None:
            held = _Held(self._held)
            self._known = Contrast(*(_RecentArm(self._calls.arm(arm), held, arm) for arm in (0, 1)))
        return self._known

    def keep_up(self, as_of: int) -> None:
        """Let go of what is too old although nobody asks. Costs nothing until many rows wait."""
        if self._rows_waiting > _WAITING:
            self.contrast(as_of)

    def _move(self, as_of: int) -> None:
        start = as_of - self._minutes
        fresh = Rows.joined(*self._waiting).after(start) if self._waiting else Rows.none()
        entering, leaving, later = fresh.up_to(as_of), self._held.up_to(start), fresh.after(as_of)
        if len(entering) or len(leaving):
            self._calls.add(entering.calls)
            self._calls.add(leaving.taken_back().calls)
            self._held = Rows.joined(self._held.after(start), entering)
            self._known = None
        self._waiting = [later] if len(later) else []
        self._rows_waiting = len(later)
        self._as_of = as_of


class _Held:
    """Rows that are summed by user when somebody asks."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @cached_property
    def arms(self) -> tuple[ArmStatistics, ArmStatistics]:
        """Control and treatment."""
        sums = Sums()
        # Few of all users: those of some minutes.
        sums.add(Places().placed(self._rows))
        contrast = sums.contrast()
        return contrast.control, contrast.treatment


class _RecentArm(ArmStatistics):
    """An arm that knows its calls, and counts its users when it is asked about them."""

    _of: tuple[_Held, int]

    def __init__(self, calls: ArmCalls, held: _Held, arm: int) -> None:
        # The fields of calls as they are; those below are the class's own. Frozen, so past the attributes.
        self.__dict__.update(vars(calls), _of=(held, arm))

    @cached_property
    def _by_users(self) -> ArmStatistics:
        held, arm = self._of
        return held.arms[arm]

    @cached_property
    def users(self) -> int:
        return self._by_users.users

    @cached_property
    def latency_design_effect(self) -> float:
        return self._by_users.latency_design_effect

    @cached_property
    def error_design_effect(self) -> float:
        return self._by_users.error_design_effect

    @cached_property
    def means(self) -> Mapping[Quantity, Moments]:
        return self._by_users.means

    @cached_property
    def broken(self) -> frozenset[Quantity]:
        return self._by_users.broken


class Enrolment:
    """When users were first seen, by arm. A call that is taken back was a visit all the same."""

    def __init__(self) -> None:
        self._first: Whole = np.full(0, _NEVER)

    def add_rows(self, rows: Rows) -> None:
        """Take note of a batch's calls."""
        minute, row = rows.calls[:2]
        last = int(row.max(initial=-1))
        if last >= self._first.size:
            more = max(last + 1, 2 * self._first.size) - self._first.size
            self._first = np.concatenate([self._first, np.full(more, _NEVER)])
        np.minimum.at(self._first, row, minute)

    def between(self, first: int, last: int) -> tuple[int, int]:
        """Users first seen in the minutes ``first`` to ``last``: of control, of treatment."""
        within = (self._first >= first) & (self._first <= last)
        return int(np.count_nonzero(within[0::2])), int(np.count_nonzero(within[1::2]))
