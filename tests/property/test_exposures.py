"""The join of calls, plans and feedback against a reference in plain Python, over whatever callers may do."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ra_guard.logs.columns import COUNTS_SCHEMA, FEEDBACK_SCHEMA, RunCounts, counts_table, plans_table
from ra_guard.logs.exposures import Arm, Exposures, exposures
from ra_guard.logs.layout import Run
from ra_guard.v1 import plan_pb2, rerank_pb2

KEY, OTHER = "mine", "other"
WINDOW_S = 100
NS = 1_000_000_000
NOW_S = 1_000_000
PLANS = [(KEY, 1, 1, WINDOW_S), (KEY, 2, 1, WINDOW_S), (KEY, 3, 2, 10), (OTHER, 1, 1, WINDOW_S)]
"""key, revision, epoch, window"""


@dataclass(frozen=True)
class Call:
    request_id: str
    user_id: str
    at_s: int
    assigned: int
    served: int
    mode: int
    reason: int
    key: str
    revision: int


@dataclass(frozen=True)
class Event:
    event_id: str
    request_id: str
    kind: str
    occurred_s: int
    received_s: int


calls = st.builds(
    Call,
    request_id=st.sampled_from("abcde"),
    user_id=st.sampled_from("uvw"),
    at_s=st.integers(NOW_S - 500, NOW_S),
    assigned=st.sampled_from([1, 2, 3]),
    served=st.sampled_from([1, 2, 4]),
    mode=st.sampled_from([0, 1, 3, 4]),
    reason=st.sampled_from([0, 1, 3, 10]),
    key=st.sampled_from([KEY, KEY, KEY, OTHER]),
    revision=st.sampled_from([1, 2, 3, 9]),
)
AGES_S = (0, 1, 9, 10, 11, 99, 100, 101, 400)
"""Around both windows, so that their edges are met."""
events = st.builds(
    lambda event_id, request_id, kind, late_s, ago_s: Event(
        event_id, request_id, kind, NOW_S - ago_s - late_s, NOW_S - ago_s
    ),
    event_id=st.sampled_from("123456"),
    request_id=st.sampled_from("abcdefg"),
    kind=st.sampled_from(["click", "rating"]),
    late_s=st.sampled_from(AGES_S),
    ago_s=st.sampled_from(AGES_S),
)


def write(folder: Path, name: str, table: pa.Table) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def place(rows: int) -> dict[str, pa.Array]:
    return {
        "writer": pa.array(["0"] * rows, pa.string()),
        "run": pa.array([7] * rows, pa.uint64()),
        "sequence": pa.array([0] * rows, pa.uint32()),
        "record": pa.array(range(rows), pa.uint32()),
    }


def candidates(logged: Sequence[Call]) -> pa.Table:
    return pa.table(
        {
            "unix_ns": pa.array([call.at_s * NS for call in logged], pa.uint64()),
            "request_id": pa.array([call.request_id for call in logged], pa.string()),
            "user_id": pa.array([call.user_id for call in logged], pa.string()),
            "mode": pa.array([call.mode for call in logged], pa.uint8()),
            "assigned_arm": pa.array([call.assigned for call in logged], pa.uint8()),
            "served_arm": pa.array([call.served for call in logged], pa.uint8()),
            "reason": pa.array([call.reason for call in logged], pa.uint8()),
            "experiment_key": pa.array([call.key for call in logged], pa.string()),
            "plan_revision": pa.array([call.revision for call in logged], pa.uint64()),
            **place(len(logged)),
        }
    )


def feedback(received: Sequence[Event]) -> pa.Table:
    rows = [
        {
            "received_unix_ns": event.received_s * NS,
            "occurred_unix_ns": event.occurred_s * NS,
            "event_id": event.event_id,
            "request_id": event.request_id,
            "kind": event.kind,
        }
        for event in received
    ]
    table = pa.Table.from_pylist(rows, schema=FEEDBACK_SCHEMA)
    for name, column in place(len(rows)).items():
        table = table.append_column(name, column)
    return table


def plans() -> pa.Table:
    return plans_table(
        plan_pb2.Plan(experiment_key=key, revision=revision, epoch=epoch, feedback_window_s=window)
        for key, revision, epoch, window in PLANS
    )


def computed(logged: Sequence[Call], received: Sequence[Event], runs: Sequence[RunCounts] = ()) -> Exposures:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, "plans.parquet", plans())
        write(folder, "counts.parquet", counts_table(runs) if runs else pa.Table.from_pylist([], schema=COUNTS_SCHEMA))
        write(folder, "candidates/day=1970-01-12/0.parquet", candidates(logged))
        if received:
            write(folder, "feedback/day=1970-01-12/0.parquet", feedback(received))
        return exposures(folder, KEY, NOW_S * NS)


def epoch_of(call: Call) -> int | None:
    return next((epoch for key, revision, epoch, _ in PLANS if (key, revision) == (call.key, call.revision)), None)


def window_of(call: Call | None) -> int:
    """A call under an unknown plan, and an event without a call, have the window of the experiment's latest plan."""
    known = {(key, revision): window for key, revision, _, window in PLANS}
    return known.get((call.key, call.revision), 10) if call else 10


def last_answers(logged: Sequence[Call]) -> dict[tuple[str, str], Call]:
    answers: dict[tuple[str, str], Call] = {}
    for call in logged:
        before = answers.get((call.request_id, call.user_id))
        if before is None or before.at_s <= call.at_s:
            answers[call.request_id, call.user_id] = call
    return answers


def fate(event: Event, answers: dict[tuple[str, str], Call]) -> tuple[str, Call | None]:
    found = [call for (request_id, _), call in answers.items() if request_id == event.request_id]
    call = found[0] if found else None
    if len(found) > 1:
        return "ambiguous", None
    if call is not None and call.key != KEY:
        return "elsewhere", None
    if event.received_s - event.occurred_s > window_of(call):
        return "late", None
    if call is not None:
        return "matched", call
    return ("waiting" if NOW_S - event.received_s <= window_of(None) else "unknown"), None


@settings(max_examples=60, deadline=None)
@given(st.lists(calls, min_size=1, max_size=25), st.lists(events, max_size=25))
@example([Call("a", "u", NOW_S, 1, 1, 1, 0, KEY, 3)], [Event("1", "g", "click", NOW_S - 20, NOW_S - 10)])
@example([Call("a", "u", NOW_S, 1, 1, 1, 0, KEY, 3)], [Event("1", "g", "click", NOW_S - 11, NOW_S - 11)])
def test_feedback_is_joined_as_the_reference_does(logged: list[Call], received: list[Event]) -> None:
    answers = last_answers(logged)
    first: dict[str, Event] = {}
    for event in received:
        known = first.get(event.event_id)
        if known is None or event.received_s < known.received_s:
            first[event.event_id] = event
    fates = Counter[str]()
    matched = Counter[tuple[int | None, int, str]]()
    for event in first.values():
        name, call = fate(event, answers)
        fates[name] += 1
        if call is not None:
            matched[epoch_of(call), call.assigned, event.kind] += 1
    found = computed(logged, received)
    counts = found.feedback
    assert counts.received == len(received)
    assert counts.duplicates == len(received) - len(first)
    for name in ("matched", "late", "ambiguous", "elsewhere", "waiting", "unknown"):
        assert getattr(counts, name) == fates[name], name
    assert matched == {
        (epoch.epoch, arm.arm, kind): count
        for epoch in found.epochs
        for arm in epoch.arms
        for kind, count in arm.feedback.items()
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(calls, min_size=1, max_size=40))
def test_exposures_are_counted_as_the_reference_does(logged: list[Call]) -> None:
    mine = [call for call in last_answers(logged).values() if call.key == KEY]
    found = computed(logged, [])
    assert {epoch.epoch for epoch in found.epochs} == {epoch_of(call) for call in mine}
    for epoch in found.epochs:
        within = [call for call in mine if epoch_of(call) == epoch.epoch]
        assert {arm.arm for arm in epoch.arms} == {call.assigned for call in within}
        assert epoch.first_revision == min(call.revision for call in within)
        assert epoch.last_revision == max(call.revision for call in within)
        seen = defaultdict(set)
        for call in within:
            if call.assigned in (1, 2):
                seen[call.user_id].add(call.assigned)
        assert epoch.crossed_users == sum(len(arms) > 1 for arms in seen.values())
        assert epoch.control_served_treatment == sum(
            (call.assigned, call.served) == (1, 2) and call.mode != 4 for call in within
        )
        for arm in epoch.arms:
            of_arm = [call for call in within if call.assigned == arm.arm]
            assert arm.users == len({call.user_id for call in of_arm})
            assert arm.calls == len(of_arm)
            names = Counter(
                rerank_pb2.Reason.Name(call.reason).removeprefix("REASON_").lower()
                for call in of_arm
                if call.assigned in (1, 2)
                and call.served not in (call.assigned, 4)
                and (call.mode, call.served) != (4, 2)
            )
            assert arm.mismatched == names
    repeated = sum(arm.repeated for epoch in found.epochs for arm in epoch.arms)
    last = last_answers(logged)
    assert repeated == sum(last[call.request_id, call.user_id].key == KEY for call in logged) - len(mine)


def run(writer: str, *, ended: bool, segments: int, offered: Sequence[int], whole: bool = True) -> RunCounts:
    return RunCounts(Run(writer, 7), ended, ended, segments, whole, *offered)


def call(assigned: int, key: str = KEY) -> Call:
    return Call("a", "u", NOW_S, assigned, 1, 1, 0, key, 1)


def test_losses_are_what_an_ended_run_offered_and_never_sealed() -> None:
    logged = [call(1), call(2), call(2)]
    losses = computed(logged, [], [run("0", ended=True, segments=1, offered=(0, 4, 2, 7))]).losses
    assert {loss.arm: (loss.offered, loss.sealed, loss.lost, loss.unsettled) for loss in losses.arms} == {
        Arm.unassigned: (0, 0, 0, 0),
        Arm.control: (4, 1, 3, 0),
        Arm.treatment: (2, 2, 0, 0),
        Arm.not_enrolled: (7, 0, 7, 0),
    }
    assert (losses.ended_runs, losses.living_runs, losses.partial_runs, losses.uncounted_runs) == (1, 0, 0, 0)


def test_what_a_living_run_has_under_way_is_not_called_lost() -> None:
    losses = computed([call(1)], [], [run("0", ended=False, segments=1, offered=(0, 4, 0, 0))]).losses
    assert [(loss.lost, loss.unsettled) for loss in losses.arms if loss.arm is Arm.control] == [(0, 3)]


def test_a_run_that_sealed_nothing_lost_everything() -> None:
    counted = [
        run("0", ended=True, segments=1, offered=(0, 1, 0, 0)),
        run("9", ended=True, segments=0, offered=[5] * 4),
    ]
    losses = computed([call(1)], [], counted).losses
    assert [loss.lost for loss in losses.arms] == [5, 5, 5, 5]


def test_nothing_is_said_of_runs_that_are_not_here_whole_or_have_no_counts() -> None:
    for segments, whole in [(2, True), (1, False)]:
        partial = run("0", ended=True, segments=segments, offered=(0, 9, 9, 9), whole=whole)
        losses = computed([call(1)], [], [partial]).losses
        assert (losses.partial_runs, [loss.lost for loss in losses.arms]) == (1, [0, 0, 0, 0])
    assert computed([call(1)], []).losses.uncounted_runs == 1
    outrun = computed([call(1)], [], [run("0", ended=True, segments=1, offered=(0, 0, 9, 9))]).losses
    behind = computed([call(1)], [], [run("0", ended=False, segments=1, offered=(0, 0, 9, 9))]).losses
    assert (behind.living_runs, [loss.unsettled for loss in behind.arms]) == (1, [0, 0, 9, 9])
    assert (outrun.outrun_runs, [loss.lost for loss in outrun.arms]) == (1, [0, 0, 0, 0])


def test_runs_of_other_experiments_are_theirs() -> None:
    losses = computed([call(1, OTHER)], [], [run("0", ended=True, segments=1, offered=(0, 9, 9, 9))]).losses
    assert (losses.ended_runs, losses.arms[1].lost) == (0, 0)
