"""Judgments and runs in TREC's two formats, one line a document, fields between white space, in any order of lines.

    qrels   query iter doc rel              iter is not read; rel is a whole number, above 0 for relevant
    run     query Q0 doc rank score tag     Q0, rank and tag are not read: the order is that of the scores

Lines that ask for a guess are refused: trec_eval's readers disagree about what a repeated document means.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import numpy as np

from ra_guard.evaluation.errors import BadLine

Qrels = Mapping[str, Mapping[str, int]]
"""Grades by query and document."""
Run = Mapping[str, Mapping[str, float]]
"""Scores by query and document."""

MOST_GRADE: Final = 2**31 - 1
_WHOLE_NUMBER: Final = re.compile(rb"[+-]?[0-9]+")
_SHOWN_BYTES: Final = 60
_LARGEST_SCORE: Final = float(np.finfo(np.float32).max)

Value = TypeVar("Value", int, float)


def parse_qrels(lines: Iterable[bytes], source: str) -> Qrels:
    """Raises BadLine, which names ``source`` and the line's number, from 1."""
    return _parse(lines, source, ("query", "iter", "doc", "rel"), _grade)


def parse_run(lines: Iterable[bytes], source: str) -> Run:
    """Raises BadLine, which names ``source`` and the line's number, from 1."""
    return _parse(lines, source, ("query", "Q0", "doc", "rank", "score", "tag"), _score)


def _parse(
    lines: Iterable[bytes], source: str, fields: tuple[str, ...], value: Callable[[bytes], Value | None]
) -> dict[str, dict[str, Value]]:
    wanted_value, position = ("a whole number for rel", 3) if len(fields) == 4 else ("a finite number for score", 4)
    parsed: dict[str, dict[str, Value]] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != len(fields):
            raise BadLine(
                source=source,
                line=number,
                found=f"{len(words)} fields in {_shown(line)}",
                wanted=f"{len(fields)}: {' '.join(fields)}",
                cure="correct the line",
            )
        number_found = value(words[position])
        if number_found is None:
            raise BadLine(
                source=source, line=number, found=_shown(words[position]), wanted=wanted_value, cure="correct it"
            )
        try:
            query, document = words[0].decode(), words[2].decode()
        except UnicodeDecodeError:
            raise BadLine(
                source=source, line=number, found=_shown(line), wanted="UTF-8", cure="save the file as UTF-8"
            ) from None
        documents = parsed.setdefault(query, {})
        if document in documents:
            raise BadLine(
                source=source,
                line=number,
                found=f"document {document!r} of query {query!r} a second time",
                wanted="each document once in a query",
                cure="keep one of the two lines",
            )
        documents[document] = number_found
    return parsed


def _grade(word: bytes) -> int | None:
    # Length first: turning a million digits into a number takes long.
    if not _WHOLE_NUMBER.fullmatch(word) or len(word) > 20:
        return None
    grade = int(word)
    return grade if abs(grade) <= MOST_GRADE else None


def _score(word: bytes) -> float | None:
    try:
        # Python reads 1_0 as 10; nobody else does.
        score = float(word) if b"_" not in word else np.nan
    except ValueError:
        return None
    # False for what is not a number, too.
    return score if abs(score) <= _LARGEST_SCORE else None


def _shown(text: bytes) -> str:
    shown = text.strip().decode(errors="replace")
    return repr(shown if len(shown) <= _SHOWN_BYTES else f"{shown[:_SHOWN_BYTES]}...")
