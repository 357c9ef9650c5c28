"""The queries that take files of an export in: tables, and what a follower keeps of each. FORMAT.md has the columns.

Requests, users (``unit``), domains and files have numbers, so that the strings of the history are compared once an
update. Of a request id of a user the last record is kept, of an event id the first one received; ``touched`` are the
requests of which anything may have changed.
"""
# ruff: noqa: S608 - names from this file

from typing import Final

from ra_guard.logs.exposures_sql import SEALED_SQL

_PLACE = "writer VARCHAR, run UBIGINT, sequence UINTEGER, record UINTEGER"
_ROW = "request UINTEGER, unit UINTEGER, minute INTEGER, arm UTINYINT, domain UINTEGER"

TABLES_SQL: Final = (
    *(f"CREATE TABLE {name} (id VARCHAR, number UINTEGER)" for name in ("requests", "units", "domains", "files")),
    f"""
    CREATE TABLE calls (request UINTEGER, unit UINTEGER, domain UINTEGER, file UINTEGER, unix_ns UBIGINT, {_PLACE},
        ours BOOLEAN, plan_revision UBIGINT, mode UTINYINT, assigned_arm UTINYINT, served_arm UTINYINT,
        reason UTINYINT, elapsed_us UINTEGER, query_text VARCHAR)
    """,
    f"""
    CREATE TABLE events (event_id VARCHAR, request UINTEGER, received_unix_ns UBIGINT, occurred_unix_ns BIGINT,
        {_PLACE}, kind VARCHAR, candidate_id VARCHAR, stars UINTEGER, grade UINTEGER)
    """,
    """
    CREATE TABLE plans (experiment_key VARCHAR, plan_revision UBIGINT, epoch UINTEGER, feedback_window_s UINTEGER)
    """,
    """
    CREATE TABLE counts (writer VARCHAR, run UBIGINT, ended BOOLEAN, closed BOOLEAN, segments UBIGINT, whole BOOLEAN,
        offered_unassigned UBIGINT, offered_control UBIGINT, offered_treatment UBIGINT, offered_not_enrolled UBIGINT)
    """,
    """
    CREATE TABLE sealed (writer VARCHAR, run UBIGINT, sequence UINTEGER, experiment_key VARCHAR, assigned_arm UTINYINT,
        records BIGINT)
    """,
    f"CREATE TABLE said ({_ROW}, quantity UTINYINT, count INTEGER, total BIGINT)",
    f"CREATE TABLE said_calls ({_ROW}, elapsed_us UINTEGER, error BOOLEAN, crossed BOOLEAN, weight TINYINT)",
    "CREATE TABLE replanned (request UINTEGER)",
    "CREATE TABLE unplaced (request UINTEGER)",
    """
    CREATE VIEW planned AS
    SELECT calls.*, plans.epoch, plans.feedback_window_s
    FROM calls LEFT JOIN plans ON calls.ours AND calls.plan_revision = plans.plan_revision
    """,
    f"""
    CREATE TEMP TABLE logged_candidates (request_id VARCHAR, user_id VARCHAR, domain VARCHAR, filename VARCHAR,
        unix_ns UBIGINT, {_PLACE}, experiment_key VARCHAR, plan_revision UBIGINT, mode UTINYINT,
        assigned_arm UTINYINT, served_arm UTINYINT, reason UTINYINT, elapsed_us UINTEGER, query_text VARCHAR)
    """,
    f"""
    CREATE TEMP TABLE logged_feedback (event_id VARCHAR, request_id VARCHAR, received_unix_ns UBIGINT,
        occurred_unix_ns BIGINT, {_PLACE}, kind VARCHAR, candidate_id VARCHAR, stars UINTEGER, grade UINTEGER)
    """,
)

# What the files say.

PLANS_SQL: Final = (
    """
    CREATE OR REPLACE TEMP TABLE read_plans AS
    SELECT experiment_key, plan_revision, epoch, feedback_window_s FROM read_parquet($path) WHERE experiment_key = $key
    """,
    """
    INSERT INTO replanned SELECT request FROM calls WHERE ours AND plan_revision IN (
        SELECT plan_revision FROM ((FROM plans EXCEPT FROM read_plans) UNION (FROM read_plans EXCEPT FROM plans))
    )
    """,
    "DELETE FROM plans",
    "INSERT INTO plans FROM read_plans",
)

COUNTS_SQL: Final = (
    "CREATE OR REPLACE TEMP TABLE read_counts AS FROM read_parquet($path)",
    """
    SELECT writer, run, counts.offered_control, counts.offered_treatment, read.offered_control, read.offered_treatment
    FROM counts JOIN read_counts AS read USING (writer, run)
    WHERE read.offered_control < counts.offered_control OR read.offered_treatment < counts.offered_treatment
    ORDER BY writer, run
    """,
    "DELETE FROM counts",
    "INSERT INTO counts BY NAME FROM read_counts",
)

READ_SQL: Final = {
    name: f"INSERT INTO {name} BY NAME SELECT {', '.join(columns)} FROM read_parquet($paths, filename = true)"
    for name, columns in {
        "logged_candidates": (
            *("request_id", "user_id", "domain", "filename", "unix_ns", "writer", "run", "sequence", "record"),
            *("experiment_key", "plan_revision", "mode", "assigned_arm", "served_arm", "reason", "elapsed_us"),
            "query_text",
        ),
        "logged_feedback": (
            *("event_id", "request_id", "received_unix_ns", "occurred_unix_ns", "writer", "run", "sequence", "record"),
            *("kind", "candidate_id", "stars", "grade"),
        ),
    }.items()
}


def _numbered(table: str, ids: str) -> tuple[str, str]:
    """Numbers for the ids of ``ids (id, first)``, new ones in the order of ``first``."""
    return (
        f"""
        CREATE OR REPLACE TEMP TABLE named_{table} AS
        SELECT id, number IS NULL AS is_new, coalesce(
            number,
            (SELECT count(*) FROM {table}) + row_number() OVER (PARTITION BY number IS NULL ORDER BY first, id) - 1
        )::UINTEGER AS number
        FROM (SELECT id, min(first) AS first FROM ({ids}) GROUP BY id) LEFT JOIN {table} USING (id)
        """,
        f"INSERT INTO {table} SELECT id, number FROM named_{table} WHERE is_new ORDER BY number",
    )


TAKE_IN_SQL: Final = (
    *_numbered(
        "requests",
        "SELECT request_id AS id, unix_ns AS first FROM logged_candidates "
        "UNION ALL SELECT request_id, received_unix_ns FROM logged_feedback",
    ),
    *_numbered("units", "SELECT user_id AS id, unix_ns AS first FROM logged_candidates"),
    *_numbered("domains", "SELECT domain AS id, unix_ns AS first FROM logged_candidates"),
    *_numbered("files", "SELECT filename AS id, unix_ns AS first FROM logged_candidates"),
    f"INSERT INTO sealed {SEALED_SQL}",
    # A call is a request id of a user: asked again, it is answered again, and the user saw the last answer.
    """
    CREATE OR REPLACE TEMP TABLE arrived AS
    SELECT requests.number AS request, units.number AS unit, domains.number AS domain, files.number AS file,
        logged.* EXCLUDE (request_id, user_id, domain, filename, experiment_key), experiment_key = $key AS ours
    FROM logged_candidates AS logged
    JOIN named_requests AS requests ON logged.request_id = requests.id
    JOIN named_units AS units ON logged.user_id = units.id
    JOIN named_domains AS domains ON logged.domain = domains.id
    JOIN named_files AS files ON logged.filename = files.id
    """,
    """
    CREATE OR REPLACE TEMP TABLE answered_before AS
    SELECT calls.rowid AS place, calls.* FROM calls SEMI JOIN arrived USING (request)
    """,
    "DELETE FROM calls WHERE rowid IN (SELECT place FROM answered_before)",
    """
    INSERT INTO calls BY NAME
    FROM (FROM arrived UNION ALL BY NAME SELECT * EXCLUDE (place) FROM answered_before)
    QUALIFY row_number() OVER (
        PARTITION BY request, unit ORDER BY unix_ns DESC, writer DESC, run DESC, sequence DESC, record DESC
    ) = 1
    ORDER BY request
    """,
    # Of an event id, the event that was received first counts.
    """
    CREATE OR REPLACE TEMP TABLE received AS
    SELECT requests.number AS request, logged.* EXCLUDE (request_id)
    FROM logged_feedback AS logged JOIN named_requests AS requests ON logged.request_id = requests.id
    """,
    """
    CREATE OR REPLACE TEMP TABLE received_before AS
    SELECT events.rowid AS place, events.* FROM events SEMI JOIN received USING (event_id)
    """,
    "DELETE FROM events WHERE rowid IN (SELECT place FROM received_before)",
    """
    INSERT INTO events BY NAME
    FROM (FROM received UNION ALL BY NAME SELECT * EXCLUDE (place) FROM received_before)
    QUALIFY row_number() OVER (
        PARTITION BY event_id ORDER BY received_unix_ns, writer, run, sequence, record
    ) = 1
    ORDER BY request
    """,
    """
    CREATE OR REPLACE TEMP TABLE touched AS
    SELECT request FROM arrived UNION SELECT request FROM received UNION SELECT request FROM received_before
    UNION SELECT request FROM replanned UNION SELECT request FROM unplaced
    """,
    "DELETE FROM logged_candidates",
    "DELETE FROM logged_feedback",
    "DELETE FROM replanned",
    "DELETE FROM unplaced",
)
