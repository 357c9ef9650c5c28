"""The servers of a run, each a program of its own: ``python -m bench.servers KIND ORDERS``, port on standard output.

``rerank`` is the product as an operator starts it: supervisor, pinned workers, default settings. ``echo`` and
``python`` are the same gRPC server, with the same options and threads, around another handler: one that answers any
bytes with an answer of the usual size, and one that parses, looks up in a dict and scores with numpy.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

READY_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Orders:
    """What a server is told."""

    kind: str
    cores: tuple[int, ...]
    """Cores that it may use; empty for all. The product pins one worker to each."""
    state: str
    """Folder for what it writes."""
    gallery: str = ""
    rows: int = 0
    workers: int = 1
    pinned: bool = True
    answer_bytes: int = 0

    def as_json(self) -> str:
        """One argument of a command line."""
        return json.dumps(asdict(self))


def main(arguments: list[str]) -> int:
    """Serves until SIGTERM."""
    orders = Orders(**json.loads(arguments[0]))
    if orders.cores:
        os.sched_setaffinity(0, orders.cores)
    return KINDS[orders.kind](orders)


def serve_rerank(orders: Orders) -> int:
    """The product: settings are the defaults but for ports, folders and the size of the fleet."""
    from ra_guard import config
    from ra_guard.serve import Supervisor
    from ra_guard.telemetry.log import configure_logging

    from bench.workload import EXPERIMENT

    settings = config.load(
        overrides={
            "state_dir": orders.state,
            "server": {"port": 0, "workers": orders.workers, "pin_workers": orders.pinned},
            "gallery": {"path": orders.gallery, "memory_limit_bytes": 1 << 36},
            "experiment": {"key": EXPERIMENT},
            "triton": {"url": ""},
            "telemetry": {"metrics_port": 0},
        }
    )
    _publish_experiment(settings.control_dir)
    supervisor = Supervisor(settings, configure_logging(settings.log.level))

    def announce() -> None:
        if supervisor.wait_until_ready(READY_TIMEOUT_S):
            print(supervisor.port, flush=True)

    threading.Thread(target=announce, daemon=True).start()
    status: int = supervisor.run_until_signalled()
    return status


def serve_echo(orders: Orders) -> int:
    """The floor: bytes in, bytes of the usual answer's size out, no thought in between."""
    answer = bytes(orders.answer_bytes)
    return _serve(lambda _: answer)


def serve_python(orders: Orders) -> int:
    """The rival, behind protobuf's own parsing and serialising."""
    from bench.baseline import NumpyReranker
    from bench.core import space

    with (Path(orders.state) / "numpy.log").open("wb", buffering=1 << 20) as log:
        reranker = NumpyReranker(orders.rows, space(), log)
        from ra_guard.v1.rerank_pb2 import RerankRequest, RerankResponse

        return _serve(reranker.answer, RerankRequest.FromString, RerankResponse.SerializeToString)


KINDS: dict[str, Callable[[Orders], int]] = {"rerank": serve_rerank, "echo": serve_echo, "python": serve_python}


class _Unary:
    """A handler on the threads that the product answers unary calls with."""

    def __init__(self, answer: Callable[[Any], Any], pool: Any) -> None:
        self._answer = answer
        self.experimental_thread_pool = pool

    def __call__(self, request: Any, _: object) -> Any:
        return self._answer(request)


def _serve(answer: Callable[[Any], Any], parse: Callable[[bytes], Any] | None = None, serialise: Any = None) -> int:
    import grpc
    from ra_guard import config
    from ra_guard.rpc.health import Health
    from ra_guard.rpc.server import Server, Services
    from ra_guard.rpc.streams import OpenStreams
    from ra_guard.serving.executor import HandlerPool

    from bench.channel import STREAM, UNARY

    def stream(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[Any]:
        return map(answer, requests)

    settings = config.load().server
    pool = HandlerPool(settings.handler_threads, settings.shed_queue_delay_ms * 1_000_000)
    service, _, method = UNARY.strip("/").partition("/")
    handlers = grpc.method_handlers_generic_handler(
        service,
        {
            method: grpc.unary_unary_rpc_method_handler(_Unary(answer, pool), parse, serialise),
            STREAM.rpartition("/")[2]: grpc.stream_stream_rpc_method_handler(stream, parse, serialise),
        },
    )
    health = Health({}, interval_s=3600, report=_raise)
    server = Server(
        Services([handlers], [service], health, OpenStreams(0), pool),
        address="127.0.0.1:0",
        max_message_bytes=1 << 20,
        drain_grace_s=0,
    )
    server.start()
    print(server.port, flush=True)
    threading.Event().wait()
    return 0


def _publish_experiment(control: Path) -> None:
    from ra_guard.experiments.definition import template
    from ra_guard.experiments.model import Author
    from ra_guard.experiments.publish import ControlFolder

    from bench.workload import EXPERIMENT, LEASE_S, RAMP_BP, WEIGHTS

    # The weights stand last in the template.
    rest, _, _ = template(EXPERIMENT).replace("lease_s = 60", f"lease_s = {LEASE_S}", 1).partition("[weights.default]")
    weights = "\n".join(f"{term} = {weight}" for term, weight in WEIGHTS.items())
    author = Author("bench", "a workload in which every call is treated")
    publisher = ControlFolder(control).create(f"{rest}[weights.default]\n{weights}\n", author)
    publisher.ramp(RAMP_BP, author)


def _raise(error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
