"""The Parquet tables of the logs, built from what the core reads: candidates from its buffers, feedback by event.

FORMAT.md describes every column. Candidate segments become Arrow arrays without a Python object per record.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from google.protobuf.message import DecodeError

from ra_guard.logs.errors import NotASegment
from ra_guard.logs.layout import Run, Segment
from ra_guard.logs.plans import feedback_window_s, retention_days
from ra_guard.v1 import feedback_pb2, plan_pb2

SCHEMA_VERSION: Final = b"2"
"""Rises when a column is added, renamed or means something else: files of another version are exported again."""
VERSION_KEY: Final = b"ra_guard.schema"

Buffers = Mapping[str, tuple[str, Sequence[bytes]]]
"""What `_core.read_log_columns` returns: type name and Arrow-layout buffers of every column."""

_NS_PER_S = 1_000_000_000

_FIXED: Final[dict[str, tuple[Any, int]]] = {
    "u8": (pa.uint8(), 1),
    "u16": (pa.uint16(), 2),
    "u32": (pa.uint32(), 4),
    "u64": (pa.uint64(), 8),
    "f32": (pa.float32(), 4),
}

FEEDBACK_SCHEMA: Final = pa.schema(
    [
        ("received_unix_ns", pa.uint64()),
        ("occurred_unix_ns", pa.int64()),
        ("event_id", pa.string()),
        ("request_id", pa.string()),
        ("kind", pa.string()),
        ("candidate_id", pa.string()),
        ("depth", pa.uint32()),
        ("stars", pa.uint32()),
        ("grade", pa.uint32()),
        ("text", pa.string()),
    ]
)
PLANS_SCHEMA: Final = pa.schema(
    [
        ("experiment_key", pa.string()),
        ("plan_revision", pa.uint64()),
        ("epoch", pa.uint32()),
        ("salt", pa.string()),
        ("mode", pa.uint32()),
        ("ramp_bp", pa.uint32()),
        ("killed", pa.bool_()),
        ("feedback_window_s", pa.uint32()),
        ("retention_days", pa.uint32()),
    ]
)
COUNTS_SCHEMA: Final = pa.schema(
    [
        ("writer", pa.string()),
        ("run", pa.uint64()),
        ("ended", pa.bool_()),
        ("closed", pa.bool_()),
        ("segments", pa.uint64()),
        ("whole", pa.bool_()),
        ("offered_unassigned", pa.uint64()),
        ("offered_control", pa.uint64()),
        ("offered_treatment", pa.uint64()),
        ("offered_not_enrolled", pa.uint64()),
    ]
)


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What one run offered to its log, by assigned arm, as its counts file says."""

    run: Run
    ended: bool
    """The run can offer nothing any more."""
    closed: bool
    """It ended by itself, and says so."""
    segments: int
    """Of this run among the objects, whatever their day."""
    whole: bool
    """Its first day is still among the objects, so that retention took none of its segments."""
    offered_unassigned: int
    offered_control: int
    offered_treatment: int
    offered_not_enrolled: int


def candidates_table(segment: Segment, columns: Buffers) -> Any:
    """Rows in the segment's order. Raises NotASegment for a column type that is not known here."""
    rows = len(columns["unix_ns"][1][0]) // 8
    arrays = {name: _array(name, kind, buffers, rows) for name, (kind, buffers) in columns.items()}
    return _versioned(pa.table({**arrays, **_place(segment, rows)}))


def request_ids(columns: Buffers) -> list[str]:
    """The request id of every record of a candidate segment, in order."""
    rows = len(columns["unix_ns"][1][0]) // 8
    return [str(request_id) for request_id in _strings(rows, columns["request_id"][1]).to_pylist()]


def feedback_table(segment: Segment, received: Sequence[tuple[int, bytes]]) -> Any:
    """One row an event, in the order in which they were received, repetitions included. Raises NotASegment."""
    table = pa.Table.from_pylist([_event(segment, at_ns, event) for at_ns, event in received], schema=FEEDBACK_SCHEMA)
    for name, column in _place(segment, len(received)).items():
        table = table.append_column(name, column)
    return _versioned(table)


def plans_table(plans: Iterable[plan_pb2.Plan]) -> Any:
    """One row a plan, with the defaults of plan.proto filled in."""
    rows = [
        {
            "experiment_key": plan.experiment_key,
            "plan_revision": plan.revision,
            "epoch": plan.epoch,
            "salt": plan.salt,
            "mode": plan.mode or plan_pb2.MODE_AB,
            "ramp_bp": plan.ramp_bp,
            "killed": plan.killed,
            "feedback_window_s": feedback_window_s(plan),
            "retention_days": retention_days(plan),
        }
        for plan in plans
    ]
    return _versioned(pa.Table.from_pylist(rows, schema=PLANS_SCHEMA))


def counts_table(runs: Iterable[RunCounts]) -> Any:
    """One row a run."""
    rows = [
        {
            "writer": each.run.writer,
            "run": each.run.run,
            "ended": each.ended,
            "closed": each.closed,
            "segments": each.segments,
            "whole": each.whole,
            "offered_unassigned": each.offered_unassigned,
            "offered_control": each.offered_control,
            "offered_treatment": each.offered_treatment,
            "offered_not_enrolled": each.offered_not_enrolled,
        }
        for each in runs
    ]
    return _versioned(pa.Table.from_pylist(rows, schema=COUNTS_SCHEMA))


def _array(name: str, kind: str, buffers: Sequence[bytes], rows: int) -> Any:
    """An Arrow array over the core's buffers, without a copy."""
    if kind in _FIXED:
        return pa.Array.from_buffers(_FIXED[kind][0], rows, [None, pa.py_buffer(buffers[0])])
    if kind == "utf8":
        return _strings(rows, buffers)
    element = kind.removeprefix("list<").removesuffix(">")
    if not kind.startswith("list<") or (element != "utf8" and element not in _FIXED):
        raise NotASegment(
            f"column {name}: found type {kind!r}, wanted one of FORMAT.md's; use the core of this release"
        )
    if element == "utf8":
        values = _strings(len(buffers[1]) // 4 - 1, buffers[1:])
    else:
        value_type, width = _FIXED[element]
        values = pa.Array.from_buffers(value_type, len(buffers[1]) // width, [None, pa.py_buffer(buffers[1])])
    return pa.Array.from_buffers(pa.list_(values.type), rows, [None, pa.py_buffer(buffers[0])], children=[values])


def _strings(rows: int, buffers: Sequence[bytes]) -> Any:
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(buffers[0]), pa.py_buffer(buffers[1])])


def _place(segment: Segment, rows: int) -> dict[str, Any]:
    """Where a row was logged: unique together, and in the order of writing."""
    return {
        "writer": pa.repeat(pa.scalar(segment.run.writer), rows),
        "run": pa.repeat(pa.scalar(segment.run.run, pa.uint64()), rows),
        "sequence": pa.repeat(pa.scalar(segment.sequence, pa.uint32()), rows),
        "record": pa.array(range(rows), pa.uint32()),
    }


def _event(segment: Segment, received_ns: int, serialised: bytes) -> dict[str, object]:
    try:
        event = feedback_pb2.FeedbackEvent.FromString(serialised)
    except DecodeError as error:
        raise NotASegment(f"{segment.stem}: found a payload that is no FeedbackEvent ({error})") from error
    kind = event.WhichOneof("kind") or ""
    said = getattr(event, kind) if kind else None
    return {
        "received_unix_ns": received_ns,
        "occurred_unix_ns": event.occurred_at.seconds * _NS_PER_S + event.occurred_at.nanos,
        "event_id": event.event_id,
        "request_id": event.request_id,
        "kind": kind,
        "candidate_id": getattr(said, "candidate_id", None),
        "depth": getattr(said, "depth", None),
        "stars": getattr(said, "stars", None),
        "grade": getattr(said, "grade", None),
        "text": getattr(said, "text", None),
    }


def _versioned(table: Any) -> Any:
    return table.replace_schema_metadata({VERSION_KEY: SCHEMA_VERSION})
