"""Who decides, who is told, and what they have agreed on before the launch."""

from typing import Annotated

from pydantic import Field

from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.definition.table import Positive, Table, Text
from ra_guard.experiments.definition.vocabulary import (
    Area,
    Cadence,
    Concern,
    GoNoGo,
    Impact,
    Likelihood,
    Proof,
    ReportKind,
    RiskKind,
    Role,
    Route,
    Team,
)


class DecisionMaker(Table):
    """A person whose approval the deployment needs, signed in this role."""

    role: Role
    approves: Concern


class Report(Table):
    """What is sent to whom, and when."""

    every: Cadence
    kind: ReportKind
    to: Annotated[tuple[Team, ...], Field(min_length=1)]
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]


class Dashboard(Table):
    """What is on screen throughout."""

    refresh_s: Positive
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    readers: Annotated[tuple[Team, ...], Field(min_length=1)]


class Risk(Table):
    """What may go wrong, and what is done about it."""

    kind: RiskKind
    risk: Text
    probability: Likelihood
    impact: Impact
    mitigation: Text


class ChecklistLine(Table):
    """One thing that must be so before the launch."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    area: Area
    item: Text
    proof: Proof
    owner: Team | None = None


class LaunchDecision(Table):
    """The go/no-go decision, which the approval of the first stage records."""

    decided_by: Team
    criteria: Annotated[tuple[GoNoGo, ...], Field(min_length=1)]
