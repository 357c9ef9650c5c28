"""Logged calls that were scored and judged, from the Parquet of an export.

A call is the last answer to a request id of a user, and judgments join by the request id alone, as FORMAT.md says. A
late judgment counts here, other than in an experiment's analysis: the same call is ranked twice, so neither ranking
gains by waiting. Of several judgments of one candidate in one request the last received holds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from ra_guard.evaluation.calls import TERMS, JudgedCall
from ra_guard.logs.errors import NothingExported
from ra_guard.logs.layout import Kind

MEMORY_LIMIT: Final = "2GB"
_BATCH: Final = 1_000

_JUDGMENTS_SQL: Final = """
    CREATE TEMP TABLE judgments AS
    SELECT request_id, candidate_id,
        arg_max(grade, (received_unix_ns, writer, run, sequence, record)) AS grade
    FROM (
        SELECT *, row_number() OVER (
            PARTITION BY event_id ORDER BY received_unix_ns, writer, run, sequence, record
        ) AS repetition
        FROM logged_feedback
    )
    WHERE repetition = 1 AND kind = 'judgment'
    GROUP BY request_id, candidate_id
"""

# Places first, so that the long columns are read for judged calls alone.
_ANSWERS_SQL: Final = """
    CREATE TEMP TABLE answers AS
    SELECT request_id, writer, run, sequence, record, count(*) OVER (PARTITION BY request_id) AS users, scored
    FROM (
        SELECT request_id, writer, run, sequence, record, len(score) > 0 AS scored,
            row_number() OVER (
                PARTITION BY request_id, user_id
                ORDER BY unix_ns DESC, writer DESC, run DESC, sequence DESC, record DESC
            ) AS latest
        FROM logged_candidates
        WHERE request_id IN (SELECT request_id FROM judgments)
    )
    WHERE latest = 1
"""

_COUNTS_SQL: Final = """
    SELECT count(*) FILTER (WHERE users IS NULL), count(*) FILTER (WHERE users > 1),
        count(*) FILTER (WHERE users = 1 AND NOT scored)
    FROM (SELECT DISTINCT request_id FROM judgments)
    LEFT JOIN (
        SELECT request_id, any_value(users) AS users, bool_and(scored) AS scored FROM answers GROUP BY request_id
    ) USING (request_id)
"""

_CALLS_SQL: Final = f"""
    SELECT logged.request_id, user_id, domain, space, generation, top_k, states, ranking,
        {", ".join(TERMS)}, score, weights, candidate_ids, judged, grades
    FROM logged_candidates AS logged
    JOIN answers USING (writer, run, sequence, record)
    JOIN (
        SELECT request_id, list(candidate_id ORDER BY candidate_id) AS judged,
            list(grade ORDER BY candidate_id) AS grades
        FROM judgments GROUP BY request_id
    ) AS of_request ON of_request.request_id = logged.request_id
    WHERE users = 1 AND scored
    ORDER BY logged.unix_ns, writer, run, sequence, record
"""  # noqa: S608 - names of columns, from this package


@dataclass(frozen=True, slots=True)
class JudgedLog:
    """What an export has to evaluate weights on, and what of its judgments could not be used."""

    calls: tuple[JudgedCall, ...]
    generations: dict[str, int]
    """The latest generation that a call names, by space."""
    not_logged: int
    """Judged requests without a call here."""
    ambiguous: int
    """Judged requests whose id several users have."""
    not_scored: int
    """Judged requests whose call was answered without scores."""
    not_candidates: int
    """Judgments of images that were no candidates of their call."""


def judged_calls(folder: Path) -> JudgedLog:
    """Reads an export folder. Raises NothingExported without candidates or feedback."""
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "memory_limit": MEMORY_LIMIT}) as db:
        for kind in Kind:
            files = sorted(str(path) for path in (folder / kind.value).glob("day=*/*.parquet"))
            if not files:
                raise NothingExported(f"{folder / kind.value}: found no day; run `ra-guard log export` first")
            db.from_parquet(files, union_by_name=True).create_view(f"logged_{kind.value}")
        db.execute("SET temp_directory = ?", [str(folder / ".duckdb")])
        db.execute(_JUDGMENTS_SQL)
        db.execute(_ANSWERS_SQL)
        ((not_logged, ambiguous, not_scored),) = db.execute(_COUNTS_SQL).fetchall()
        calls: list[JudgedCall] = []
        generations: dict[str, int] = {}
        not_candidates = 0
        found = db.execute(_CALLS_SQL)
        while rows := found.fetchmany(_BATCH):
            for row in rows:
                call, strangers = _call(row)
                calls.append(call)
                generations[call.space] = max(generations.get(call.space, 0), row[4])
                not_candidates += strangers
        return JudgedLog(tuple(calls), generations, not_logged, ambiguous, not_scored, not_candidates)


def _call(row: Any) -> tuple[JudgedCall, int]:
    request_id, user_id, domain, space, _, top_k, states, ranking, *terms, score, weights, ids, judged, grades = row
    position = {candidate: number for number, candidate in enumerate(ids)}
    known = {position[each]: grade for each, grade in zip(judged, grades, strict=True) if each in position}
    call = JudgedCall(request_id, user_id, domain, space, top_k, states, ranking, terms, score, weights, known)
    return call, len(judged) - len(known)
