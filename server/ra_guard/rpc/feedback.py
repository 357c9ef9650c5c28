"""Feedback: what users did with a ranking, checked event by event and put into the feedback log.

A stream never fails for what is in it: an event that breaks a bound is counted under its cause and left out. It fails
when the log does (a full queue or disk), and the caller then sends it again: event ids count as seen only once they
are on disk, so that nothing is taken for a repetition of what was lost.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import grpc
import xxhash
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ra_guard._core import LogError
from ra_guard.errors import Code, TooManyStreams, status_of
from ra_guard.rpc.feedback_bounds import MAX_BATCH, NS_PER_S, Cause, cause_against, occurred_ns
from ra_guard.rpc.streams import OpenStream, OpenStreams
from ra_guard.v1 import feedback_pb2 as wire

SERVICE: Final = "ra_guard.v1.Feedback"

RECENT_GENERATION: Final = 250_000
"""Event ids that one worker remembers, up to twice as many: at most some 60 MB."""
FLUSH_EVERY: Final = 10_000
"""Events of one stream that may wait for the disk: bounds what a stream without an end holds in memory."""


class FeedbackLog(Protocol):
    """`_core.FeedbackLog`: raises LogError."""

    def append(self, received_unix_ns: int, events: Sequence[bytes]) -> None:
        """All of them or none; variant QueueFull when the writer is behind."""

    def flush(self) -> None:
        """Everything appended is on disk when it returns."""


class RecentEvents:
    """The latest event ids, by 128-bit hash, in two generations: the older goes when the newer is full. Thread-safe.

    It spares the log most repetitions. What it has forgotten is logged again, and whoever reads the log counts each
    event once.
    """

    def __init__(self, generation: int = RECENT_GENERATION) -> None:
        self._generation = generation
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()
        self._lock = threading.Lock()

    def __contains__(self, event_id: str) -> bool:
        hashed = _hash(event_id)
        return hashed in self._newer or hashed in self._older

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def add(self, event_ids: Iterable[str]) -> None:
        """Remembers them as the latest."""
        with self._lock:
            for event_id in event_ids:
                if len(self._newer) >= self._generation:
                    self._older, self._newer = self._newer, set()
                self._newer.add(_hash(event_id))


@dataclass
class FeedbackCounters:
    """What this process took in since its start; read by metrics."""

    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    rejected: Counter[Cause] = field(default_factory=Counter)
    streams: int = 0
    failed_streams: int = 0
    """Streams that the log's failure ended; their callers send again."""


class Feedback:
    """Answers Record. ``window_s`` says the feedback window of the plan in force; ``wall_ns`` is the time of day."""

    def __init__(
        self,
        log: FeedbackLog,
        window_s: Callable[[], int],
        wall_ns: Callable[[], int] = time.time_ns,
        recent: RecentEvents | None = None,
    ) -> None:
        self.counters = FeedbackCounters()
        self._log = log
        self._window_s = window_s
        self._wall_ns = wall_ns
        self._recent = RecentEvents() if recent is None else recent
        self._lock = threading.Lock()

    def record(self, batches: Iterable[bytes]) -> wire.FeedbackSummary:
        """Takes in serialised batches; what it counts as accepted is on disk when it returns. Raises LogError."""
        stream = _Stream(self._log, self._recent, self._window_s() * NS_PER_S)
        try:
            for batch in batches:
                stream.take(batch, self._wall_ns())
            stream.flush()
        except LogError:
            with self._lock:
                self.counters.failed_streams += 1
            raise
        self._count(stream)
        return stream.summary()

    def _count(self, stream: "_Stream") -> None:
        with self._lock:
            self.counters.streams += 1
            self.counters.accepted += stream.accepted
            self.counters.duplicates += stream.duplicates
            self.counters.late += stream.late
            self.counters.rejected.update(stream.rejected)


class _Stream:
    """One caller's stream: what it holds so far."""

    def __init__(self, log: FeedbackLog, recent: RecentEvents, window_ns: int) -> None:
        self._log = log
        self._recent = recent
        self._window_ns = window_ns
        self._unflushed: dict[str, None] = {}
        self.accepted = 0
        self.duplicates = 0
        self.late = 0
        self.rejected: Counter[Cause] = Counter()

    def take(self, batch: bytes, received_ns: int) -> None:
        """Checks one batch and appends what holds."""
        accepted: dict[str, bytes] = {}
        late = 0
        for payload, event in self._readable(batch):
            cause = cause_against(event, received_ns)
            if cause is not None:
                self.rejected[cause] += 1
            elif event.event_id in accepted or event.event_id in self._unflushed or event.event_id in self._recent:
                self.duplicates += 1
            else:
                accepted[event.event_id] = payload
                late += received_ns - occurred_ns(event) > self._window_ns
        if accepted:
            self._append(received_ns, list(accepted.values()))
            self._unflushed.update(dict.fromkeys(accepted))
            self.accepted += len(accepted)
            self.late += late
        if len(self._unflushed) >= FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """What was accepted is on disk, and known as seen from here on."""
        if self._unflushed:
            self._log.flush()
            self._recent.add(self._unflushed)
            self._unflushed = {}

    def summary(self) -> wire.FeedbackSummary:
        """For the caller."""
        return wire.FeedbackSummary(
            accepted=self.accepted,
            duplicates=self.duplicates,
            rejected={cause.value: count for cause, count in self.rejected.items()},
            late=self.late,
        )

    def _readable(self, batch: bytes) -> Iterator[tuple[bytes, wire.FeedbackEvent]]:
        """The events of a batch, each with the bytes that it came as: one broken text spoils no other event."""
        try:
            payloads: Sequence[bytes] = _FRAMES.FromString(batch).events
        except DecodeError:
            self.rejected[Cause.UNREADABLE_BATCH] += 1
            return
        if len(payloads) > MAX_BATCH:
            self.rejected[Cause.BATCH_TOO_LARGE] += len(payloads)
            return
        for payload in payloads:
            try:
                event = wire.FeedbackEvent.FromString(payload)
            except DecodeError:
                self.rejected[Cause.UNREADABLE] += 1
                continue
            yield payload, event

    def _append(self, received_ns: int, events: Sequence[bytes]) -> None:
        """A full queue is waited for once: its writer empties it with a flush."""
        try:
            self._log.append(received_ns, events)
        except LogError as error:
            if error.variant != "QueueFull":
                raise
            self._log.flush()
            self._log.append(received_ns, events)


class RecordStream:
    """Record on the wire. Its streams count among those that a worker serves, and a drain cuts the idle ones."""

    def __init__(self, feedback: Feedback, streams: OpenStreams, report: Callable[[BaseException], None]) -> None:
        self._feedback = feedback
        self._streams = streams
        self._report = report
        # One thread more than streams, to tell the one too many why it is refused.
        self.experimental_thread_pool = ThreadPoolExecutor(streams.limit + 1, thread_name_prefix="feedback")
        """Where grpcio runs this behaviour: a caller that keeps a stream open holds no admin thread."""

    def __call__(self, batches: Iterable[bytes], context: grpc.ServicerContext) -> wire.FeedbackSummary:
        """Answers once the caller has sent its last batch."""
        try:
            stream = self._streams.open(context)
        except TooManyStreams as error:
            context.abort(grpc.StatusCode[error.status_code], str(error))
        try:
            return self._feedback.record(_marking_idle(batches, stream))
        except grpc.RpcError:
            raise  # the caller is gone: nobody to tell
        except BaseException as error:  # noqa: BLE001 (a panic of the core is no Exception)
            code = status_of(error)
            if code is Code.INTERNAL:
                self._report(error)
            context.abort(grpc.StatusCode[code], str(error))
        finally:
            self._streams.close(stream)


def feedback_handlers(record: RecordStream) -> grpc.GenericRpcHandler:
    """The service's one RPC. Batches arrive as bytes: events are logged as they came."""
    handler: grpc.RpcMethodHandler[bytes, wire.FeedbackSummary] = grpc.stream_unary_rpc_method_handler(
        record, response_serializer=wire.FeedbackSummary.SerializeToString
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Record": handler})


def _marking_idle(batches: Iterable[bytes], stream: OpenStream) -> Iterator[bytes]:
    for batch in batches:
        stream.idle = False
        yield batch
        stream.idle = True
    stream.idle = False


def _hash(event_id: str) -> bytes:
    return xxhash.xxh3_128_digest(event_id.encode())


def _frames() -> Any:
    """FeedbackBatch with its events left as bytes; the two are the same on the wire."""
    file = descriptor_pb2.FileDescriptorProto(name="feedback_frames.proto", package="ra_guard", syntax="proto3")
    batch = file.message_type.add(name="FeedbackFrames")
    kind = descriptor_pb2.FieldDescriptorProto
    number = wire.FeedbackBatch.DESCRIPTOR.fields_by_name["events"].number
    batch.field.add(name="events", number=number, type=kind.TYPE_BYTES, label=kind.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    found = pool.FindMessageTypeByName("ra_guard.FeedbackFrames")  # type: ignore[no-untyped-call]
    return message_factory.GetMessageClass(found)


_FRAMES: Final = _frames()
