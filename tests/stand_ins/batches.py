"""Batches of evidence for tests, from rows that can be read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ra_guard.evidence.latency import bucket_of
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Batch, Calls, Changes, Quantity


class Call(NamedTuple):
    """One call, or, with weight -1, one taken back."""

    minute: int
    arm: int
    user: int
    ms: float = 300.0
    error: bool = False
    weight: int = 1


class Change(NamedTuple):
    """One change of a quantity; ``total`` in billionths."""

    minute: int
    arm: int
    user: int
    quantity: Quantity
    counted: int
    total: int


def batch(calls: Sequence[Call] = (), changes: Sequence[Change] = ()) -> Batch:
    """The columns of these rows."""
    return Batch(
        Calls(
            np.array([each.minute for each in calls], dtype=np.int32),
            np.array([each.arm for each in calls], dtype=np.uint8),
            np.array([each.user for each in calls], dtype=np.uint32),
            np.zeros(len(calls), dtype=np.uint8),
            bucket_of(np.array([each.ms * 1_000 for each in calls], dtype=np.uint32)),
            np.array([each.error for each in calls], dtype=np.bool_),
            np.array([each.weight for each in calls], dtype=np.int8),
        ),
        Changes(
            np.array([each.minute for each in changes], dtype=np.int32),
            np.array([each.arm for each in changes], dtype=np.uint8),
            np.array([each.user for each in changes], dtype=np.uint32),
            np.zeros(len(changes), dtype=np.uint8),
            np.array([each.quantity for each in changes], dtype=np.uint8),
            np.array([each.counted for each in changes], dtype=np.int32),
            np.array([each.total for each in changes], dtype=np.int64),
        ),
    )


SPREAD = {
    Quantity.NDCG: (0.6, 0.3),
    Quantity.CLICK_THROUGH: (0.5, 0.2),
    Quantity.COMPLETION: (0.7, 0.1),
    Quantity.RATING: (3.5, 0.5),
    Quantity.COMPLAINTS: (1.0, 0.5),
    Quantity.DISCOVERY: (4.0, 1.0),
}
"""Mean and half-width of the users' values in a `population`."""


def population(
    users: int,
    minute: int,
    *,
    treatment: dict[Quantity, float] | None = None,
    treatment_ms: float = 0.0,
    control_errors: int = 0,
    treatment_errors: int = 0,
    calls: int = 4,
    spread: float = 1.0,
) -> Batch:
    """Both arms alike, each of so many users with so many calls, all in one minute.

    ``treatment`` and ``treatment_ms`` are added to treatment's users; ``..._errors`` are calls of the arm. Values and
    times are laid out evenly over their spread, so that what is the same in both arms is so to the last bit.
    """
    rows, changes = [], []
    even = np.linspace(-1.0, 1.0, users) * spread
    for arm, errors in ((CONTROL, control_errors), (TREATMENT, treatment_errors)):
        is_treatment = arm == TREATMENT
        for user, place in enumerate(even):
            number = user + (users if is_treatment else 0)
            for call in range(calls):
                ms = 300.0 + 60.0 * place + (treatment_ms if is_treatment else 0.0)
                rows.append(Call(minute, arm, number, ms, error=user * calls + call < errors))
            for quantity, (mean, half_width) in SPREAD.items():
                value = mean + half_width * place + ((treatment or {}).get(quantity, 0.0) if is_treatment else 0.0)
                changes.append(Change(minute, arm, number, quantity, 1, round(value * UNIT)))
    return batch(rows, changes)
