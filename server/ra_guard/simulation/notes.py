"""What the ledger says beside changes: each condition once when it comes and once when it goes, looks, decisions.

And which alerts fired and were told: the board that tells people of real ones decides of these.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import datetime

from ra_guard.alerts.board import Board, State
from ra_guard.alerts.message import Kind, Links
from ra_guard.evidence.contrast import Exposure
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.safety import Alert
from ra_guard.experiments.model import MAX_WHY_BYTES, Experiment
from ra_guard.experiments.monitor.outcomes import Assessment, Decision, Hold, Look, Tick
from ra_guard.experiments.monitor.rollout import is_overdue
from ra_guard.simulation.ledger import Ledger
from ra_guard.stats.outcome import Insufficient
from ra_guard.stats.srm import SampleRatio


@dataclass(frozen=True)
class AlertCount:
    """How often an alert of the definition began to fire, and how often people were told of it."""

    alert: Alert
    fired: int
    told: int
    """At most once in a while of firing: one that fires again before it has recovered is not told again."""
    first_minute: int
    """Since the launch."""


class Alerts:
    """Counts alerts. The ledger does not hold them: people are told, and the experiment does not change."""

    def __init__(self, definition: Definition) -> None:
        self._board = Board(definition, Links())
        self._state = State()
        self._firing: frozenset[Alert] = frozenset()
        self._counts: dict[Alert, AlertCount] = {}

    def hear(self, tick: Tick, minute: int, at: datetime) -> None:
        """Take note of the alerts of a minute from the launch."""
        firing = frozenset(each.alarm for each in tick.alerts if each.is_firing and isinstance(each.alarm, Alert))
        for alert in firing - self._firing:
            before = self._counts.get(alert, AlertCount(alert, 0, 0, minute))
            self._counts[alert] = replace(before, fired=before.fired + 1)
        self._firing = firing
        self._state, messages = self._board.advance(self._state, tick, at)
        told = {message.alert for message in messages if message.kind is Kind.FIRED}
        for standing in self._state.standing:
            if standing.id in told:
                before = self._counts[standing.alert]
                self._counts[standing.alert] = replace(before, told=before.told + 1)

    @property
    def counts(self) -> tuple[AlertCount, ...]:
        """Of those that fired, by when they did first."""
        return tuple(sorted(self._counts.values(), key=lambda count: (count.first_minute, str(count.alert))))


class Notes:
    """Remembers what was said last, so that a condition which lasts is one line."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._said: dict[Hashable, object] = {}

    def replicas(self, experiment: Experiment, at: datetime, *, heard: int, of: int) -> None:
        """Replicas that the control plane no longer hears, or hears again."""
        if not self._is_news("replicas", heard, usual=of):
            return
        self._ledger.note(
            experiment,
            at,
            f"{heard} of {of} replicas heard",
            "all are back"
            if heard == of
            else "the others' leases end: they serve the baseline (LEASE_EXPIRED), and their log is late",
            {"replicas": float(of), "replicas_heard": float(heard)},
        )

    def evidence(self, experiment: Experiment, at: datetime, missing: int) -> None:
        """Evidence after minutes without any."""
        numbers = {"minutes_without_evidence": float(missing)}
        self._ledger.note(experiment, at, "evidence is back", f"after {missing} minutes without any", numbers)

    def sample_ratio(self, experiment: Experiment, at: datetime, assessment: Assessment, exposure: Exposure) -> None:
        """A sample-ratio mismatch that is found or has gone."""
        ratio = assessment.sample_ratio
        mismatch = isinstance(ratio, SampleRatio) and ratio.mismatch
        if not isinstance(ratio, SampleRatio) or not self._is_news("sample ratio", mismatch, usual=False):
            return
        numbers = {
            "p_value": ratio.p_value,
            "control_users": float(exposure.control_users),
            "treatment_users": float(exposure.treatment_users),
            "control_lost": float(exposure.control_lost),
            "treatment_lost": float(exposure.treatment_lost),
        }
        why = f"{exposure.control_users:,} and {exposure.treatment_users:,} users; "
        why += f"{exposure.control_lost:,} and {exposure.treatment_lost:,} records lost before the log"
        what = "sample-ratio mismatch" if mismatch else "sample ratio as drawn again"
        self._ledger.note(experiment, at, what, why, numbers)

    def hold(self, experiment: Experiment, at: datetime, hold: Hold) -> None:
        """The ramp stays although its plan says that it goes on."""
        reasons = frozenset(reason.partition(":")[0] for reason in hold.reasons)
        waiting = reasons if is_overdue(hold) else frozenset()
        if self._is_news("hold", waiting, usual=frozenset()) and waiting:
            self._ledger.note(experiment, at, "the ramp holds", _short("; ".join(hold.reasons)))

    def look(self, experiment: Experiment, at: datetime, look: Look, decision: Decision) -> None:
        """A planned look, and what would be decided on it."""
        numbers = {
            "day": float(look.day),
            "control_users": float(look.control_users),
            "treatment_users": float(look.treatment_users),
            "estimate_points": look.estimate,
            "standard_error_points": look.standard_error,
            "information": look.information,
        }
        if decision.boundary_z is not None:
            numbers["boundary_z"] = decision.boundary_z
        last = ", the last one" if look.is_last else ""
        what = f"look of day {look.day}{last}: {decision.outcome}"
        self._ledger.note(experiment, at, what, _short(decision.why), numbers)

    def no_look(self, experiment: Experiment, at: datetime, day: int, lack: Insufficient) -> None:
        """A look that is due and sees nothing: asked again every hour, said once."""
        if self._is_news(("look", day), lack.lack, usual=None):
            why = f"{lack.lack}: {lack.found}, wanted {lack.wanted}"
            self._ledger.note(experiment, at, f"look of day {day}: no data", why)

    def decision(self, experiment: Experiment, at: datetime, decision: Decision) -> None:
        """What the experiment came to."""
        what = f"decision: {decision.outcome}"
        if experiment.rolled_back:
            what = f"epoch {experiment.epoch} ended by a rollback; the looks before it say {decision.outcome}"
        self._ledger.note(experiment, at, what, _short(decision.why))

    def _is_news(self, subject: Hashable, state: object, *, usual: object) -> bool:
        news = self._said.get(subject, usual) != state
        self._said[subject] = state
        return news


def _short(text: str) -> str:
    return text.encode()[:MAX_WHY_BYTES].decode(errors="ignore")
