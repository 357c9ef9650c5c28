"""A content as a report that people read."""

from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.reports import markdown as md
from ra_guard.reports.content import Content
from ra_guard.reports.kinds import document
from ra_guard.reports.page import page


def html(content: Content, kind: ReportKind) -> str:
    """One HTML file that needs nothing beside it. The same content gives the same bytes."""
    return page(document(content, kind))


def markdown(content: Content, kind: ReportKind) -> str:
    """The same words and tables as Markdown."""
    return md.text(document(content, kind))
