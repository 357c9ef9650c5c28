"""Logs at the boundary to the core: counters, rolling, counts, columns that pyarrow takes, and feedback."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from ra_guard import _core
from ra_guard.v1 import feedback_pb2, plan_pb2, rerank_pb2

ARMS = ("unassigned", "control", "treatment", "not_enrolled")


@pytest.fixture
def engine(tmp_path: Path) -> _core.Engine:
    """Everyone is enrolled; without a gallery every call is answered, and logged, with the baseline."""
    engine = _core.Engine(query_cache_entries=1, log_dir=str(tmp_path), log_writer="w0")
    weights = rerank_pb2.Weights(cosine=1)
    plan = plan_pb2.Plan(revision=1, experiment_key="test", ramp_bp=5000, lease_s=60, default_weights=weights)
    engine.publish_plan(_core.seal_plan(plan.SerializeToString()))
    return engine


def request(number: int) -> rerank_pb2.RerankRequest:
    return rerank_pb2.RerankRequest(
        request_id=f"r-{number}",
        user_id=f"user-{number}",
        text=f"query {number}",
        domain="",
        candidate_ids=[f"image-{place}" for place in range(number + 1)],
        baseline_scores=[0.5 * place for place in range(number + 1)],
        top_k=number,
    )


def call(engine: _core.Engine, number: int) -> _core.Answer:
    return engine.rerank(request(number).SerializeToString())


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def arrow(layout: str, count: int, buffers: Sequence[bytes]) -> pa.Array:
    """A column as an export makes it."""
    plain = {"u8": pa.uint8(), "u16": pa.uint16(), "u32": pa.uint32(), "u64": pa.uint64(), "f32": pa.float32()}
    held = [pa.py_buffer(buffer) for buffer in buffers]
    if layout == "utf8":
        return pa.Array.from_buffers(pa.utf8(), count, [None, *held])
    if not layout.startswith("list<"):
        return pa.Array.from_buffers(plain[layout], count, [None, *held])
    inner = layout.removeprefix("list<").removesuffix(">")
    (items,) = pa.Array.from_buffers(pa.int32(), 1, [None, held[0]], offset=count).to_pylist()
    values = arrow(inner, items, buffers[1:])
    return pa.Array.from_buffers(pa.list_(values.type), count, [None, held[0]], children=[values])


def test_what_was_offered_is_counted_where_it_outlives_the_process(engine: _core.Engine, tmp_path: Path) -> None:
    arms = [ARMS[call(engine, number).assigned_arm] for number in range(20)]
    counts = {arm: arms.count(arm) for arm in ARMS}
    assert counts["control"]
    assert counts["treatment"]
    counters = engine.log_counters()
    assert {arm: counters[f"offered_{arm}"] for arm in ARMS} == counts
    assert not any(counters[f"dropped_{arm}"] for arm in ARMS)
    engine.roll_log()
    engine.roll_log()
    said = _core.read_counts(str(only(tmp_path, "*.counts")))
    run = said.pop("run")
    assert said == {"writer": "w0", "closed": False, "alive": True, "offered": counts}
    assert only(tmp_path, "*.log").name == f"w0-{run:020}-000000.log"
    engine.close_log()
    assert _core.read_counts(str(only(tmp_path, "*.counts")))["closed"]


def test_a_segment_is_read_as_columns(engine: _core.Engine, tmp_path: Path) -> None:
    calls = [call(engine, number) for number in range(5)]
    engine.close_log()
    segment = str(only(tmp_path, "*.log"))
    columns = _core.read_log_columns(segment)
    table = pa.table({name: arrow(layout, len(calls), buffers) for name, (layout, buffers) in columns.items()})
    table.validate(full=True)
    requests = [request(number) for number in range(5)]
    records = [_core.describe_record(record) for record in _core.read_log(segment)]
    for row, asked, record in zip(table.to_pylist(), requests, records, strict=True):
        assert (row["request_id"], row["user_id"], row["query_text"]) == (asked.request_id, asked.user_id, asked.text)
        assert (row["candidate_ids"], row["top_k"]) == (list(asked.candidate_ids), asked.top_k)
        assert row["baseline_scores"] == list(asked.baseline_scores)
        assert (row["cosine"], row["score"], bytes(row["states"])) == ([], [], record["states"])
        for name in ("unix_ns", "elapsed_us", "mode", "assigned_arm", "served_arm", "status", "reason", "ranking"):
            assert row[name] == record[name]


@pytest.mark.parametrize("reason", [rerank_pb2.REASON_DEADLINE, rerank_pb2.REASON_OVERLOAD, rerank_pb2.REASON_INTERNAL])
def test_a_fault_is_logged_in_either_arm_with_the_time_that_the_call_took(
    engine: _core.Engine, tmp_path: Path, reason: rerank_pb2.Reason
) -> None:
    for number in range(20):
        engine.fall_back(request(number).SerializeToString(), reason, wait_ns=number * 1_000_000)
    engine.close_log()
    records = [_core.describe_record(record) for record in _core.read_log(str(only(tmp_path, "*.log")))]
    assert {record["assigned_arm"] for record in records} == {rerank_pb2.ARM_CONTROL, rerank_pb2.ARM_TREATMENT}
    assert {record["served_arm"] for record in records} == {rerank_pb2.ARM_CONTROL}
    assert [record["reason"] for record in records] == [reason] * 20
    assert all(number * 1_000 <= record["elapsed_us"] for number, record in enumerate(records))  # type: ignore[operator]
    assert all(record["elapsed_us"] for record in records), "0 would mean unknown"


def test_an_engine_without_a_log_has_nothing_to_wait_for() -> None:
    engine = _core.Engine(query_cache_entries=1)
    engine.flush_log()
    engine.roll_log()
    engine.close_log()
    assert not any(engine.log_counters().values())


def event(number: int) -> bytes:
    click = feedback_pb2.Click(candidate_id="image-0")
    return feedback_pb2.FeedbackEvent(event_id=f"e-{number}", request_id="r-0", click=click).SerializeToString()


def test_feedback_is_on_disk_once_flushed(tmp_path: Path) -> None:
    log = _core.FeedbackLog(folder=str(tmp_path), writer="w0")
    log.append(7, [event(0), event(1)])
    log.append(8, [])
    log.flush()
    assert _core.read_feedback(str(only(tmp_path, "*.open"))) == [(7, event(0)), (7, event(1))]
    log.roll()
    segment = str(only(tmp_path, "*.log"))
    assert _core.read_log(segment) == [(7).to_bytes(8, "little") + event(number) for number in range(2)]
    with pytest.raises(_core.LogError) as caught:
        _core.read_log_columns(segment)
    assert caught.value.variant == "WrongKind"
    assert log.counters() == {"written": 2, "segments": 1, "write_errors": 0, "bytes": 2 * (12 + 8 + len(event(0)))}
    log.close()
    with pytest.raises(_core.LogError) as caught:
        log.append(9, [event(2)])
    assert caught.value.variant == "Closed"


def test_feedback_without_room_is_refused_whole(tmp_path: Path) -> None:
    log = _core.FeedbackLog(folder=str(tmp_path), writer="w0", queue_bytes=200)
    with pytest.raises(_core.LogError) as caught:
        log.append(1, [b"x" * 60, b"y" * 60])
    assert caught.value.variant == "QueueFull"
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_threads_that_flush_find_their_events(tmp_path: Path) -> None:
    log = _core.FeedbackLog(folder=str(tmp_path), writer="w0", segment_bytes=600)

    def record(thread: int) -> None:
        for number in range(20):
            log.append(thread, [event(number)])
            log.flush()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = [pair for path in sorted(tmp_path.glob("*.log")) for pair in _core.read_feedback(str(path))]
    for number in range(4):
        assert [said for time, said in found if time == number] == [event(each) for each in range(20)]


def test_what_is_no_counts_file_is_refused_by_name(tmp_path: Path) -> None:
    for name, content, variant in [("a", b"else", "NotCounts"), ("b", b"RAGCNTS\n", "TornCounts")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(_core.LogError) as caught:
            _core.read_counts(str(tmp_path / name))
        assert caught.value.variant == variant
