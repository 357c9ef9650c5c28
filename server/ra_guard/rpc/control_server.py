"""The control plane's gRPC server: ExperimentAdmin on one event loop, so that a replica's stream costs no thread.

Handlers are thin: admit, turn a message into a call of `ControlPlane`, turn the outcome into a message. What may
take time (the store, a wait for replicas) runs on threads; replicas are answered on the loop, from memory.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ra_guard.errors import Code, status_of
from ra_guard.experiments.condition import Condition
from ra_guard.experiments.plane import ControlPlane
from ra_guard.experiments.published import Answer
from ra_guard.rpc.auth import Authoriser, Metadata
from ra_guard.rpc.experiment_admin import ExperimentAdmin
from ra_guard.v1 import experiment_pb2 as wire

SERVICE: Final = "ra_guard.v1.ExperimentAdmin"
THREADS: Final = 32
"""Changes and reads under way at a time; a change holds its thread until the replicas have heard."""
STOPS: Final = frozenset({"Kill", "RollBack"})
"""Have threads of their own: a kill waits for no other call."""
MAX_MESSAGE_BYTES: Final = 1 << 20
STREAM_END_S: Final = 1.0

Context = grpc.aio.ServicerContext[Any, Any]
Say = Callable[[ControlPlane, wire.WatchRequest], wire.WatchResponse]


class WatchStreams:
    """The open Watch streams. All but `publish` run on the event loop."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: dict[str, set[asyncio.Event]] = {}

    def start(self) -> None:
        """Call once, on the loop."""
        self._loop = asyncio.get_running_loop()
        self._plane.subscribe(self.publish)

    def publish(self, key: str) -> None:
        """Wakes the streams of an experiment. Any thread may call."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, key)

    def _wake(self, key: str) -> None:
        for event in self._open.get(key, ()):
            event.set()

    async def watch(self, words: AsyncIterator[wire.WatchRequest], context: Context) -> None:
        """Answers each word at once, and says what is new unasked, until the replica or this instance leaves."""
        key: str | None = None
        last: wire.WatchRequest | None = None
        news = asyncio.Event()
        writing = asyncio.Lock()

        async def tell(say: Say, to: wire.WatchRequest) -> None:
            async with writing:
                await context.write(say(self._plane, to))

        async def push() -> None:
            while True:
                await news.wait()
                news.clear()
                if last is not None:
                    await tell(news_for, last)

        pushing = asyncio.create_task(push())
        try:
            async for word in words:
                if key is None:
                    key = word.key
                    self._open.setdefault(key, set()).add(news)
                last = word
                await tell(answer, word)
                if pushing.done():
                    pushing.result()
                if word.leaving:
                    return
        finally:
            pushing.cancel()
            if key is not None:
                self._close(key, news)

    def _close(self, key: str, news: asyncio.Event) -> None:
        self._open[key].discard(news)
        if not self._open[key]:
            del self._open[key]  # keys are what callers say: those that name no experiment must not pile up


def answer(plane: ControlPlane, word: wire.WatchRequest) -> wire.WatchResponse:
    """What a replica is told in answer to its word. Raises what `ControlPlane.hear` raises."""
    if word.leaving:
        plane.leave(word.key, word.replica)
        return _response(word, Answer(0, None, halt=False))
    condition = Condition(word.failing, word.critical_errors, word.started_unix_ns)
    return _response(word, plane.hear(word.key, word.replica, _held(word), condition))


def news_for(plane: ControlPlane, word: wire.WatchRequest) -> wire.WatchResponse:
    """What a replica whose last word that was is told unasked. Raises what `ControlPlane.answer` raises."""
    return _response(word, plane.answer(word.key, _held(word)))


def _held(word: wire.WatchRequest) -> tuple[int, int]:
    return word.acked_revision, word.acked_checksum


def _response(word: wire.WatchRequest, found: Answer) -> wire.WatchResponse:
    response = wire.WatchResponse(echoed_clock_ns=word.clock_ns, revision=found.revision, halt=found.halt)
    response.sent_at.GetCurrentTime()
    if found.sealed is not None:
        response.plan.ParseFromString(found.sealed)
    return response


class ControlServer:
    """Serves one control plane. `start` and `stop` run on the event loop."""

    def __init__(
        self,
        plane: ControlPlane,
        admin: ExperimentAdmin,
        authoriser: Authoriser,
        *,
        address: str,
        report: Callable[[BaseException], None],
    ) -> None:
        self._plane = plane
        self._admin = admin
        self._authoriser = authoriser
        self._report = report
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="control")
        self._stop_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="control-stop")
        self._streams = WatchStreams(plane)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                # The port is reserved by who starts this process, so that no stranger can share it.
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                # Replicas that died without a word are found out by pings; the lease does not wait for that.
                ("grpc.keepalive_time_ms", 10_000),
                ("grpc.keepalive_timeout_ms", 5_000),
            ]
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._server)
        self.port = self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Answers from here on."""
        self._streams.start()
        await self.tell_health()
        await self._server.start()

    async def tell_health(self) -> None:
        """SERVING while this instance holds the writer lease."""
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if self._plane.leads() else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", SERVICE):
            await self._health.set(service, status)

    async def stop(self) -> None:
        """Ends streams and calls: replicas go on to another instance, or come back."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(STREAM_END_S)
        for threads in (self._threads, self._stop_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _handlers(self) -> grpc.GenericRpcHandler:
        descriptor = wire.DESCRIPTOR.services_by_name["ExperimentAdmin"]
        methods: dict[str, Any] = {}
        for method in descriptor.methods:
            read = message_factory.GetMessageClass(method.input_type).FromString
            write = message_factory.GetMessageClass(method.output_type).SerializeToString
            if method.name == "Watch":
                methods[method.name] = grpc.stream_stream_rpc_method_handler(self._watching(), read, write)
            else:
                behaviour = self._polling() if method.name == "Poll" else self._answering(method.name)
                methods[method.name] = grpc.unary_unary_rpc_method_handler(behaviour, read, write)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _answering(self, method: str) -> Any:
        behave = self._admin.method(method)
        threads = self._stop_threads if method in STOPS else self._threads

        async def handle(request: Message, context: Context) -> Message:
            try:
                principal = self._authoriser.admit(method, _metadata(context))
                loop = asyncio.get_running_loop()
                answered: Message = await loop.run_in_executor(threads, behave, request, principal)
            except Exception as error:
                await self._abort(error, context)
                raise
            return answered

        return handle

    def _polling(self) -> Any:
        async def handle(request: wire.PollRequest, context: Context) -> wire.PollResponse:
            try:
                self._authoriser.admit("Poll", _metadata(context))
                return wire.PollResponse(answer=answer(self._plane, request.word))
            except Exception as error:
                await self._abort(error, context)
                raise

        return handle

    def _watching(self) -> Any:
        async def handle(words: AsyncIterator[wire.WatchRequest], context: Context) -> None:
            try:
                self._authoriser.admit("Watch", _metadata(context))
                await self._streams.watch(words, context)
            except Exception as error:  # noqa: BLE001
                await self._abort(error, context)

        return handle

    async def _abort(self, error: BaseException, context: Context) -> None:
        code = status_of(error)
        if code is Code.INTERNAL:
            self._report(error)
        await context.abort(grpc.StatusCode[code], str(error))


def _metadata(context: Context) -> Metadata:
    return [(key, value) for key, value in context.invocation_metadata() or ()]
