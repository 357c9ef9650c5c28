"""What stops or slows the experiment: guardrails, rollback triggers, alerts, and who is called when."""

from typing import Annotated

from pydantic import Field, model_validator

from ra_guard.experiments.definition.measures import Alarm, Evidence, Metric, Requirement
from ra_guard.experiments.definition.table import Minutes, Mistake, Positive, Table, Text
from ra_guard.experiments.definition.vocabulary import Action, Role, Route, Severity, Team


class Guardrail(Requirement):
    """A bound that the whole epoch must keep, and what follows if it does not."""

    severity: Severity
    action: Action


class Trigger(Alarm):
    """Rolls back by itself, in every stage, without asking anyone."""

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
    """Who may order one without any trigger."""
    within_s: Positive
    """By then every replica serves the baseline."""


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
