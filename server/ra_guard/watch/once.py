"""What people are told once in an epoch, beside alerts: its end, a guardrail that fails, a ramp that waits.

Each has a name; whoever remembers the names that were told (`alerts.board.State.told`) tells nothing twice, however
often a guardrail fails and recovers: reports say where it stands.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from ra_guard.alerts.message import Message
from ra_guard.alerts.notices import Notices
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition.safety import Guardrail
from ra_guard.experiments.definition.words import in_words
from ra_guard.experiments.monitor import rollout
from ra_guard.experiments.monitor.outcomes import Assessment, Hold, Move, Verdict
from ra_guard.watch.seen import Seen

NEWS: Final = timedelta(days=7)
"""An end that is older is no news, though nobody was told: people have lived with it."""

Told = tuple[str, Message]
"""A name and what is told under it."""


def of_ledger(seen: Seen, notices: Notices, now: datetime) -> Iterator[Told]:
    """Kills and rollbacks, whoever ordered them."""
    return ((end_of(entry), notices.ended(entry)) for entry in seen.ends if now - entry.at < NEWS)


def end_of(entry: Entry) -> str:
    """The name of an end."""
    return f"ended by revision {entry.revision}"


def of_assessment(seen: Seen, assessment: Assessment, move: Move, notices: Notices, now: datetime) -> Iterator[Told]:
    """Guardrails that fail and roll nothing back, and a ramp whose time has come and that does not go on."""
    if not rollout.is_treating(seen.experiment):
        return
    for judged in assessment.guardrails:
        guardrail = judged.requirement
        if judged.verdict is Verdict.FAIL and isinstance(guardrail, Guardrail) and not guardrail.rolls_back:
            yield in_words(guardrail), notices.guardrail_failed(guardrail, judged.reading, now)
    if isinstance(move, Hold) and rollout.is_overdue(move):
        ramp_bp = seen.experiment.ramp_bp
        yield f"ramp waits at {ramp_bp}", notices.ramp_waits(move.reasons, ramp_bp, now)
