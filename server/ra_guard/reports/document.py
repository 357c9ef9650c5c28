"""What a report says, apart from how it looks: blocks that `page` turns into HTML and `markdown` into Markdown.

All text is plain; what it means in a format is escaped there, in one place, whoever wrote it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """What a mark means at a glance. It never stands alone: the word beside it says the same."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    """It cannot be told, or not yet."""
    PLAIN = "plain"


@dataclass(frozen=True)
class Mark:
    """A word that is found by eye, such as a verdict."""

    word: str
    tone: Tone


@dataclass(frozen=True)
class Noted:
    """What a cell says, and in small what belongs to it, such as the interval of a value."""

    text: str
    note: str


Cell = str | Mark | Noted


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    title: str
    is_number: bool = False


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    text: str


@dataclass(frozen=True)
class Lines:
    """Short statements of equal rank."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A question that readers come with, the answer in a word, and the sentence behind it."""

    question: str
    word: Mark
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells; without rows, ``empty`` says why there are none."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture as SVG, and in words what is to be seen in it."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Missing:
    """Where a picture would be if there were anything to draw."""

    title: str
    why: str


Block = Paragraph | Lines | Answer | Table | Figure | Missing


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """One report."""

    title: str
    lead: Mark
    """The one word for whoever reads nothing else."""
    headline: str
    """The one sentence after it."""
    facts: tuple[tuple[str, str], ...]
    """Which experiment, epoch, time: what a reader needs to know that it is the right report."""
    sections: tuple[Section, ...]
