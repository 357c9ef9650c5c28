"""Feedback over the wire into the core's own log: what is acknowledged is on disk, whatever becomes of the process."""

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from ra_guard import _core
from ra_guard.rpc.feedback import Feedback, RecordStream, feedback_handlers
from ra_guard.rpc.feedback_bounds import NS_PER_S
from ra_guard.rpc.streams import OpenStreams
from ra_guard.v1 import feedback_pb2 as wire

NOW_NS = 1_800_000_000 * NS_PER_S
FOLDER = "feedback"


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Any]:
    log = _core.FeedbackLog(folder=str(tmp_path / FOLDER), writer="0", queue_bytes=65_536)
    service = Feedback(log, window_s=lambda: 60, wall_ns=lambda: NOW_NS)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    unforeseen: list[BaseException] = []
    server.add_generic_rpc_handlers((feedback_handlers(RecordStream(service, OpenStreams(2), unforeseen.append)),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.stream_unary(
            "/ra_guard.v1.Feedback/Record", response_deserializer=wire.FeedbackSummary.FromString
        )
    server.stop(None).wait()
    assert unforeseen == []


def batch(numbers: range) -> bytes:
    events = [wire.FeedbackEvent(event_id=f"e-{number}", request_id="r") for number in numbers]
    for event in events:
        event.occurred_at.FromNanoseconds(NOW_NS - NS_PER_S)
        event.rating.stars = 5
    return wire.FeedbackBatch(events=events).SerializeToString()


def on_disk(folder: Path) -> list[str]:
    """What a reader finds in the files as they lie, open ones included."""
    return [
        wire.FeedbackEvent.FromString(event).event_id
        for path in sorted((folder / FOLDER).iterdir())
        for received_ns, event in _core.read_feedback(str(path))
        if received_ns == NOW_NS
    ]


def test_what_is_acknowledged_is_on_disk(record: Any, tmp_path: Path) -> None:
    summary = record(iter([batch(range(10)), batch(range(5, 20))]), timeout=30)
    assert (summary.accepted, summary.duplicates) == (20, 5)
    assert on_disk(tmp_path) == [f"e-{number}" for number in range(20)]


def test_more_than_the_queue_holds_goes_through_it(record: Any, tmp_path: Path) -> None:
    batches = [batch(range(start, start + 500)) for start in range(0, 5000, 500)]
    summary = record(iter(batches), timeout=60)
    assert (summary.accepted, dict(summary.rejected)) == (5000, {})
    assert sorted(on_disk(tmp_path)) == sorted(f"e-{number}" for number in range(5000))
