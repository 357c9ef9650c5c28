"""Starting the servers of a run side by side, and ending exactly those."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench import peers
from bench.machine import ONE_THREAD
from bench.servers import Orders

REPOSITORY = Path(__file__).parent.parent
END_TIMEOUT_S = 30.0


class ServerStartError(RuntimeError):
    """A server ended before it was ready; its last lines say why."""


@dataclass(frozen=True)
class Running:
    """A server that is ready."""

    port: int
    control: str
    """Address of its control plane; empty where it has none."""
    process: subprocess.Popen[str]

    def workers(self) -> list[int]:
        """Process ids of the product's workers, as they are now."""
        return peers.started_by(self.process.pid, peers.WORKER)

    def control_planes(self) -> list[int]:
        """The control plane beside them, if it runs."""
        return peers.started_by(self.process.pid, peers.CONTROL)

    def kill(self) -> None:
        """Ends it without a word, and returns when it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Asks it to end; its exit status, negative when it had to be killed."""
        _end(self.process)
        return self.process.returncode


@contextmanager
def running(order: Orders) -> Iterator[Running]:
    """One server that is ready; it is ended afterwards, if it has not ended by then."""
    with _started(order, grpc_experiments()) as (process, log):
        yield _ready(order.kind, process, log)


@contextmanager
def serving(orders: Mapping[str, Orders], *, grpc_experiments: str) -> Iterator[dict[str, int]]:
    """The port of every server by name, once all are ready; they are ended afterwards.

    ``grpc_experiments``: what the product's supervisor gives its workers; the others get the same.
    """
    with ExitStack() as stack:
        started = {name: stack.enter_context(_started(order, grpc_experiments)) for name, order in orders.items()}
        yield {name: _ready(name, process, log).port for name, (process, log) in started.items()}


def grpc_experiments() -> str:
    """What serve.py sets for its workers at default settings."""
    from ra_guard import config

    return "" if config.load().server.event_engine_listener else "-event_engine_listener"


@contextmanager
def _started(orders: Orders, experiments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.servers", orders.as_json()],
            cwd=REPOSITORY,
            env={**os.environ, **ONE_THREAD, "GRPC_EXPERIMENTS": experiments},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield process, log
        finally:
            _end(process)


def _ready(name: str, process: subprocess.Popen[str], log: IO[str]) -> Running:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("{"):
        log.seek(0)
        raise ServerStartError(f"{name}: {' | '.join(log.read().splitlines()[-5:]) or 'ended without a word'}")
    return Running(**json.loads(line), process=process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
