"""A message to people: who is told, what was found, what happens next by itself; as plain text and as Markdown.

Markdown goes to the receivers, plain text to logs and terminals; both say the same. Whatever people wrote (a
reason, a name) is escaped, so that it can neither forge a link nor notify a channel.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from ra_guard.experiments.definition.vocabulary import Route, Severity, Team

Reader = Team | None
"""Who is told: a team, or whoever reads the general addresses."""


class Kind(StrEnum):
    """What a message is about."""

    FIRED = "fired"
    ESCALATED = "escalated"
    RECOVERED = "recovered"
    WITHDRAWN = "withdrawn"
    """The alert did not recover: it is no longer asked about."""
    ROLLED_BACK = "rolled_back"
    KILLED = "killed"
    GUARDRAIL_FAILED = "guardrail_failed"
    RAMP_ADVANCED = "ramp_advanced"
    RAMP_WAITS = "ramp_waits"
    DECISION_DUE = "decision_due"
    REPORT_READY = "report_ready"
    EVIDENCE_MISSING = "evidence_missing"
    EVIDENCE_UNREADABLE = "evidence_unreadable"
    UNWATCHED = "unwatched"
    TEST = "test"


@dataclass(frozen=True)
class Links:
    """Where a person looks next; empty where there is no such page."""

    dashboard: str = ""
    report: str = ""
    runbook: str = ""


@dataclass(frozen=True)
class Fact:
    """One line of a message."""

    label: str
    value: str


@dataclass(frozen=True)
class Message:
    """One message, complete: nothing is looked up when it is sent."""

    kind: Kind
    at: datetime
    title: str
    summary: str
    """One sentence."""
    facts: tuple[Fact, ...]
    severity: Severity | None
    """None: news, no trouble."""
    routes: tuple[Route, ...]
    to: tuple[Team, ...] = ()
    """Empty: whoever reads the general addresses."""
    was_told_to_no_team: bool = False
    """What it ends was first told to whoever reads the general addresses, so they are told with the teams."""
    level: int = 0
    """Of the escalation path; 0 where nobody is called."""
    alert: str = ""
    """The alert's id, by which it is acknowledged."""
    links: Links = Links()
    attachments: tuple[Path, ...] = ()

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Whom it is for."""
        return (*self.to, None) if self.was_told_to_no_team or not self.to else self.to

    @property
    def plain(self) -> str:
        """The body as text."""
        facts = [f"{fact.label}: {fact.value}" for fact in self.facts]
        links = [f"{label}: {address}" for label, address in self._links()]
        return "\n".join([self.summary, "", *facts, *links])

    @property
    def markdown(self) -> str:
        """The body as CommonMark."""
        facts = [f"- **{_escaped(fact.label)}:** {_escaped(fact.value)}" for fact in self.facts]
        links = [f"- **{label}:** <{address}>" for label, address in self._links()]
        return "\n".join([f"**{_escaped(self.summary)}**", "", *facts, *links])

    def _links(self) -> list[tuple[str, str]]:
        pages = (
            ("Dashboard", self.links.dashboard),
            ("Report", self.links.report),
            ("Runbook", self.links.runbook),
        )
        return [(label, address) for label, address in pages if address]


def _escaped(text: str) -> str:
    """Text that reads the same once Markdown is rendered; line breaks would begin a block of their own.

    An underscore within a word is none of Markdown's, and Slack would show the backslash before it.
    """
    return re.sub(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
