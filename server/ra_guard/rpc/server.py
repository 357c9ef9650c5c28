"""The gRPC server of one worker process: what it serves, where it listens, how it drains."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import grpc
from grpc_channelz.v1 import channelz
from grpc_reflection.v1alpha import reflection

from ra_guard.rpc.health import Health
from ra_guard.rpc.streams import OpenStreams
from ra_guard.serving.executor import HandlerPool

ADMIN_THREADS: Final = 4
IDLE_STREAM_GRACE_S: Final = 1.0
"""When draining, a stream without a request for this long is cut; one with a request ends after its answer."""

QUIET_S: Final = 0.05
"""How long answers are held back when draining, so that callers who wait for one send nothing meanwhile."""
GOAWAY_S: Final = 0.01
"""How long callers are given to hear that this server leaves, before they hear its last answers."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a server serves: handlers, the names that reflection lists, and what its drain concerns."""

    handlers: Sequence[grpc.GenericRpcHandler]
    names: Sequence[str]
    health: Health
    streams: OpenStreams
    pool: HandlerPool


class Server:
    """A sync grpcio server. Several processes may listen on one port: the kernel spreads connections over them."""

    def __init__(self, services: Services, *, address: str, max_message_bytes: int, drain_grace_s: float) -> None:
        self._services = services
        self._drain_grace_s = drain_grace_s
        self._server = grpc.server(
            ThreadPoolExecutor(ADMIN_THREADS, thread_name_prefix="admin"),
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.enable_channelz", 1),
            ],
        )
        self._server.add_generic_rpc_handlers(services.handlers)
        services.health.add_to(self._server)
        channelz.add_channelz_servicer(self._server)
        own = ("grpc.health.v1.Health", "grpc.channelz.v1.Channelz", reflection.SERVICE_NAME)
        reflection.enable_server_reflection((*services.names, *own), self._server)
        self.port = self._server.add_insecure_port(address)

    def start(self) -> None:
        """Accepts calls; health is told the truth from here on."""
        self._services.health.start()
        self._server.start()

    def drain(self) -> None:
        """Takes no new calls, lets those in flight finish within the grace, returns when all have ended.

        gRPC cancels calls that arrive between its shutdown and the moment the caller hears of it. So answers are held
        for a moment: who waits for one sends nothing, and hears that this server leaves before hearing the answer.
        """
        self._services.health.drain()
        self._services.streams.draining = True
        self._services.pool.hold()
        time.sleep(min(QUIET_S, self._drain_grace_s))
        stopped = self._server.stop(self._drain_grace_s)
        time.sleep(min(GOAWAY_S, self._drain_grace_s))
        self._services.pool.resume()
        if len(self._services.streams) and not stopped.wait(min(IDLE_STREAM_GRACE_S, self._drain_grace_s)):
            self._services.streams.cut_idle()
        stopped.wait()
