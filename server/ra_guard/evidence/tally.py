"""Tallies: the sufficient statistics of one arm, user, quantity and minute. They add, in any order and exactly.

A row is a change, not a state: a click that arrives an hour late is a row of the minute of its *call* with count 0
and total +1, a judgment that changes an nDCG is a row with the difference. Whatever has been added up to now is what a
full recomputation would find. Totals are integers in billionths, so that no order of addition changes a bit.

A batch is columns, not objects: simulations add millions of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

UNIT: Final = 1_000_000_000
"""What 1.0 is in a total."""

CONTROL: Final = 1
TREATMENT: Final = 2
"""As `ra_guard.v1.Arm`."""


class Quantity(IntEnum):
    """What is added up for a user. The value of a user is total / count, unless it is `PER_USER`."""

    NDCG = 0
    """count: requests with something relevant among their candidates; total: their nDCG@10 of 0..1."""
    NDCG_CORRECTED = 1
    """As NDCG, by clicks weighted against position bias; only where labels are clicks."""
    CLICK_THROUGH = 2
    """count: requests; total: those with a click."""
    COMPLETION = 3
    """count: requests; total: those after which the user did not ask again within five minutes, or clicked before."""
    RATING = 4
    """count: ratings; total: stars."""
    COMPLAINTS = 5
    """total: complaints."""
    DISCOVERY = 6
    """total: images that the user clicked for the first time in this epoch."""


PER_USER: Final = frozenset({Quantity.COMPLAINTS, Quantity.DISCOVERY})
"""Whose value is the total itself, 0 for an enrolled user without any."""


@dataclass(frozen=True)
class Calls:
    """Logged calls, one row each; all columns have the same length."""

    minute: npt.NDArray[np.int32]
    """Since the Unix epoch, of the answer."""
    arm: npt.NDArray[np.uint8]
    """Assigned: CONTROL or TREATMENT."""
    user: npt.NDArray[np.uint32]
    """Dense: users are numbered from 0 in the order in which they are first seen."""
    domain: npt.NDArray[np.uint8]
    """Dense, as ``user``; the batch's maker knows the names."""
    bucket: npt.NDArray[np.uint16]
    """`latency.bucket_of` the time to answer."""
    error: npt.NDArray[np.bool_]
    """Answered with the baseline because of a deadline, overload or an internal cause."""
    weight: npt.NDArray[np.int8]
    """1; -1 takes a row back, for a call that was asked again: its last answer counts."""


@dataclass(frozen=True)
class Changes:
    """Changes of quantities, one row each; all columns have the same length."""

    minute: npt.NDArray[np.int32]
    """Of the call that the change is about."""
    arm: npt.NDArray[np.uint8]
    user: npt.NDArray[np.uint32]
    domain: npt.NDArray[np.uint8]
    quantity: npt.NDArray[np.uint8]
    count: npt.NDArray[np.int32]
    total: npt.NDArray[np.int64]
    """In billionths."""


@dataclass(frozen=True)
class Batch:
    """What became known at one time."""

    calls: Calls
    changes: Changes


def split(batch: Batch, minute: int) -> tuple[Batch, Batch]:
    """The rows up to the end of a minute, and those after it."""
    calls, changes = batch.calls.minute <= minute, batch.changes.minute <= minute
    return _rows(batch, calls, changes), _rows(batch, ~calls, ~changes)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of all rows, in order. ``batches`` must not be empty."""
    return Batch(
        Calls(**_columns([batch.calls for batch in batches])),
        Changes(**_columns([batch.changes for batch in batches])),
    )


def nothing() -> Batch:
    """A batch without rows."""
    return Batch(
        Calls(
            minute=np.empty(0, np.int32),
            arm=np.empty(0, np.uint8),
            user=np.empty(0, np.uint32),
            domain=np.empty(0, np.uint8),
            bucket=np.empty(0, np.uint16),
            error=np.empty(0, np.bool_),
            weight=np.empty(0, np.int8),
        ),
        Changes(
            minute=np.empty(0, np.int32),
            arm=np.empty(0, np.uint8),
            user=np.empty(0, np.uint32),
            domain=np.empty(0, np.uint8),
            quantity=np.empty(0, np.uint8),
            count=np.empty(0, np.int32),
            total=np.empty(0, np.int64),
        ),
    )


def of_domain(batch: Batch, domain: int) -> Batch:
    """The rows of one gallery domain."""
    return _rows(batch, batch.calls.domain == domain, batch.changes.domain == domain)


def _rows(batch: Batch, calls: npt.NDArray[np.bool_], changes: npt.NDArray[np.bool_]) -> Batch:
    return Batch(
        Calls(**{each.name: getattr(batch.calls, each.name)[calls] for each in fields(Calls)}),
        Changes(**{each.name: getattr(batch.changes, each.name)[changes] for each in fields(Changes)}),
    )


def _columns(tables: Sequence[Calls] | Sequence[Changes]) -> dict[str, Any]:
    return {each.name: np.concatenate([getattr(table, each.name) for table in tables]) for each in fields(tables[0])}
