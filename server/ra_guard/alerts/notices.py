"""What is told once, as it happens: rolled back, ramped, due, ready, or blind. Pure, like the board.

Whoever calls these calls them at the change, not every minute: nothing here remembers what was told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from ra_guard.alerts.message import Fact, Kind, Links, Message
from ra_guard.alerts.wording import BREACHES, clock, found, lasted
from ra_guard.experiments.allocation import percent
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.people import Report
from ra_guard.experiments.definition.safety import Guardrail
from ra_guard.experiments.definition.vocabulary import Cadence, ReportKind, Route, Severity, Team
from ra_guard.experiments.definition.words import in_words, span, spoken
from ra_guard.experiments.model import ROLLED_BACK
from ra_guard.experiments.monitor.outcomes import Advance, Look, Reading, RollBack


@dataclass(frozen=True)
class Notices:
    """Single messages, addressed by the definition."""

    definition: Definition
    links: Links

    def rolled_back(self, due: RollBack, ramp_bp: int, at: datetime) -> Message:
        """The epoch was closed, at this ramp: always critical, by every route of the critical alerts."""
        shared = [Fact("Shared cause", "control crosses the bound as well")] if due.has_shared_cause else []
        return self._trouble(
            Kind.ROLLED_BACK,
            Severity.CRITICAL,
            at,
            title="rolled back",
            summary=f"{self.definition.key} was rolled back at {percent(ramp_bp)}: {due.why}",
            facts=(
                *_numbers(due.numbers),
                *shared,
                Fact("At", clock(at)),
                self._then_baseline(),
            ),
        )

    def ended(self, line: Entry) -> Message:
        """The epoch was killed or rolled back, whoever did it: as critical, in the ledger's words."""
        is_rollback = line.what.startswith(ROLLED_BACK)
        return self._trouble(
            Kind.ROLLED_BACK if is_rollback else Kind.KILLED,
            Severity.CRITICAL,
            line.at,
            title="rolled back" if is_rollback else "killed",
            summary=f"{self.definition.key}: {line.what}, by {line.who}: {line.why}",
            facts=(Fact("At", clock(line.at)), self._then_baseline()),
        )

    def guardrail_failed(self, guardrail: Guardrail, reading: Reading, at: datetime) -> Message:
        """A guardrail is not kept, and a person is to look into it."""
        return self._trouble(
            Kind.GUARDRAIL_FAILED,
            guardrail.severity,
            at,
            title=f"guardrail failed: {in_words(guardrail)}",
            summary=f"{in_words(guardrail)} is not kept: found {found(guardrail, reading)}.",
            facts=(
                Fact("At", clock(at)),
                Fact("What happens next", f"it {BREACHES[guardrail.action]} until it is kept; a person looks into it"),
            ),
        )

    def ramp_waits(self, reasons: Sequence[str], ramp_bp: int, at: datetime) -> Message:
        """The stage's hours are over, and the ramp does not go on."""
        return self._news(
            Kind.RAMP_WAITS,
            self._continuous(),
            at,
            title=f"ramp waits at {percent(ramp_bp)}",
            summary=f"The hours at {percent(ramp_bp)} are over, and the ramp does not go on.",
            facts=(
                *(Fact("Why", reason) for reason in reasons),
                Fact("At", clock(at)),
                Fact("What happens next", "it is asked again every minute, and goes on by itself once all of it holds"),
            ),
        )

    def evidence_missing(self, since: datetime, ramp_bp: int, at: datetime) -> Message:
        """Users are treated and no evidence of them arrives."""
        limit = timedelta(minutes=self.definition.rollback.without_evidence_minutes)
        return self._trouble(
            Kind.EVIDENCE_MISSING,
            Severity.HIGH,
            at,
            title="no evidence",
            summary=f"No evidence has arrived for {lasted(at - since)}, with {percent(ramp_bp)} of users treated.",
            facts=(
                Fact("Since", clock(since)),
                Fact(
                    "What happens next",
                    f"the experiment rolls back by itself at {clock(since + limit)}, after {lasted(limit)} without any",
                ),
            ),
        )

    def evidence_unreadable(self, why: str, at: datetime) -> Message:
        """The watch found evidence and could not read it; ``why`` says found, wanted and the cure."""
        limit = span(self.definition.rollback.without_evidence_minutes)
        return self._trouble(
            Kind.EVIDENCE_UNREADABLE,
            Severity.HIGH,
            at,
            title="evidence cannot be read",
            summary="The watch could not read its evidence: nothing is judged until it can.",
            facts=(
                Fact("Why", why),
                Fact("At", clock(at)),
                Fact("What happens next", f"it tries again every minute; after {limit} without any, it rolls back"),
            ),
        )

    def ramp_advanced(self, move: Advance, from_bp: int, at: datetime) -> Message:
        """The ramp went on by itself."""
        stage = self.definition.stage(move.ramp_bp)
        held = f"held for {stage.hold_hours} h at least" if stage and stage.hold_hours else "held until the end"
        return self._news(
            Kind.RAMP_ADVANCED,
            self._continuous(),
            at,
            title=f"ramp at {percent(move.ramp_bp)}",
            summary=f"The ramp went from {percent(from_bp)} to {percent(move.ramp_bp)} of users in each arm.",
            facts=(Fact("Why", move.why), *_numbers(move.numbers), Fact("What happens next", held)),
        )

    def decision_due(self, look: Look, at: datetime) -> Message:
        """The day of a planned look has come, and it was taken; the last one where the planned users had come."""
        day, end = look.day, look.is_last
        kind = ReportKind.RESULTS if end else ReportKind.INTERIM_REVIEW
        days = self.definition.analysis.decision_days
        next_words = (
            f"nothing by itself: a person decides within {days} days" if end else "the experiment goes on by itself"
        )
        return self._news(
            Kind.DECISION_DUE,
            self._reports(kind),
            at,
            title=f"day {day}: {'decision' if end else 'interim review'} due",
            summary=f"Day {day} since the launch: the {'decision' if end else 'interim review'} is due.",
            facts=(Fact("At", clock(at)), Fact("What happens next", next_words)),
        )

    def report_ready(self, kind: ReportKind, summary: str, files: Sequence[Path], at: datetime) -> Message:
        """A report was written; ``summary`` is its first sentence, ``files`` go along where a receiver takes files."""
        return self._news(
            Kind.REPORT_READY,
            self._reports(kind),
            at,
            title=f"{spoken(kind)} report",
            summary=summary,
            facts=(Fact("Written", clock(at)), Fact("Files", ", ".join(path.name for path in files) or "none")),
            attachments=tuple(files),
        )

    def _then_baseline(self) -> Fact:
        return Fact(
            "What happens next",
            f"every replica serves the baseline within {self.definition.rollback.within_s} s; a new epoch begins only "
            "when a person starts one",
        )

    def _reports(self, kind: ReportKind) -> list[Report]:
        return [report for report in self.definition.reports if report.kind is kind]

    def _continuous(self) -> list[Report]:
        return [report for report in self.definition.reports if report.every is Cadence.CONTINUOUS]

    def _trouble(
        self, kind: Kind, severity: Severity, at: datetime, *, title: str, summary: str, facts: tuple[Fact, ...]
    ) -> Message:
        """To the first level of the escalation path, by the routes of the alerts that are as severe."""
        severe = [alert for alert in self.definition.alerts if alert.severity is severity]
        routes = _each_once([alert.routes for alert in severe])
        to = tuple(step.to for step in self.definition.escalation[:1])
        return Message(
            kind=kind,
            at=at,
            title=f"[{severity.upper()}] {self.definition.key}: {title}",
            summary=summary,
            facts=(*facts, _addressees(to, routes)),
            severity=severity,
            routes=routes,
            to=to,
            level=len(to),
            links=self.links,
        )

    def _news(
        self,
        kind: Kind,
        reports: Sequence[Report],
        at: datetime,
        *,
        title: str,
        summary: str,
        facts: tuple[Fact, ...],
        attachments: tuple[Path, ...] = (),
    ) -> Message:
        """To the readers of some reports, by their routes."""
        routes = _each_once([report.routes for report in reports])
        to = tuple(dict.fromkeys(team for report in reports for team in report.to))
        return Message(
            kind=kind,
            at=at,
            title=f"{self.definition.key}: {title}",
            summary=summary,
            facts=(*facts, _addressees(to, routes)),
            severity=None,
            routes=routes,
            to=to,
            links=self.links,
            attachments=attachments,
        )


def unwatched(key: str, links: Links, since: datetime, why: str, at: datetime) -> Message:
    """The control plane shows the watch nothing for a while. By every route: who is to be told is not known."""
    return Message(
        kind=Kind.UNWATCHED,
        at=at,
        title=f"[{Severity.CRITICAL.upper()}] {key}: nobody watches",
        summary=f"The control plane has shown the watch nothing for {lasted(at - since)}: nothing is judged meanwhile.",
        facts=(
            Fact("Why", why),
            Fact("Since", clock(since)),
            Fact(
                "What happens next",
                "the watch asks again every minute; replicas that do not reach the control plane either serve the "
                "baseline once their lease has run out",
            ),
        ),
        severity=Severity.CRITICAL,
        routes=tuple(Route),
        links=links,
    )


def trial(at: datetime) -> Message:
    """Marked as a test, by every route, so that nobody gets up for it."""
    return Message(
        kind=Kind.TEST,
        at=at,
        title="[TEST] RA-Guard",
        summary="This is a test of the way to you. Nothing has happened, and nothing is to be done.",
        facts=(Fact("Sent", clock(at)), Fact("By", "ra-guard alerts test")),
        severity=None,
        routes=tuple(Route),
    )


def _numbers(numbers: Mapping[str, float]) -> tuple[Fact, ...]:
    return tuple(Fact(spoken(name), f"{value:.6g}") for name, value in numbers.items())


def _addressees(to: Sequence[Team], routes: Sequence[Route]) -> Fact:
    return Fact("Goes to", f"{', '.join(map(spoken, to)) or 'nobody'}, by {' and '.join(routes)}")


def _each_once(routes: Sequence[tuple[Route, ...]]) -> tuple[Route, ...]:
    """The routes of several alerts or reports; where there are none, every route: better told twice than to nobody."""
    return tuple(dict.fromkeys(chain.from_iterable(routes))) or tuple(Route)
