"""How long a call may wait for something before the time that scoring needs. Deadlines are `time.monotonic_ns`."""

import time
from typing import Final

SCORING_RESERVE_NS: Final = 2_000_000
"""Kept back from a caller's deadline at least: enough to score and answer."""
LATENESS_SHARE: Final = 16
"""One part in so many is kept back where that is more: timers run late, and an answer after the deadline is none."""
LONGEST_RESERVE_NS: Final = 20_000_000
LONGEST_WAIT_NS: Final = 5_000_000_000
"""For callers without a deadline."""


def budget_ns(deadline_ns: int | None) -> int:
    """What may be spent waiting from now on; zero or less when nothing may."""
    if deadline_ns is None:
        return LONGEST_WAIT_NS
    left_ns = deadline_ns - time.monotonic_ns()
    return left_ns - min(max(SCORING_RESERVE_NS, left_ns // LATENESS_SHARE), LONGEST_RESERVE_NS)
