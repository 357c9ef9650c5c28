"""What an export holds and a comparison of arms does not use, counted, so that nothing disappears in silence."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from ra_guard.logs.exposures import FeedbackCounts


class Left(IntEnum):
    """Counted beside the quantities, by the same rows; numbers that no `tally.Quantity` has."""

    NOT_RELEVANT = 200
    STRANGERS = 201
    LATE = 202
    AMBIGUOUS = 203
    UNTIMED = 204
    UNPLANNED = 205
    UNASSIGNED = 206


@dataclass(frozen=True)
class LeftOut:
    """Of one experiment and epoch, as far as its export goes."""

    feedback: FeedbackCounts
    """Of the experiment, whatever the epoch: every logged event once."""
    late: int
    """Events about calls of this epoch, received after their window."""
    not_relevant: Mapping[int, int]
    """By arm: requests without nDCG because none of their candidates is relevant. Where labels are judgments, of the
    requests that have one."""
    strangers: int
    """Labels of images that were no candidates of their request."""
    ambiguous_calls: int
    """Calls whose request id other users have, too: they count as calls, and nothing is said of what came of them."""
    untimed_calls: int
    """Calls without a time to answer, which lie in the histogram's first bucket."""
    unplanned_calls: int
    """Calls under a plan that is not among the plans: their epoch is unknown."""
    unassigned_calls: int
    """Calls of this epoch in neither arm."""
