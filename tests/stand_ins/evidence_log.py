"""Small exports of an experiment, written as an export writes them: segments of calls and feedback, plans, counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from ra_guard.logs.columns import COUNTS_SCHEMA, FEEDBACK_SCHEMA, RunCounts, counts_table, plans_table
from ra_guard.v1 import plan_pb2

KEY = "mine"
NS = 1_000_000_000
MINUTE_S = 60
START_S = 1_000_020
"""At the start of a minute."""
EPOCH = 1


@dataclass(frozen=True)
class Call:
    request_id: str
    user_id: str
    at_s: int = START_S
    arm: int = 1
    served: int | None = None
    """None: the assigned one."""
    reason: int = 0
    mode: int = plan_pb2.MODE_AB
    key: str = KEY
    revision: int = 1
    domain: str = ""
    elapsed_us: int = 1_000
    query: str = ""
    candidates: tuple[str, ...] = ("a", "b", "c")
    ranking: tuple[int, ...] = (0, 1, 2)
    top_k: int = 0


@dataclass(frozen=True)
class Event:
    event_id: str
    request_id: str
    kind: str = "click"
    occurred_s: int = START_S
    late_s: int = 0
    candidate_id: str | None = None
    stars: int | None = None
    grade: int | None = None

    @property
    def received_s(self) -> int:
        return self.occurred_s + self.late_s


def write(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def _placed(table: pa.Table, segment: int, writer: str) -> pa.Table:
    rows = table.num_rows
    for name, column in {
        "writer": pa.array([writer] * rows, pa.string()),
        "run": pa.array([7] * rows, pa.uint64()),
        "sequence": pa.array([segment] * rows, pa.uint32()),
        "record": pa.array(range(rows), pa.uint32()),
    }.items():
        table = table.append_column(name, column)
    return table


def write_calls(folder: Path, segment: int, calls: Sequence[Call], writer: str = "0") -> Path:
    columns = {
        "unix_ns": pa.array([call.at_s * NS for call in calls], pa.uint64()),
        "request_id": pa.array([call.request_id for call in calls], pa.string()),
        "user_id": pa.array([call.user_id for call in calls], pa.string()),
        "query_text": pa.array([call.query for call in calls], pa.string()),
        "domain": pa.array([call.domain for call in calls], pa.string()),
        "mode": pa.array([call.mode for call in calls], pa.uint8()),
        "assigned_arm": pa.array([call.arm for call in calls], pa.uint8()),
        "served_arm": pa.array([call.arm if call.served is None else call.served for call in calls], pa.uint8()),
        "reason": pa.array([call.reason for call in calls], pa.uint8()),
        "experiment_key": pa.array([call.key for call in calls], pa.string()),
        "plan_revision": pa.array([call.revision for call in calls], pa.uint64()),
        "elapsed_us": pa.array([call.elapsed_us for call in calls], pa.uint32()),
        "top_k": pa.array([call.top_k for call in calls], pa.uint32()),
        "candidate_ids": pa.array([list(call.candidates) for call in calls], pa.list_(pa.string())),
        "ranking": pa.array([list(call.ranking) for call in calls], pa.list_(pa.uint16())),
    }
    return write(_segment(folder, "candidates", segment, writer), _placed(pa.table(columns), segment, writer))


def write_events(folder: Path, segment: int, events: Sequence[Event], writer: str = "0") -> Path:
    rows = [
        {
            "received_unix_ns": event.received_s * NS,
            "occurred_unix_ns": event.occurred_s * NS,
            "event_id": event.event_id,
            "request_id": event.request_id,
            "kind": event.kind,
            "candidate_id": event.candidate_id,
            "stars": event.stars,
            "grade": event.grade,
        }
        for event in events
    ]
    table = pa.Table.from_pylist(rows, schema=FEEDBACK_SCHEMA)
    return write(_segment(folder, "feedback", segment, writer), _placed(table, segment, writer))


def write_plans(folder: Path, plans: Iterable[tuple[str, int, int, int]]) -> Path:
    """Of key, revision, epoch and feedback window in seconds."""
    table = plans_table(
        plan_pb2.Plan(experiment_key=key, revision=revision, epoch=epoch, feedback_window_s=window_s)
        for key, revision, epoch, window_s in plans
    )
    return write(folder / "plans.parquet", table)


def write_counts(folder: Path, runs: Sequence[RunCounts]) -> Path:
    table = counts_table(runs) if runs else pa.Table.from_pylist([], schema=COUNTS_SCHEMA)
    return write(folder / "counts.parquet", table)


def _segment(folder: Path, kind: str, segment: int, writer: str) -> Path:
    return folder / kind / "day=1970-01-12" / f"{writer}-{7:020}-{segment:06}.parquet"
