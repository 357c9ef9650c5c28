"""Who was exposed to what, and what came back: exposures, crossover, losses and the join with feedback, as counts.

Reads the Parquet of an export through DuckDB. FORMAT.md defines every word used here: what a call is, what a join key
is, and what late, waiting, unknown, ambiguous and duplicate mean. Each event is counted under exactly one of them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import duckdb

from ra_guard.logs.errors import NothingExported
from ra_guard.logs.exposures_sql import (
    ARMS_SQL,
    CROSSOVER_SQL,
    FEEDBACK_SQL,
    LOSSES_SQL,
    SEALED_SQL,
    VIEWS_SQL,
    WINDOW_SQL,
)
from ra_guard.logs.layout import Kind
from ra_guard.logs.parquet import COUNTS_FILE, PLANS_FILE
from ra_guard.logs.plans import DEFAULT_WINDOW_S
from ra_guard.v1 import rerank_pb2

MEMORY_LIMIT: Final = "2GB"
"""Beyond it DuckDB spills to the export folder."""
_NS_PER_S = 1_000_000_000


class Arm(IntEnum):
    """As `ra_guard.v1.Arm`; the names are those of tables and JSON."""

    unassigned = rerank_pb2.ARM_UNSPECIFIED
    control = rerank_pb2.ARM_CONTROL
    treatment = rerank_pb2.ARM_TREATMENT
    not_enrolled = rerank_pb2.ARM_NOT_ENROLLED
    interleaved = rerank_pb2.ARM_INTERLEAVED


@dataclass(frozen=True, slots=True)
class ArmExposure:
    """One assigned arm within one epoch."""

    arm: Arm
    users: int
    calls: int
    repeated: int
    """Further records of calls that are counted already: a caller asked again."""
    mismatched: Mapping[str, int] = field(default_factory=dict)
    """Calls that were served another arm than the assigned one, by reason; a team draft is no mismatch."""
    feedback: Mapping[str, int] = field(default_factory=dict)
    """Matched events by kind."""


@dataclass(frozen=True, slots=True)
class EpochExposure:
    """One analysis: the calls under the plans of one epoch."""

    epoch: int | None
    """None where the plan that a record names was not found."""
    first_revision: int
    last_revision: int
    arms: tuple[ArmExposure, ...]
    crossed_users: int
    """Users seen in both control and treatment."""
    control_served_treatment: int
    """Calls of control users that were served treatment: none, when all is well."""


@dataclass(frozen=True, slots=True)
class FeedbackCounts:
    """Every logged event, once: the fields add up to ``received``."""

    received: int
    duplicates: int
    """Repetitions of an event id; the first received counts."""
    matched: int
    late: int
    ambiguous: int
    """Their request id was used for several users."""
    elsewhere: int
    """Their request belongs to another experiment, or to none."""
    waiting: int
    """Their request is not here, and may still come."""
    unknown: int
    """Their request is not here a whole window after they were received."""


@dataclass(frozen=True, slots=True)
class ArmLoss:
    """Records of one assigned arm that were offered to the log and never sealed."""

    arm: Arm
    offered: int
    sealed: int
    lost: int
    """By runs that have ended and are here whole."""
    unsettled: int
    """By living runs: on their way, or lost."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Lost exposures by arm, and how far they can be known."""

    arms: tuple[ArmLoss, ...]
    ended_runs: int
    living_runs: int
    partial_runs: int
    """Of which not every segment is in this export: nothing is said of them."""
    uncounted_runs: int
    """That have records and no counts."""
    outrun_runs: int
    """That sealed more than their counts say: their machine died with them, and nothing is said of them."""


@dataclass(frozen=True, slots=True)
class Exposures:
    """One experiment, as far as the export goes."""

    key: str
    epochs: tuple[EpochExposure, ...]
    feedback: FeedbackCounts
    losses: Losses


def exposures(folder: Path, key: str, as_of_unix_ns: int) -> Exposures:
    """Counts one experiment in an export folder. ``as_of_unix_ns`` decides who is still waiting.

    Raises NothingExported when the folder has no plans or no candidates.
    """
    for needed in (PLANS_FILE, COUNTS_FILE, Kind.CANDIDATES.value):
        if not (folder / needed).exists():
            raise NothingExported(f"{folder / needed}: found none; run `ra-guard log export` first")
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "memory_limit": MEMORY_LIMIT}) as db:
        db.execute("SET temp_directory = ?", [str(folder / ".duckdb")])
        _create_views(db, folder)
        arms, mismatches, matched = ARMS_SQL
        window_s = _one(db, WINDOW_SQL, {"key": key})[0] or DEFAULT_WINDOW_S
        db.execute(FEEDBACK_SQL, {"key": key, "as_of": as_of_unix_ns, "window_ns": window_s * _NS_PER_S})
        return Exposures(
            key,
            _epochs(
                _all(db, arms, {"key": key}),
                _all(db, mismatches, {"key": key}),
                _all(db, matched, {}),
                {epoch: (crossed, wrong) for epoch, crossed, wrong in _all(db, CROSSOVER_SQL, {"key": key})},
            ),
            feedback_counts(dict(_all(db, "SELECT fate, count(*) FROM fates GROUP BY fate", {}))),
            losses_of(_all(db, LOSSES_SQL, {"key": key})),
        )


def _create_views(db: duckdb.DuckDBPyConnection, folder: Path) -> None:
    for name in (PLANS_FILE, COUNTS_FILE):
        db.from_parquet(str(folder / name)).create_view(name.removesuffix(".parquet"))
    for kind in Kind:
        files = sorted(str(path) for path in (folder / kind.value).glob("day=*/*.parquet"))
        if not files and kind is Kind.CANDIDATES:
            raise NothingExported(f"{folder / kind.value}: found no day; run `ra-guard log export` first")
        if files:
            db.from_parquet(files, union_by_name=True).create_view(f"logged_{kind.value}")
        else:
            db.execute(
                f"CREATE VIEW logged_{kind.value} AS SELECT NULL::UBIGINT received_unix_ns, NULL::BIGINT "
                "occurred_unix_ns, NULL::VARCHAR event_id, NULL::VARCHAR request_id, NULL::VARCHAR kind, "
                "NULL::VARCHAR writer, NULL::UBIGINT run, NULL::UINTEGER sequence, NULL::UINTEGER record WHERE false"
            )
    for statement in (*VIEWS_SQL, f"CREATE TEMP VIEW sealed AS {SEALED_SQL}"):
        db.execute(statement)


def _epochs(
    arms: list[Any],
    mismatches: list[Any],
    matched: list[Any],
    crossover: Mapping[int | None, tuple[int, int]],
) -> tuple[EpochExposure, ...]:
    by_arm: dict[int | None, list[ArmExposure]] = {}
    revisions: dict[int | None, tuple[int, int]] = {}
    for epoch, arm, users, calls, repeated, first, last in arms:
        known_first, known_last = revisions.get(epoch, (first, last))
        revisions[epoch] = (min(known_first, first), max(known_last, last))
        exposure = ArmExposure(
            Arm(arm),
            users,
            calls,
            repeated,
            {_reason(reason): count for at, of, reason, count in mismatches if (at, of) == (epoch, arm)},
            {kind: count for at, of, kind, count in matched if (at, of) == (epoch, arm)},
        )
        by_arm.setdefault(epoch, []).append(exposure)
    return tuple(
        EpochExposure(epoch, *revisions[epoch], tuple(found), *crossover.get(epoch, (0, 0)))
        for epoch, found in by_arm.items()
    )


def feedback_counts(fates: Mapping[str, int]) -> FeedbackCounts:
    """From the number of events by fate."""
    names = ("duplicates", "matched", "late", "ambiguous", "elsewhere", "waiting", "unknown")
    return FeedbackCounts(received=sum(fates.values()), **{name: fates.get(name, 0) for name in names})


def losses_of(runs: Iterable[Any]) -> Losses:
    """From the rows of `LOSSES_SQL`."""
    arms = list(Arm)[:4]
    offered, sealed, lost, unsettled = (dict.fromkeys(arms, 0) for _ in range(4))
    judged = Counter[str]()
    for fate, *numbers in runs:
        judged[fate] += 1
        if fate not in {"ended", "living"}:
            continue
        for arm, of_arm, sealed_of_arm in zip(arms, numbers[: len(arms)], numbers[len(arms) :], strict=True):
            offered[arm] += of_arm
            sealed[arm] += sealed_of_arm
            (lost if fate == "ended" else unsettled)[arm] += max(0, of_arm - sealed_of_arm)
    return Losses(
        tuple(ArmLoss(arm, offered[arm], sealed[arm], lost[arm], unsettled[arm]) for arm in arms),
        ended_runs=judged["ended"],
        living_runs=judged["living"],
        partial_runs=judged["partial"],
        uncounted_runs=judged["uncounted"],
        outrun_runs=judged["outrun"],
    )


def _reason(value: int) -> str:
    """The reason's name in lower case, as in lines and metrics; its number where this release does not know it."""
    known = rerank_pb2.Reason.DESCRIPTOR.values_by_number
    return known[value].name.removeprefix("REASON_").lower() if value in known else str(value)


def _all(db: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, object]) -> list[Any]:
    return db.execute(sql, dict(values)).fetchall()


def _one(db: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, object]) -> Any:
    return db.execute(sql, dict(values)).fetchone()
