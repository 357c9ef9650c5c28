"""How long a call may wait for something before the time that scoring needs. Deadlines are `time.monotonic_ns`."""

import time
from typing import Final

SCORING_RESERVE_NS: Final = 2_000_000
"""Kept back from a caller's deadline: enough to score and answer."""
LONGEST_WAIT_NS: Final = 5_000_000_000
"""For callers without a deadline."""


def budget_ns(deadline_ns: int | None) -> int:
    """What may be spent waiting from now on; zero or less when nothing may."""
    if deadline_ns is None:
        return LONGEST_WAIT_NS
    return deadline_ns - time.monotonic_ns() - SCORING_RESERVE_NS
