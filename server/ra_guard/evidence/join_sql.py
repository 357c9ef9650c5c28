"""The queries of `join`, in the order in which an update runs them. logs/FORMAT.md and EVIDENCE.md define the words.

Of the history each asks for rows of a few requests or users, and reads one column of numbers to find them. What was
said is a ledger: rows are appended, and their sum is what holds.
"""
# ruff: noqa: S608 - names and numbers from this package

from typing import Final

from ra_guard.evidence.left_out import Left
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Quantity
from ra_guard.logs.exposures_sql import FATE_SQL
from ra_guard.v1 import plan_pb2, rerank_pb2

ASK_AGAIN_NS: Final = 300 * 1_000_000_000
_MINUTE_NS = 60 * 1_000_000_000
_ERRORS = (rerank_pb2.REASON_DEADLINE, rerank_pb2.REASON_OVERLOAD, rerank_pb2.REASON_INTERNAL)
_FAILURES = (
    *_ERRORS,
    rerank_pb2.REASON_KILLED,
    rerank_pb2.REASON_LEASE_EXPIRED,
    rerank_pb2.REASON_NO_FEATURES,
    rerank_pb2.REASON_MODEL_MISMATCH,
    rerank_pb2.REASON_SHADOW,
)
"""Why treatment may be served the baseline without having crossed over."""


# What was touched comes to. A user's calls depend on each other: whether one was asked again, which click of an image
# was the first. So all calls of a touched user are worked out.

_JOINABLE_SQL = """
    SELECT request, count(*) AS users, CASE WHEN any_value(ours) THEN $key ELSE '' END AS experiment_key,
        any_value(feedback_window_s) AS feedback_window_s
    FROM planned
"""

REACH_SQL: Final = (
    """
    CREATE OR REPLACE TEMP TABLE reach AS
    SELECT request FROM touched UNION SELECT request FROM calls WHERE unit IN (
        SELECT unit FROM calls SEMI JOIN touched USING (request)
        UNION SELECT unit FROM calls WHERE unix_ns >= $settled_before_ns AND unix_ns < $settled_ns
    )
    """,
    f"CREATE OR REPLACE TEMP TABLE joinable AS {_JOINABLE_SQL} SEMI JOIN reach USING (request) GROUP BY request",
    "CREATE OR REPLACE TEMP TABLE reached AS FROM planned SEMI JOIN reach USING (request) WHERE ours",
    f"""
    CREATE OR REPLACE TEMP TABLE mine AS
    SELECT reached.*, assigned_arm AS arm, (unix_ns // {_MINUTE_NS})::INTEGER AS minute, users > 1 AS ambiguous,
        lead(unix_ns) OVER (PARTITION BY unit ORDER BY unix_ns, writer, run, sequence, record) AS next_ns,
        reason IN {_ERRORS} AS error,
        CASE assigned_arm
            WHEN {CONTROL} THEN served_arm = {TREATMENT} AND coalesce(mode, 0) <> {plan_pb2.MODE_ROLLOUT}
            ELSE served_arm NOT IN ({TREATMENT}, {rerank_pb2.ARM_INTERLEAVED}) AND reason NOT IN {_FAILURES}
        END AS crossed
    FROM reached JOIN joinable USING (request)
    WHERE epoch = $epoch AND assigned_arm IN ({CONTROL}, {TREATMENT})
    """,
    f"""
    CREATE OR REPLACE TEMP TABLE fates AS
    SELECT events.*, {FATE_SQL} AS fate
    FROM events SEMI JOIN reach USING (request) LEFT JOIN joinable USING (request)
    """,
    """
    CREATE OR REPLACE TEMP TABLE heard AS
    SELECT fates.*, mine.unit FROM fates JOIN mine USING (request) WHERE fate = 'matched'
    """,
    """
    CREATE OR REPLACE TEMP TABLE want_calls AS
    SELECT request, unit, minute, arm, domain, elapsed_us, error, crossed FROM mine
    """,
    f"""
    CREATE OR REPLACE TEMP TABLE want AS
    WITH told AS (
        SELECT request, count(*) FILTER (kind = 'click') AS clicks,
            min(occurred_unix_ns) FILTER (kind = 'click') AS first_click_ns,
            count(*) FILTER (kind = 'rating') AS ratings,
            coalesce(sum(stars) FILTER (kind = 'rating'), 0) AS stars,
            count(*) FILTER (kind = 'complaint') AS complaints
        FROM heard GROUP BY request
    ), discovered AS (
        SELECT request, count(*) AS images FROM (
            FROM heard WHERE kind = 'click'
            QUALIFY row_number() OVER (
                PARTITION BY unit, candidate_id
                ORDER BY occurred_unix_ns, received_unix_ns, writer, run, sequence, record
            ) = 1
        ) GROUP BY request
    ), late AS (
        SELECT request, count(*) AS events FROM fates WHERE fate = 'late' GROUP BY request
    ), known AS (
        FROM mine LEFT JOIN told USING (request) LEFT JOIN discovered USING (request) LEFT JOIN late USING (request)
    ), found AS (
        SELECT known.*, {Quantity.CLICK_THROUGH} AS quantity, 1 AS count, (coalesce(clicks, 0) > 0)::BIGINT AS total
        FROM known WHERE NOT ambiguous
        UNION ALL
        SELECT *, {Quantity.COMPLETION}, 1, (
            next_ns IS NULL OR next_ns - unix_ns > {ASK_AGAIN_NS} OR coalesce(first_click_ns < next_ns, false)
        )::BIGINT
        FROM known WHERE NOT ambiguous AND unix_ns < $settled_ns
        UNION ALL
        SELECT *, {Quantity.RATING}, ratings, stars FROM known WHERE ratings > 0
        UNION ALL
        SELECT *, {Quantity.COMPLAINTS}, 0, complaints FROM known WHERE complaints > 0
        UNION ALL
        SELECT *, {Quantity.DISCOVERY}, 0, images FROM known WHERE images > 0
        UNION ALL
        SELECT *, {Left.LATE}, events, 0 FROM known WHERE events > 0
        UNION ALL
        SELECT *, {Left.AMBIGUOUS}, 1, 0 FROM known WHERE ambiguous
        UNION ALL
        SELECT *, {Left.UNTIMED}, 1, 0 FROM known WHERE elapsed_us = 0
    )
    SELECT request, unit, minute, arm, domain, quantity, count, total * {UNIT} AS total FROM found
    UNION ALL
    SELECT request, unit, (unix_ns // {_MINUTE_NS})::INTEGER, assigned_arm, domain,
        CASE WHEN epoch IS NULL THEN {Left.UNPLANNED} ELSE {Left.UNASSIGNED} END, 1, 0
    FROM reached WHERE epoch IS NULL OR (epoch = $epoch AND assigned_arm NOT IN ({CONTROL}, {TREATMENT}))
    """,
)

# Relevance: labels of what was touched, and where their candidates were served, read from the files of their calls.

LABELS_SQL: Final = {
    "judgments": """
        CREATE OR REPLACE TEMP TABLE labels AS
        SELECT request, candidate_id, arg_max(grade, (received_unix_ns, writer, run, sequence, record)) AS grade
        FROM heard SEMI JOIN touched USING (request) WHERE kind = 'judgment' GROUP BY ALL
    """,
    "clicks": """
        CREATE OR REPLACE TEMP TABLE labels AS
        SELECT DISTINCT request, candidate_id, 1::UINTEGER AS grade
        FROM heard SEMI JOIN touched USING (request) WHERE kind = 'click'
    """,
}

LABELLED_FILES_SQL: Final = """
    SELECT DISTINCT id FROM mine SEMI JOIN labels USING (request) JOIN files ON file = number ORDER BY id
"""

NO_PLACES_SQL: Final = """
    CREATE OR REPLACE TEMP TABLE places (request UINTEGER, candidate_id VARCHAR, grade UINTEGER, position BIGINT,
        rank BIGINT)
"""

PLACES_SQL: Final = """
    INSERT INTO places
    SELECT request, candidate_id, grade, position,
        CASE WHEN top_k > 0 AND rank > top_k THEN 0 ELSE coalesce(rank, 0) END
    FROM (
        SELECT request, labels.candidate_id, grade, top_k,
            list_position(candidate_ids, labels.candidate_id) AS position,
            list_position(ranking, position - 1) AS rank
        FROM (
            SELECT writer, run, sequence, record, top_k, candidate_ids, ranking FROM read_parquet($paths)
        ) logged
        JOIN mine USING (writer, run, sequence, record)
        JOIN labels USING (request)
    )
"""

UNPLACED_SQL: Final = """
    INSERT INTO unplaced
    SELECT DISTINCT request FROM mine SEMI JOIN labels USING (request) JOIN files ON file = number WHERE id = $path
"""

LABELLED_SQL: Final = """
    SELECT request, rank, grade::BIGINT AS grade FROM places WHERE position IS NOT NULL
    ORDER BY request, rank, candidate_id
"""

_ASKED_SQL = {
    "judgments": "SELECT DISTINCT request FROM places WHERE position IS NOT NULL",
    "clicks": "SELECT request FROM mine SEMI JOIN touched USING (request) WHERE NOT ambiguous",
}

RELEVANCE_SQL: Final = {
    labels: (
        "CREATE OR REPLACE TEMP TABLE placed AS FROM touched ANTI JOIN unplaced USING (request)",
        f"""
        CREATE OR REPLACE TEMP TABLE want AS
        SELECT request, unit, minute, arm, domain, quantity, count, total
        FROM (
            SELECT request, quantity, 1 AS count, total FROM scored
            UNION ALL
            SELECT request, {Left.NOT_RELEVANT}, 1, 0 FROM ({asked}) ANTI JOIN scored USING (request)
            UNION ALL
            SELECT request, {Left.STRANGERS}, count(*), 0 FROM places WHERE position IS NULL GROUP BY request
        ) SEMI JOIN placed USING (request) JOIN mine USING (request)
        """,
    )
    for labels, asked in _ASKED_SQL.items()
}

# What is new in it.

RELEVANCE: Final = (Quantity.NDCG, Quantity.NDCG_CORRECTED, Left.NOT_RELEVANT, Left.STRANGERS)


def _said(scope: str, quantities: str) -> tuple[str, ...]:
    return (
        f"""
        CREATE OR REPLACE TEMP TABLE news AS
        SELECT request, unit, minute, arm, domain, quantity, sum(count)::INTEGER AS count, sum(total)::BIGINT AS total
        FROM (
            FROM want UNION ALL BY NAME
            SELECT request, unit, minute, arm, domain, quantity, -count AS count, -total AS total
            FROM said SEMI JOIN {scope} USING (request) WHERE {quantities}
        )
        GROUP BY ALL HAVING sum(count) <> 0 OR sum(total) <> 0
        """,
        "INSERT INTO said BY NAME FROM news ORDER BY request",
        """
        SELECT minute, arm, unit AS user, least(domain, 255)::UTINYINT AS domain, quantity::UTINYINT AS quantity,
            count, total
        FROM news ORDER BY minute, unit, request, quantity
        """,
    )


SAY_SQL: Final = _said("reach", f"quantity NOT IN {tuple(map(int, RELEVANCE))}")
SAY_RELEVANCE_SQL: Final = _said("placed", f"quantity IN {tuple(map(int, RELEVANCE))}")
SAY_CALLS_SQL: Final = (
    """
    CREATE OR REPLACE TEMP TABLE news_of_calls AS
    SELECT request, unit, minute, arm, domain, elapsed_us, error, crossed, sum(weight)::TINYINT AS weight
    FROM (
        SELECT *, 1 AS weight FROM want_calls UNION ALL BY NAME
        SELECT * REPLACE (-weight AS weight) FROM said_calls SEMI JOIN reach USING (request)
    )
    GROUP BY ALL HAVING sum(weight) <> 0
    """,
    "INSERT INTO said_calls BY NAME FROM news_of_calls ORDER BY request",
    """
    SELECT minute, arm, unit AS user, least(domain, 255)::UTINYINT AS domain, elapsed_us, error, crossed, weight
    FROM news_of_calls ORDER BY minute, unit, request, weight
    """,
)

# A clock that is wrong must not make evidence look fresh for as long as it is ahead.
NEWEST_SQL: Final = """
    SELECT (SELECT max(unix_ns) FROM mine WHERE unix_ns <= $future_ns),
        greatest((SELECT max(unix_ns) FROM arrived WHERE unix_ns <= $future_ns),
            (SELECT max(received_unix_ns) FROM received WHERE received_unix_ns <= $future_ns)),
        (SELECT count(*) FROM received)
"""

# What is asked now and then, of everything.

FATES_SQL: Final = f"""
    WITH joinable AS ({_JOINABLE_SQL} GROUP BY request)
    SELECT fate, count(*) FROM (
        SELECT {FATE_SQL} AS fate FROM events LEFT JOIN joinable USING (request)
    ) GROUP BY fate
"""

QUERIES_SQL: Final = f"""
    WITH asked AS (
        SELECT request, unit, arm FROM said_calls GROUP BY ALL HAVING sum(weight) > 0
    ), valued AS (
        SELECT request, sum(count) AS count, sum(total) AS total FROM said
        WHERE quantity = {Quantity.NDCG} GROUP BY request
    )
    SELECT query_text, count(*) AS calls,
        (sum(total) FILTER (arm = {CONTROL}) / nullif(sum(count) FILTER (arm = {CONTROL}), 0))::DOUBLE,
        (sum(total) FILTER (arm = {TREATMENT}) / nullif(sum(count) FILTER (arm = {TREATMENT}), 0))::DOUBLE
    FROM asked JOIN calls USING (request, unit) LEFT JOIN valued USING (request)
    WHERE query_text <> ''
    GROUP BY query_text ORDER BY calls DESC, query_text LIMIT $limit
"""
