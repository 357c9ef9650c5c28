"""Starting the servers of a run side by side, and ending exactly those."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from bench.machine import ONE_THREAD
from bench.servers import Orders

REPOSITORY = Path(__file__).parent.parent
END_TIMEOUT_S = 30.0


class ServerStartError(RuntimeError):
    """A server ended before it was ready; its last lines say why."""


@contextmanager
def serving(orders: Mapping[str, Orders], *, grpc_experiments: str) -> Iterator[dict[str, int]]:
    """The port of every server by name, once all are ready; they are ended afterwards.

    ``grpc_experiments``: what the product's supervisor gives its workers; the others get the same.
    """
    with ExitStack() as stack:
        started = {name: stack.enter_context(_started(order, grpc_experiments)) for name, order in orders.items()}
        yield {name: _port(name, process, log) for name, (process, log) in started.items()}


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


def _port(name: str, process: subprocess.Popen[str], log: IO[str]) -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.strip().isdigit():
        log.seek(0)
        raise ServerStartError(f"{name}: {' | '.join(log.read().splitlines()[-5:]) or 'ended without a word'}")
    return int(line)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
