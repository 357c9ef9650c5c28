"""A report as one HTML file: no scripts, nothing fetched, made for screen and paper, light and dark.

Every text passes `html.escape`; only the pictures, which `plots` draws, go in as they are.
"""

from collections.abc import Iterator
from html import escape
from importlib import resources

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


def page(document: Document) -> str:
    """The whole file."""
    return "\n".join(_page(document)) + "\n"


def _page(document: Document) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{escape(document.title)}</title>"
    yield f"<style>{resources.files('ra_guard.reports').joinpath('page.css').read_text(encoding='utf-8')}</style>"
    yield f"</head><body><main><header><h1>{escape(document.title)}</h1>"
    yield f'<p class="lead">{_mark(document.lead)} {escape(document.headline)}</p><dl>'
    for name, value in document.facts:
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl></header>"
    for section in document.sections:
        yield from _section(section)
    yield "</main></body></html>"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{escape(section.title)}</h2>"
    for block in section.blocks:
        yield from _block(block)
    yield "</section>"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield f"<p>{escape(text)}</p>"
        case Lines(items):
            yield f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Answer(question, word, text):
            yield f'<div class="answer"><h3>{escape(question)}</h3><p>{_mark(word)} {escape(text)}</p></div>'
        case Figure(title, svg, caption):
            yield f'<figure role="img" aria-label="{escape(title)}"><h3>{escape(title)}</h3>{svg}'
            yield f"<figcaption>{escape(caption)}</figcaption></figure>"
        case Missing(title, why):
            yield f"<figure><h3>{escape(title)}</h3><p>{escape(f'Nothing to draw: {why}.')}</p></figure>"
        case Table():
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        yield f"<p>{escape(table.empty)}</p>"
        return
    kinds = [' class="number"' if column.is_number else "" for column in table.columns]
    yield '<div class="wide"><table><thead><tr>'
    for column, kind in zip(table.columns, kinds, strict=True):
        yield f'<th scope="col"{kind}>{escape(column.title)}</th>'
    yield "</tr></thead><tbody>"
    for row in table.rows:
        yield f"<tr>{''.join(f'<td{kind}>{_cell(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>"
    yield "</tbody></table></div>"
    if table.note:
        yield f'<p class="note">{escape(table.note)}</p>'


def _cell(cell: Cell) -> str:
    match cell:
        case Mark():
            return _mark(cell)
        case Noted(text, note):
            return f"{escape(text)}<small>{escape(note)}</small>" if note else escape(text)
    return escape(cell)


def _mark(mark: Mark) -> str:
    return f'<strong class="mark {mark.tone}">{escape(mark.word)}</strong>'
