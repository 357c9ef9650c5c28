"""Which report has which sections, and what it opens with."""

from collections.abc import Callable, Mapping
from typing import Final

from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.reports import measured, pictures, record, safety, standing
from ra_guard.reports.content import Content
from ra_guard.reports.document import Document, Lines, Mark, Paragraph, Section, Tone
from ra_guard.reports.words import OUTCOMES, moment

_TITLES: Final[Mapping[ReportKind, str]] = {
    ReportKind.ANOMALIES: "Anomalies",
    ReportKind.SUMMARY: "Daily summary",
    ReportKind.DEEP_DIVE: "Weekly deep dive",
    ReportKind.BRIEFING: "Executive briefing",
    ReportKind.INTERIM_REVIEW: "Interim review",
    ReportKind.RESULTS: "Results",
}


def document(content: Content, kind: ReportKind) -> Document:
    """The report of this kind."""
    lead, headline = opening(content, kind)
    return Document(
        title=f"{_TITLES[kind]}: {content.definition.key}",
        lead=lead,
        headline=headline,
        facts=_facts(content),
        sections=_SECTIONS[kind](content),
    )


def opening(content: Content, kind: ReportKind) -> tuple[Mark, str]:
    """Where it is about a decision that is still open, the decision comes first; else the state."""
    if kind in {ReportKind.RESULTS, ReportKind.INTERIM_REVIEW} and not standing.is_closed(content):
        return OUTCOMES[content.decision.outcome], f"{content.decision.why.rstrip('.')}."
    if kind is ReportKind.ANOMALIES:
        firing = len(safety.firing(content))
        word = Mark("Firing.", Tone.BAD) if firing else Mark("Quiet.", Tone.GOOD)
        return word, f"{firing} of {_watched_count(content)} triggers and alerts fire."
    return standing.state(content), standing.in_a_sentence(content)


def _watched_count(content: Content) -> int:
    return len(content.assessment.tick.triggers) + len(content.assessment.tick.alerts)


def _facts(content: Content) -> tuple[tuple[str, str], ...]:
    launched = "not yet" if content.launched_at is None else moment(content.launched_at)
    return (
        ("Experiment", content.definition.description),
        ("Epoch, revision", f"{content.epoch}, {content.revision}"),
        ("Launched", launched),
        ("As of", moment(content.as_of)),
        ("Source", content.source),
    )


def _anomalies(content: Content) -> tuple[Section, ...]:
    lines = safety.firing(content)
    return (Section("What fires", (Lines(lines) if lines else Paragraph("No trigger and no alert fires."),)),)


def _summary(content: Content) -> tuple[Section, ...]:
    return (
        _glance(content),
        _primary(content),
        _guardrails(content),
        _watched(content),
        _sample(content),
        Section("Traffic", (pictures.ramp(content), pictures.latency(content), pictures.errors(content))),
        Section("What was done", (record.latest_of_ledger(content),)),
        *_ending(content),
    )


def _deep_dive(content: Content) -> tuple[Section, ...]:
    return (
        _glance(content),
        _primary(content),
        _by_part(content),
        Section("Day by day", (measured.days(content),)),
        _indicated(content),
        _guardrails(content),
        _watched(content),
        _sample(content),
        Section("Traffic", (pictures.ramp(content), pictures.latency(content), pictures.errors(content))),
        Section("What was done", (record.ledger(content),)),
        *_ending(content),
    )


def _briefing(content: Content) -> tuple[Section, ...]:
    """One page on paper: one picture, and no tables but the guardrails."""
    return (
        Section("At a glance", (*standing.answers(content), pictures.effect(content))),
        Section("Guardrails", (safety.guardrails_in_short(content),)),
    )


def _interim_review(content: Content) -> tuple[Section, ...]:
    return (
        _glance(content),
        _primary(content),
        Section("What the decision rests on", (measured.findings(content),)),
        _guardrails(content),
        _watched(content),
        _sample(content),
        _by_domain(content),
        _behind(content),
        Section("What was done", (record.latest_of_ledger(content),)),
        *_ending(content),
    )


def _results(content: Content) -> tuple[Section, ...]:
    return (
        Section("Why", (measured.findings(content),)),
        _glance(content),
        _primary(content),
        _guardrails(content),
        _indicated(content),
        _watched(content),
        _sample(content),
        _by_part(content),
        Section("Day by day", (measured.days(content),)),
        Section("Traffic", (pictures.ramp(content), pictures.latency(content), pictures.errors(content))),
        _behind(content),
        Section("What was done", (record.ledger(content),)),
        *_ending(content),
    )


_SECTIONS: Final[Mapping[ReportKind, Callable[[Content], tuple[Section, ...]]]] = {
    ReportKind.ANOMALIES: _anomalies,
    ReportKind.SUMMARY: _summary,
    ReportKind.DEEP_DIVE: _deep_dive,
    ReportKind.BRIEFING: _briefing,
    ReportKind.INTERIM_REVIEW: _interim_review,
    ReportKind.RESULTS: _results,
}


def _glance(content: Content) -> Section:
    return Section("At a glance", standing.answers(content))


def _primary(content: Content) -> Section:
    return Section(
        "Primary metric: nDCG@10", (measured.primary(content), pictures.effect(content), measured.looks(content))
    )


def _guardrails(content: Content) -> Section:
    return Section("Guardrails", (safety.guardrails(content),))


def _watched(content: Content) -> Section:
    return Section(
        "Gates, triggers and alerts", (safety.gates(content), safety.triggers(content), safety.alerts(content))
    )


def _indicated(content: Content) -> Section:
    return Section("Indicators", (measured.indicated(content),))


def _sample(content: Content) -> Section:
    return Section("Sample", (record.sample(content), pictures.sample_ratio(content), pictures.power(content)))


def _by_domain(content: Content) -> Section:
    return Section("By domain", (pictures.domains(content), measured.domains(content)))


def _by_part(content: Content) -> Section:
    return Section(
        "By domain and query", (pictures.domains(content), measured.domains(content), measured.queries(content))
    )


def _behind(content: Content) -> Section:
    return Section("Every number of the decision", (measured.behind(content),))


def _ending(content: Content) -> tuple[Section, ...]:
    return (
        Section("How it was measured", (record.method(content),)),
        Section("What cannot be told", (record.limits(content),)),
        Section("Words", (record.glossary(),)),
    )
