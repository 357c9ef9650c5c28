"""Both arms as sums that are kept up to date: of calls, for each user, and over the users' values.

A batch touches few users. Of those the old value is taken out of its arm's sums and the new one put in, so a batch
costs what it is, and what the sums come to costs nothing. Values are rounded to multiples of 2**-40 and summed as
whole numbers: no order and no cut of the batches changes a bit, and a constant has a spread of exactly zero.

A row is the place of one user in one arm, ``2 * user + arm - 1``; it has `WIDTH` cells, one for each quantity and the
last for calls, whose total is their errors. Memory is 0.25 KB a row, so 0.5 KB for each user number, whether the user
was seen here or not. Of a part of the traffic rows are renumbered before (`Places`): memory is that of its own users.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.latency import BUCKETS
from ra_guard.evidence.tally import PER_USER, UNIT, Batch, Quantity
from ra_guard.stats.moments import Moments
from ra_guard.stats.quantiles import least_requests

Whole = npt.NDArray[np.int64]

WIDTH: Final = 8
_CALLS: Final = WIDTH - 1
_SCALE: Final = 1 << 40
_MOST: Final = 1 << 20
"""Complaints and images of one user: more than a person makes, and few enough to be squared."""
_LARGEST: Final = np.array([1.0, 1.0, 1.0, 1.0, 5.0, _MOST, _MOST, np.inf]) * UNIT + 1
"""That a user's value can be, by cell, in billionths; 1 for the rounding of totals."""
_IS_PER_USER: Final = np.array([cell in set(PER_USER) for cell in range(WIDTH)])

_LAST: Final = np.iinfo(np.int64).max
"""After all rows."""

_QUANTILE: Final = 0.95
_STEPS: Final = 32
"""Of the time to answer, for which calls are counted by user: half octaves from 1 ms to a minute."""
_STEP_BUCKETS: Final = 64
_FIRST_STEP: Final = 8
_SPLIT: Final = (0.5, 0.995)
"""Shares of calls at or below an edge between which clustering there says something about clustering at P95."""


@dataclass(frozen=True)
class Rows:
    """A batch as whole numbers, one column a row of the batch."""

    calls: Whole
    """(5, n): minute, row, bucket, error, weight."""
    changes: Whole
    """(4, n): minute, cell, count, total."""

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """The rows of a batch."""
        calls, changes = batch.calls, batch.changes
        rows = calls.user.astype(np.int64) * 2 + calls.arm - 1
        cells = (changes.user.astype(np.int64) * 2 + changes.arm - 1) * WIDTH + changes.quantity
        return cls(
            np.stack([calls.minute, rows, calls.bucket, calls.error, calls.weight], dtype=np.int64),
            np.stack([changes.minute, cells, changes.count, changes.total], dtype=np.int64),
        )

    @classmethod
    def joined(cls, *parts: "Rows") -> Self:
        """All of them."""
        return cls(
            np.concatenate([part.calls for part in parts], axis=1),
            np.concatenate([part.changes for part in parts], axis=1),
        )

    @classmethod
    def none(cls) -> Self:
        """No rows."""
        return cls(np.empty((5, 0), dtype=np.int64), np.empty((4, 0), dtype=np.int64))

    def __len__(self) -> int:
        return int(self.calls.shape[1] + self.changes.shape[1])

    def after(self, minute: int) -> Self:
        """Those of later minutes."""
        if not len(self):
            return self
        return type(self)(self.calls[:, self.calls[0] > minute], self.changes[:, self.changes[0] > minute])

    def up_to(self, minute: int) -> Self:
        """The others."""
        if not len(self):
            return self
        return type(self)(self.calls[:, self.calls[0] <= minute], self.changes[:, self.changes[0] <= minute])

    def taken_back(self) -> Self:
        """What undoes them."""
        calls, changes = self.calls.copy(), self.changes.copy()
        calls[4] *= -1
        changes[2:] *= -1
        return type(self)(calls, changes)


class Places:
    """Rows of a part of the traffic by places without gaps: what is summed by place costs the part's own users.

    A row takes the next place of its arm when it first comes, so a place is a row of another user, and no sum differs.
    16 bytes a row.
    """

    def __init__(self) -> None:
        # Rows in ascending order, with one after all of them, and the place of each.
        self._rows: Whole = np.array([_LAST])
        self._places: Whole = np.array([_LAST])
        self._next: Whole = np.array([0, 1])

    def placed(self, rows: Rows) -> Rows:
        """The same, by place."""
        named = np.concatenate([rows.calls[1], rows.changes[1] // WIDTH])
        self._learn(_distinct(named))
        places = self._places[np.searchsorted(self._rows, named)]
        calls, changes = rows.calls.copy(), rows.changes.copy()
        calls[1] = places[: calls.shape[1]]
        changes[1] = places[calls.shape[1] :] * WIDTH + changes[1] % WIDTH
        return Rows(calls, changes)

    def _learn(self, rows: Whole) -> None:
        at = np.searchsorted(self._rows, rows)
        is_new = self._rows[at] != rows
        new, at = rows[is_new], at[is_new]
        if not new.size:
            return
        arm = new & 1
        in_arm = np.where(arm, np.cumsum(arm), np.cumsum(1 - arm))
        places = self._next[arm] + 2 * (in_arm - 1)
        self._next += 2 * np.bincount(arm, minlength=2)
        self._rows, self._places = np.insert(self._rows, at, new), np.insert(self._places, at, places)


class CallSums:
    """What needs no users: the calls of both arms, their errors and their times to answer."""

    def __init__(self) -> None:
        self._errors: Whole = np.zeros(2, dtype=np.int64)
        self._latency: Whole = np.zeros((2, BUCKETS), dtype=np.int64)

    def add(self, calls: Whole) -> None:
        """Add the calls of some rows."""
        _, row, bucket, error, weight = calls
        arm = row & 1
        np.add.at(self._errors, arm, error * weight)
        np.add.at(self._latency.reshape(-1), arm * BUCKETS + bucket, weight)

    def arm(self, arm: int) -> "ArmCalls":
        """What they come to: 0 for control, 1 for treatment."""
        latency = self._latency[arm].copy()
        latency.flags.writeable = False
        calls, errors = int(latency.sum()), int(self._errors[arm])
        return ArmCalls(calls, errors, latency, not 0 <= errors <= calls or bool(latency.min() < 0))


@dataclass(frozen=True)
class ArmCalls:
    """The part of `ArmStatistics` that needs no users."""

    calls: int
    errors: int
    latency: Whole
    has_broken_calls: bool


class Sums:
    """Both arms. Cells and steps of a user are found by row; what they sum to by arm and cell."""

    def __init__(self) -> None:
        self._count: Whole = np.zeros(0, dtype=np.int64)
        self._total: Whole = np.zeros(0, dtype=np.int64)
        self._steps: npt.NDArray[np.int32] = np.zeros((0, _STEPS), dtype=np.int32)
        # By arm and cell: users, the sum of their values and of the squares, and cells that cannot be true.
        self._users = [0] * (2 * WIDTH)
        self._sum = [0] * (2 * WIDTH)
        self._squares = [0] * (2 * WIDTH)
        self._broken = [0] * (2 * WIDTH)
        self._calls = CallSums()
        # By arm, over users: the squares of their errors, and their products with all calls.
        self._error_squares, self._error_products = [0, 0], [0, 0]
        # By arm and step edge, over users: calls at or below it, their squares, and their products with all calls.
        self._clusters: Whole = np.zeros((2, 3, _STEPS), dtype=np.int64)

    def add(self, rows: Rows) -> None:
        """Add rows; what they say of calls and of quantities at once, because a user without calls has no value."""
        if not len(rows):
            return
        self._grow(rows)
        self._calls.add(rows.calls)
        users = _distinct(rows.calls[1])
        self._add_times(rows.calls, users)
        called = users * WIDTH + _CALLS
        # A first call brings a user among those whose complaints and discoveries count, if only as none.
        touched = _distinct(np.concatenate([rows.changes[1], called, *(called - _CALLS + each for each in PER_USER)]))
        before, calls_before, errors_before = self._values(touched), self._count[called], self._total[called]
        _, row, _, error, weight = rows.calls
        cells = np.concatenate([rows.changes[1], row * WIDTH + _CALLS])
        np.add.at(self._count, cells, np.concatenate([rows.changes[2], weight]))
        np.add.at(self._total, cells, np.concatenate([rows.changes[3], error * weight]))
        self._add_errors(called, calls_before, errors_before)
        after = self._values(touched)
        # Most cells are as they were: a user without a complaint still has none.
        changed = (before != after).any(axis=0)
        places = (touched[changed] % (2 * WIDTH)).tolist()
        for place, had, old, was_broken, has, new, is_broken in zip(
            places, *before[:, changed].tolist(), *after[:, changed].tolist(), strict=True
        ):
            self._users[place] += has - had
            self._sum[place] += new - old
            self._squares[place] += new * new - old * old
            self._broken[place] += is_broken - was_broken

    def contrast(self) -> Contrast:
        """What it all comes to."""
        return Contrast(self._arm(0), self._arm(1))

    def _arm(self, arm: int) -> ArmStatistics:
        at = arm * WIDTH
        calls, users = self._calls.arm(arm), self._users[at + _CALLS]
        broken = frozenset(quantity for quantity in Quantity if self._broken[at + quantity])
        is_broken = calls.has_broken_calls or self._broken[at + _CALLS] > 0
        return ArmStatistics(
            users=users,
            calls=calls.calls,
            errors=calls.errors,
            latency=calls.latency,
            latency_design_effect=1.0 if is_broken else self._latency_design_effect(arm, users),
            error_design_effect=1.0 if is_broken else self._error_design_effect(arm, users, calls),
            means=Means(
                {
                    quantity: (self._users[at + quantity], self._sum[at + quantity], self._squares[at + quantity])
                    for quantity in Quantity
                    if quantity not in broken
                }
            ),
            broken=broken,
            has_broken_calls=is_broken,
        )

    def _grow(self, rows: Rows) -> None:
        last = max(int(rows.calls[1].max(initial=-1)), int(rows.changes[1].max(initial=-1)) // WIDTH)
        have = self._steps.shape[0]
        if last >= have:
            more = max(last + 1, 2 * have, 1024) - have
            self._count = np.concatenate([self._count, np.zeros(more * WIDTH, dtype=np.int64)])
            self._total = np.concatenate([self._total, np.zeros(more * WIDTH, dtype=np.int64)])
            self._steps = np.concatenate([self._steps, np.zeros((more, _STEPS), dtype=np.int32)])

    def _values(self, cells: Whole) -> Whole:
        """Of each cell: whether its user has a value, the value in `_SCALE`, and whether it cannot be true. (3, n).

        Calls are worth their number. What has no user's count behind it is worth nothing.
        """
        kind = cells % WIDTH
        own, total = self._count[cells], self._total[cells]
        is_per_user = _IS_PER_USER[kind]
        count = np.where(is_per_user, self._count[cells | _CALLS] > 0, own)
        has = count > 0
        value = total / np.maximum(count, 1)
        # Totals are rounded to billionths, one for each request.
        broken = (total < 0) | (value > _LARGEST[kind]) | (~is_per_user & ((own < 0) | (~has & (total != 0))))
        scaled = np.rint(value * (has * (_SCALE / UNIT)))
        return np.stack([has, np.where(kind == _CALLS, own * has, scaled), broken], dtype=np.int64, casting="unsafe")

    def _add_errors(self, called: Whole, calls_before: Whole, errors_before: Whole) -> None:
        """What the errors of users come to, by the cells of their calls before the batch and now."""
        errors = self._total[called]
        # Most users have none, neither before nor now.
        for each in np.flatnonzero(errors | errors_before).tolist():
            cell, had, has = int(called[each]), int(errors_before[each]), int(errors[each])
            arm = cell // WIDTH & 1
            self._error_squares[arm] += has * has - had * had
            self._error_products[arm] += has * int(self._count[cell]) - had * int(calls_before[each])

    def _add_times(self, calls: Whole, users: Whole) -> None:
        """Keep the calls of each user by step, and what they come to over users."""
        _, row, bucket, _, weight = calls
        step = np.clip(bucket // _STEP_BUCKETS - _FIRST_STEP, 0, _STEPS - 1)
        before = np.cumsum(self._steps[users], axis=1, dtype=np.int64)
        np.add.at(self._steps, (row, step), (weight * (bucket > 0)).astype(np.int32))
        after = np.cumsum(self._steps[users], axis=1, dtype=np.int64)
        grown = np.concatenate(
            [
                after - before,
                after * after - before * before,
                after * after[:, -1:] - before * before[:, -1:],
            ],
            axis=1,
        )
        in_treatment = users & 1
        self._clusters += (np.stack([1 - in_treatment, in_treatment]) @ grown).reshape(2, 3, _STEPS)

    def _latency_design_effect(self, arm: int, users: int) -> float:
        """By how much users widen the share of calls at or below P95, from the edge whose share is nearest to it.

        The variance of that share as `effects.ratio_of` has it, over that of independent calls, and at least 1. Where
        no edge splits the calls near P95, the most that it can be: each user's calls all alike. 1 below
        `least_requests`, where a quantile has no interval anyway.
        """
        below, squares, products = self._clusters[arm].tolist()
        calls, calls_squared = int(below[-1]), int(squares[-1])
        if users < 2 or calls < least_requests(_QUANTILE):
            return 1.0
        edge = min(range(_STEPS), key=lambda each: abs(below[each] - _QUANTILE * calls))
        share = float(below[edge] / calls)
        if not _SPLIT[0] <= share <= _SPLIT[1]:
            return max(1.0, calls_squared / calls)
        residual = squares[edge] - 2 * share * products[edge] + share**2 * calls_squared
        return float(max(1.0, residual * users / (users - 1) / (calls * share * (1 - share))))

    def _error_design_effect(self, arm: int, users: int, of: ArmCalls) -> float:
        """By how much users widen the share of calls that are errors, the same way: as `effects.ratio_of` has it.

        Under two users, two errors or two calls without one, nothing shows whether errors fall together: then the most
        that it can be where each user's calls are all alike, so that no errors among many calls of few users are no
        proof of a low rate.
        """
        calls, errors = of.calls, of.errors
        calls_squared = self._squares[arm * WIDTH + _CALLS]
        if users < 2 or min(errors, calls - errors) < 2:
            return max(1.0, calls_squared / calls) if calls else 1.0
        squares, products = self._error_squares[arm], self._error_products[arm]
        # calls**2 times the sum of (errors - share * calls)**2 over users, in whole numbers, so that nothing cancels.
        residual = calls**2 * squares - 2 * calls * errors * products + errors**2 * calls_squared
        return float(max(1.0, users * residual / ((users - 1) * calls * errors * (calls - errors))))


def _distinct(numbers: Whole) -> Whole:
    """In ascending order, as `numpy.unique` has them, which is slower on the few of a minute."""
    ascending = np.sort(numbers)
    is_first = np.ones(ascending.size, dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=is_first[1:])
    return ascending[is_first]


class Means(Mapping[Quantity, Moments]):
    """Moments by quantity, made when they are asked for: most of them are not."""

    def __init__(self, sums: Mapping[Quantity, tuple[int, int, int]]) -> None:
        """``sums``: users, the sum of their values in `_SCALE`, the sum of the squares."""
        self._sums = sums
        self._made: dict[Quantity, Moments] = {}

    def __getitem__(self, quantity: Quantity) -> Moments:
        if quantity not in self._made:
            n, total, squares = self._sums[quantity]
            # Whole numbers to the last division, so that nothing cancels.
            self._made[quantity] = (
                Moments(n, (total / (n * _SCALE),), (((n * squares - total * total) / (n * _SCALE**2),),))
                if n
                else Moments.empty(1)
            )
        return self._made[quantity]

    def __iter__(self) -> Iterator[Quantity]:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)
