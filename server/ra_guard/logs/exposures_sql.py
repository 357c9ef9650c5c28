"""The queries of `exposures`, in the order in which they run.

They read four views: logged_candidates, logged_feedback, plans and counts. Ties are broken by where a record was
written, so that the same files always give the same counts. The evidence of an experiment, which follows a growing
export, shares what decides: `FATE_SQL`, `WINDOW_SQL`, `SEALED_SQL` and `LOSSES_SQL`.
"""

from typing import Final

VIEWS_SQL: Final = (
    # A call is a request id of a user: asked again, it is answered again, and the user saw the last answer.
    """
    CREATE TEMP TABLE calls AS
    SELECT request_id, user_id, mode, assigned_arm, served_arm, reason, experiment_key, plan_revision,
        records - 1 AS repeated
    FROM (
        SELECT *,
            count(*) OVER (PARTITION BY request_id, user_id) AS records,
            row_number() OVER (
                PARTITION BY request_id, user_id
                ORDER BY unix_ns DESC, writer DESC, run DESC, sequence DESC, record DESC
            ) AS latest
        FROM logged_candidates
    )
    WHERE latest = 1
    """,
    """
    CREATE TEMP VIEW planned AS
    SELECT calls.*, plans.epoch, plans.feedback_window_s
    FROM calls LEFT JOIN plans USING (experiment_key, plan_revision)
    """,
    # Feedback knows the request id alone.
    """
    CREATE TEMP TABLE joinable AS
    SELECT request_id, count(*) AS users, any_value(experiment_key) AS experiment_key, any_value(epoch) AS epoch,
        any_value(assigned_arm) AS assigned_arm, any_value(feedback_window_s) AS feedback_window_s
    FROM planned
    GROUP BY request_id
    """,
)

SEALED_SQL: Final = """
    SELECT writer, run, sequence, experiment_key, assigned_arm, count(*) AS records
    FROM logged_candidates GROUP BY ALL
"""
"""What lies sealed, by segment: the view ``sealed`` that `LOSSES_SQL` reads."""

WINDOW_SQL: Final = """
    SELECT max_by(feedback_window_s, plan_revision) FROM plans WHERE experiment_key = $key
"""

# Of the first event of an event id, and the call that it joins: all NULL where there is none.
FATE_SQL: Final = """
    CASE
        WHEN joinable.users > 1 THEN 'ambiguous'
        WHEN joinable.users IS NOT NULL AND joinable.experiment_key <> $key THEN 'elsewhere'
        WHEN received_unix_ns::HUGEINT - occurred_unix_ns
            > coalesce(joinable.feedback_window_s::HUGEINT * 1000000000, $window_ns) THEN 'late'
        WHEN joinable.users IS NOT NULL THEN 'matched'
        WHEN $as_of::HUGEINT - received_unix_ns <= $window_ns THEN 'waiting'
        ELSE 'unknown'
    END
"""

FEEDBACK_SQL: Final = f"""
    CREATE TEMP TABLE fates AS
    SELECT event_id, kind, joinable.epoch, joinable.assigned_arm,
        CASE WHEN repetition > 1 THEN 'duplicates' ELSE {FATE_SQL} END AS fate
    FROM (
        SELECT *, row_number() OVER (
            PARTITION BY event_id ORDER BY received_unix_ns, writer, run, sequence, record
        ) AS repetition
        FROM logged_feedback
    ) events LEFT JOIN joinable USING (request_id)
"""  # noqa: S608 - from this file

# Served arm 4 is a team draft, mode 4 a rollout, in which both arms are served treatment.
ARMS_SQL: Final = (
    """
    SELECT epoch, assigned_arm, count(DISTINCT user_id), count(*), sum(repeated)::BIGINT, min(plan_revision),
        max(plan_revision)
    FROM planned WHERE experiment_key = $key
    GROUP BY epoch, assigned_arm ORDER BY epoch NULLS FIRST, assigned_arm
    """,
    """
    SELECT epoch, assigned_arm, reason, count(*)
    FROM planned WHERE experiment_key = $key AND assigned_arm IN (1, 2) AND served_arm NOT IN (assigned_arm, 4)
        AND NOT (served_arm = 2 AND coalesce(mode, 0) = 4)
    GROUP BY epoch, assigned_arm, reason ORDER BY reason
    """,
    """
    SELECT epoch, assigned_arm, kind, count(*)
    FROM fates WHERE fate = 'matched'
    GROUP BY epoch, assigned_arm, kind ORDER BY kind
    """,
)

CROSSOVER_SQL: Final = """
    SELECT epoch, count(*) FILTER (arms > 1), sum(served_treatment)::BIGINT
    FROM (
        SELECT epoch, user_id, count(DISTINCT assigned_arm) AS arms,
            count(*) FILTER (assigned_arm = 1 AND served_arm = 2 AND coalesce(mode, 0) <> 4) AS served_treatment
        FROM planned WHERE experiment_key = $key AND assigned_arm IN (1, 2)
        GROUP BY epoch, user_id
    )
    GROUP BY epoch
"""

# A run takes part when it logged for this experiment, or logged nothing that says for whom. A living run's counts may
# be a pass behind its segments; an ended run's only when its machine died with it.
LOSSES_SQL: Final = """
    SELECT
        CASE
            WHEN counts.ended IS NULL THEN 'uncounted'
            WHEN NOT counts.whole OR coalesce(sealed.segments, 0) <> counts.segments THEN 'partial'
            WHEN NOT counts.ended THEN 'living'
            WHEN unassigned > offered_unassigned OR control > offered_control OR treatment > offered_treatment
                OR not_enrolled > offered_not_enrolled THEN 'outrun'
            ELSE 'ended'
        END,
        offered_unassigned, offered_control, offered_treatment, offered_not_enrolled,
        coalesce(unassigned, 0), coalesce(control, 0), coalesce(treatment, 0), coalesce(not_enrolled, 0)
    FROM counts FULL JOIN (
        SELECT writer, run, count(DISTINCT sequence) AS segments,
            (sum(records) FILTER (assigned_arm = 0))::BIGINT AS unassigned,
            (sum(records) FILTER (assigned_arm = 1))::BIGINT AS control,
            (sum(records) FILTER (assigned_arm = 2))::BIGINT AS treatment,
            (sum(records) FILTER (assigned_arm = 3))::BIGINT AS not_enrolled,
            bool_or(experiment_key = $key) AS here,
            bool_or(experiment_key <> '') AS anywhere
        FROM sealed GROUP BY writer, run
    ) sealed USING (writer, run)
    WHERE coalesce(here, true) OR NOT coalesce(anywhere, false)
"""
