"""What stops or slows the experiment: guardrails, rollback triggers, alerts, and who is called when."""

from typing import Annotated

from pydantic import Field, Strict, model_validator

from ra_guard.experiments.definition.measures import Alarm, Evidence, Metric, Requirement
from ra_guard.experiments.definition.table import Minutes, Mistake, Number, Positive, Table, Text
from ra_guard.experiments.definition.vocabulary import Action, Role, Route, Severity, Team

Percent = Annotated[float, Strict(), Field(ge=0, le=100)]


class Guardrail(Requirement):
    """A bound that the whole epoch must keep, and what follows if it does not."""

    severity: Severity
    action: Action

    @property
    def rolls_back(self) -> bool:
        """Whether its breach ends the epoch at once."""
        return self.action is Action.ROLL_BACK


class Measured(Table):
    """How a trigger behaved in simulated experiments, as `ra-guard simulate --measure-triggers` found it."""

    command: Text
    """That measures it again."""
    healthy_runs: Positive
    false_rollback_percent: Percent
    """Of the healthy runs that this trigger ended."""
    false_rollback_percent_upper: Percent
    """Upper limit of the share, at 95 % confidence."""
    fault: Text
    """That was injected into the faulty runs, in words."""
    faulty_runs: Positive
    detected_percent: Percent
    """Of the faulty runs, before their end."""
    detection_minutes_median: Number | None = None
    """From the fault to the rollback; absent when fewer than half of the runs were ended."""


class Trigger(Alarm):
    """Rolls back by itself, in every stage, without asking anyone."""

    measured: Measured | None = None
    """Absent: nobody has measured it. Any change of the trigger makes what was measured void."""

    @model_validator(mode="after")
    def _no_rollback_by_chance(self) -> "Trigger":
        if self.metric is Metric.NDCG_AT_10 and self.evidence is not Evidence.PROVEN:
            raise Mistake(
                found=f"a trigger on {self.metric} with evidence = '{self.evidence}'",
                wanted="evidence = 'proven'",
                cure="without any effect, an observed mean of two hours lies below -1 point in about 4 of 10 windows",
            )
        return self


class Rollback(Table):
    """How a rollback happens."""

    manual_by: Annotated[tuple[Role, ...], Field(min_length=1)]
    """Whom the package names for one without any trigger. The control plane asks for an operator's token alone."""
    within_s: Positive
    """By then every replica serves the baseline."""
    without_evidence_minutes: Positive
    """With users treated and no evidence for so long, the control plane rolls back: nobody would see a harm."""


class Alert(Alarm):
    """Tells people. A recovery is told too; the same alert is not repeated while it lasts."""

    severity: Severity
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]
    escalates_to_level: Positive
    """The highest level of the escalation path that it climbs to while nobody acknowledges it."""


class EscalationLevel(Table):
    """One step of the escalation path."""

    level: Positive
    to: Team
    response: Text
    after_minutes: Minutes
    """Without an acknowledgement, counted from the alert."""
