"""How a mean and its interval are written: for people, and as JSON."""

from ra_guard.stats.one_sample import Mean
from ra_guard.stats.outcome import Insufficient


def as_text(mean: float, found: Mean | Insufficient, *, places: int = 4) -> str:
    """``0.4321 [0.4012, 0.4630]``; without an interval, why."""
    if isinstance(found, Insufficient):
        return f"{mean:.{places}f} (no interval: {found.lack})"
    return f"{mean:.{places}f} [{found.interval.low:.{places}f}, {found.interval.high:.{places}f}]"


def as_plain(mean: float, found: Mean | Insufficient) -> dict[str, object]:
    """``low`` and ``high`` are null where there is no interval, and ``insufficient`` says why."""
    if isinstance(found, Insufficient):
        return {"mean": mean, "low": None, "high": None, "insufficient": str(found.lack)}
    return {"mean": mean, "low": found.interval.low, "high": found.interval.high}
