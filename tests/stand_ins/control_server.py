"""The control plane's real server in this process, and real replicas that watch it."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ra_guard import _core
from ra_guard.client import ControlSource
from ra_guard.experiments.feed import Pace, PlanFeed
from ra_guard.experiments.plan_files import PlanFiles
from ra_guard.rpc.auth import Authoriser
from ra_guard.rpc.control_server import ControlServer
from ra_guard.rpc.experiment_admin import ExperimentAdmin

from tests.stand_ins.control_plane import KEY, Instance

START_S = 30.0


@dataclass
class Served:
    """A server that answers at ``address``."""

    address: str
    server: ControlServer
    loop: asyncio.AbstractEventLoop

    def tell_health(self) -> None:
        """As the process does at every tick."""
        asyncio.run_coroutine_threadsafe(self.server.tell_health(), self.loop).result(START_S)


@contextmanager
def served(instance: Instance, tokens: Path | None = None) -> Iterator[Served]:
    """Serves an instance until the block ends."""
    started: list[Served] = []
    ready = threading.Event()
    stopping = asyncio.Event()

    async def serve() -> None:
        server = ControlServer(
            instance.plane,
            ExperimentAdmin(instance.plane),
            Authoriser(tokens),
            address="127.0.0.1:0",
            report=instance.reported.append,
        )
        await server.start()
        started.append(Served(f"127.0.0.1:{server.port}", server, asyncio.get_running_loop()))
        ready.set()
        await stopping.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(START_S)
    try:
        yield started[0]
    finally:
        started[0].loop.call_soon_threadsafe(stopping.set)
        thread.join(START_S)


@contextmanager
def fleet(
    addresses: Sequence[str], folder: Path, *, replicas: int = 2, token: str = "", heartbeat_s: float = 0.2
) -> Iterator[tuple[_core.Engine, ...]]:
    """Engines named ``w0``, ``w1``, ... that hold a plan, each fed by the addresses given."""
    engines = tuple(_core.Engine(query_cache_entries=1) for _ in range(replicas))
    errors: list[BaseException] = []
    with ExitStack() as stack:
        for number, engine in enumerate(engines):
            sources = [ControlSource(address, token=token, timeout_s=START_S) for address in addresses]
            feed = PlanFeed(
                sources,
                engine,
                key=KEY,
                replica=f"w{number}",
                pace=Pace(heartbeat_s, 5.0, START_S),
                plans=PlanFiles(folder / f"w{number}"),
                report=errors.append,
            )
            for source in sources:
                stack.callback(source.close)
            stack.callback(feed.stop)
            feed.start()
            assert feed.wait_for_answer(), errors
        yield engines
