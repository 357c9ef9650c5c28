"""A report as Markdown: the same words and tables as the HTML file, without its pictures.

Markdown is read in mail, in chats and as a diff, where a picture beside it does not arrive; what the pictures show
stands in the tables, day by day.
"""

import re
from collections.abc import Iterator
from html import escape
from typing import Final

from ra_guard.reports.document import (
    Answer,
    Block,
    Cell,
    Document,
    Figure,
    Lines,
    Mark,
    Missing,
    Noted,
    Paragraph,
    Section,
    Table,
)

_ANYWHERE: Final = re.compile(r"([\\`*_\[\]|~$])")
"""What Markdown acts on wherever it stands; HTML in it is ``escape``'s part."""
_IN_FRONT: Final = re.compile(r"^(\d*)([#+=.)-])(?=[\s#=-]|$)")
"""What makes a heading or a list of a line that it begins."""


def text(document: Document) -> str:
    """The whole file."""
    return "\n".join(_lines(document)).rstrip() + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield f"# {_plain(document.title)}"
    yield ""
    yield f"{_mark(document.lead)} {_plain(document.headline)}"
    yield ""
    for name, value in document.facts:
        yield f"- {_plain(name)}: {_plain(value)}"
    yield ""
    for section in document.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield f"## {_plain(section.title)}"
    yield ""
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(said):
            yield from (_plain(said), "")
        case Lines(items):
            yield from (*(f"- {_plain(item)}" for item in items), "")
        case Answer(question, word, said):
            yield from (f"**{_plain(question)}** {_mark(word)} {_plain(said)}", "")
        case Figure(title, _, caption):
            yield from (f"*{_plain(title)} (picture in the HTML file).* {_plain(caption)}", "")
        case Missing(title, why):
            yield from (f"*{_plain(title)}.* {_plain(f'Nothing to draw: {why}.')}", "")
        case Table():
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        yield from (_plain(table.empty), "")
        return
    yield _row([_plain(column.title) for column in table.columns])
    yield _row(["---:" if column.is_number else "---" for column in table.columns])
    for row in table.rows:
        yield _row([_cell(cell) for cell in row])
    yield ""
    if table.note:
        yield from (_plain(table.note), "")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    match cell:
        case Mark():
            return _mark(cell)
        case Noted(said, note):
            return f"{_plain(said)} ({_plain(note)})" if note else _plain(said)
    return _plain(cell)


def _mark(mark: Mark) -> str:
    return f"**{_plain(mark.word)}**"


def _plain(said: str) -> str:
    """On one line, with nothing in it that Markdown or HTML would act on."""
    escaped = _ANYWHERE.sub(r"\\\1", escape(" ".join(said.split()), quote=False))
    return _IN_FRONT.sub(r"\1\\\2", escaped)
