"""Feedback.Record: what is accepted, what is rejected in which words, what a failing log leaves; and on the wire."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard import _core
from ra_guard.rpc import feedback_bounds as bounds
from ra_guard.rpc.feedback import Feedback, RecentEvents, RecordStream, feedback_handlers
from ra_guard.rpc.feedback_bounds import Cause
from ra_guard.rpc.streams import OpenStreams
from ra_guard.v1 import feedback_pb2 as wire

from tests.stand_ins.serving_core import core_error

NOW_S = 1_800_000_000
DAY_S = 86_400


class Log:
    """A feedback log that keeps what is flushed, and fails when told to."""

    def __init__(self) -> None:
        self.on_disk: list[bytes] = []
        self.queued: list[bytes] = []
        self.room = 10**9
        self.broken: str | None = None

    def append(self, received_unix_ns: int, events: Sequence[bytes]) -> None:
        if len(self.queued) + len(events) > self.room:
            raise core_error(_core.LogError, "QueueFull")
        self.queued += events

    def flush(self) -> None:
        if self.broken:
            raise core_error(_core.LogError, self.broken)
        self.on_disk += self.queued
        self.queued = []


def event(event_id: str = "e-1", **changes: Any) -> wire.FeedbackEvent:
    made = wire.FeedbackEvent(event_id=event_id, request_id="r-1", click=wire.Click(candidate_id="image-1"))
    made.occurred_at.seconds = NOW_S - 5
    for name, value in changes.items():
        if value is None:
            made.ClearField(name)
        elif isinstance(value, str):
            setattr(made, name, value)
        else:
            getattr(made, name).CopyFrom(value)
    return made


def batch(*events: wire.FeedbackEvent) -> bytes:
    return wire.FeedbackBatch(events=events).SerializeToString()


def feedback(log: Log, **options: Any) -> Feedback:
    return Feedback(log, window_s=lambda: DAY_S, wall_ns=lambda: NOW_S * bounds.NS_PER_S, **options)


def occurring(seconds: int, nanos: int = 0) -> wire.FeedbackEvent:
    made = event()
    made.occurred_at.seconds, made.occurred_at.nanos = seconds, nanos
    return made


TOO_MANY = batch(*(event(f"e-{number}") for number in range(bounds.MAX_BATCH + 1)))
BROKEN_TEXT = event("broken", request_id="r-?").SerializeToString().replace(b"r-?", b"r-\xff")

REJECTED: list[tuple[Cause, bytes]] = [
    (Cause.UNREADABLE_BATCH, b"\x0a\xff"),
    (Cause.BATCH_TOO_LARGE, TOO_MANY),
    (Cause.UNREADABLE, b"\x0a" + bytes([len(BROKEN_TEXT)]) + BROKEN_TEXT),
    (Cause.EVENT_ID_MISSING, batch(event(""))),
    (Cause.EVENT_ID_TOO_LONG, batch(event("é" * 33))),
    (Cause.REQUEST_ID_MISSING, batch(event(request_id=""))),
    (Cause.REQUEST_ID_TOO_LONG, batch(event(request_id="r" * 65))),
    (Cause.OCCURRED_AT_MISSING, batch(event(occurred_at=None))),
    (Cause.OCCURRED_AT_INVALID, batch(occurring(0))),
    (Cause.OCCURRED_AT_AHEAD, batch(occurring(NOW_S + bounds.MAX_AHEAD_S, 1))),
    (Cause.KIND_MISSING, batch(event(click=None))),
    (Cause.DEPTH, batch(event(impression=wire.Impression(depth=0)))),
    (Cause.CANDIDATE_ID_MISSING, batch(event(click=wire.Click()))),
    (Cause.CANDIDATE_ID_TOO_LONG, batch(event(judgment=wire.Judgment(candidate_id="i" * 129)))),
    (Cause.STARS, batch(event(rating=wire.Rating(stars=6)))),
    (Cause.TEXT_TOO_LONG, batch(event(complaint=wire.Complaint(text="é" * 257)))),
    (Cause.GRADE, batch(event(judgment=wire.Judgment(candidate_id="i", grade=11)))),
]


def test_every_cause_has_a_case() -> None:
    assert {cause for cause, _ in REJECTED} == set(Cause)


@pytest.mark.parametrize(("cause", "sent"), REJECTED, ids=[cause.name for cause, _ in REJECTED])
def test_a_broken_bound_is_counted_under_its_cause_and_spoils_nothing_else(cause: Cause, sent: bytes) -> None:
    log = Log()
    service = feedback(log)
    summary = service.record([sent, batch(event("sound"))])
    number = bounds.MAX_BATCH + 1 if cause is Cause.BATCH_TOO_LARGE else 1
    assert dict(summary.rejected) == {cause.value: number}
    assert (summary.accepted, summary.duplicates, summary.late) == (1, 0, 0)
    assert [wire.FeedbackEvent.FromString(kept).event_id for kept in log.on_disk] == ["sound"]
    assert service.counters.rejected == {cause: number}


@pytest.mark.parametrize(
    "made",
    [
        event("e" * 64, request_id="r" * 64),
        occurring(1),
        occurring(NOW_S + bounds.MAX_AHEAD_S),
        event(impression=wire.Impression(depth=1)),
        event(impression=wire.Impression(depth=bounds.MAX_DEPTH)),
        event(rating=wire.Rating(stars=1)),
        event(rating=wire.Rating(stars=5)),
        event(complaint=wire.Complaint()),
        event(complaint=wire.Complaint(candidate_id="i" * 128, text="t" * 512)),
        event(judgment=wire.Judgment(candidate_id="i", grade=0)),
        event(judgment=wire.Judgment(candidate_id="i", grade=10)),
    ],
    ids=str,
)
def test_the_bounds_themselves_are_inside(made: wire.FeedbackEvent) -> None:
    log = Log()
    assert feedback(log).record([batch(made)]).accepted == 1
    assert log.on_disk == [made.SerializeToString()]


def test_one_broken_text_spoils_no_neighbour() -> None:
    log = Log()
    sent = batch(event("a")) + b"\x0a" + bytes([len(BROKEN_TEXT)]) + BROKEN_TEXT + batch(event("b"))
    summary = feedback(log).record([sent])
    assert (summary.accepted, dict(summary.rejected)) == (2, {Cause.UNREADABLE.value: 1})


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6), max_size=6))
def test_each_event_is_accepted_once_however_often_it_comes(streams: list[list[str]]) -> None:
    log = Log()
    service = feedback(log)
    sent = [event_id for stream in streams for event_id in stream]
    summaries = [service.record([batch(event(event_id)) for event_id in stream]) for stream in streams]
    assert sorted(wire.FeedbackEvent.FromString(kept).event_id for kept in log.on_disk) == sorted(set(sent))
    assert sum(summary.accepted for summary in summaries) == len(set(sent)) == service.counters.accepted
    assert sum(summary.duplicates for summary in summaries) == len(sent) - len(set(sent))


def test_late_is_accepted_and_counted() -> None:
    log = Log()
    on_time, late = occurring(NOW_S - DAY_S), occurring(NOW_S - DAY_S - 1)
    late.event_id = "late"
    summary = feedback(log).record([batch(on_time, late)])
    assert (summary.accepted, summary.late, len(log.on_disk)) == (2, 1, 2)


def test_what_a_failed_flush_lost_is_not_taken_for_a_repetition() -> None:
    log = Log()
    service = feedback(log)
    log.broken = "DiskFull"
    with pytest.raises(_core.LogError):
        service.record([batch(event())])
    assert (service.counters.accepted, service.counters.failed_streams) == (0, 1)
    log.broken, log.queued = None, []
    assert service.record([batch(event())]).accepted == 1
    assert len(log.on_disk) == 1


def test_a_full_queue_is_waited_for_once() -> None:
    log = Log()
    log.room = 2
    summary = feedback(log).record([batch(event("a"), event("b")), batch(event("c"))])
    assert (summary.accepted, len(log.on_disk)) == (3, 3)
    log.room = 0
    with pytest.raises(_core.LogError) as refused:
        feedback(log).record([batch(event("d"))])
    assert refused.value.variant == "QueueFull"


@given(st.integers(1, 5), st.lists(st.integers(0, 30), max_size=60))
def test_recent_events_are_the_latest_and_bounded(generation: int, ids: list[int]) -> None:
    recent = RecentEvents(generation)
    for number in ids:
        recent.add([str(number)])
    assert len(recent) <= 2 * generation
    assert all(str(number) in recent for number in ids[-generation:])
    assert "never" not in recent


@pytest.fixture
def channel() -> Iterator[Callable[..., grpc.Channel]]:
    """Channels to a real server over a service; ``serve(service, streams=...)`` makes one."""
    stops: list[Callable[[], object]] = []

    def serve(service: Feedback, streams: OpenStreams) -> grpc.Channel:
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
        unforeseen: list[BaseException] = []
        server.add_generic_rpc_handlers((feedback_handlers(RecordStream(service, streams, unforeseen.append)),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stops.append(lambda: server.stop(None).wait())
        made = grpc.insecure_channel(f"127.0.0.1:{port}")
        stops.append(made.close)
        return made

    yield serve
    for stop in reversed(stops):
        stop()


def record(channel: grpc.Channel) -> Any:
    return channel.stream_unary("/ra_guard.v1.Feedback/Record", response_deserializer=wire.FeedbackSummary.FromString)


def test_on_the_wire(channel: Callable[..., grpc.Channel]) -> None:
    log = Log()
    to = channel(feedback(log), OpenStreams(2))
    summary = record(to)(iter([batch(event("a"), event("a")), batch(event(""))]), timeout=20)
    assert (summary.accepted, summary.duplicates) == (1, 1)
    assert dict(summary.rejected) == {"event_id is missing": 1}
    assert record(to)(iter([]), timeout=20) == wire.FeedbackSummary()


def test_a_failing_log_is_a_status(channel: Callable[..., grpc.Channel]) -> None:
    log = Log()
    to = channel(feedback(log), OpenStreams(2))
    for variant, code in [("DiskFull", "RESOURCE_EXHAUSTED"), ("Io", "UNAVAILABLE")]:
        log.broken = variant
        with pytest.raises(grpc.RpcError) as failed:
            record(to)(iter([batch(event())]), timeout=20)
        assert failed.value.code() is grpc.StatusCode[code]


def test_one_stream_too_many_is_told_so_and_an_idle_one_can_be_cut(channel: Callable[..., grpc.Channel]) -> None:
    log, streams, done = Log(), OpenStreams(1), threading.Event()
    to = channel(feedback(log), streams)

    def endless() -> Iterator[bytes]:
        yield batch(event("a"))
        done.wait(20)

    held = record(to).future(endless(), timeout=20)
    while not log.queued:  # the stream is open once its first batch has arrived
        assert not held.done()
    with pytest.raises(grpc.RpcError) as refused:
        record(to)(iter([batch(event("b"))]), timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    while not held.done():
        streams.cut_idle()
    done.set()
    assert held.code() is grpc.StatusCode.CANCELLED
