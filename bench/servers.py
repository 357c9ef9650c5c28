"""The servers of a run, each a program of its own: ``python -m bench.servers ORDERS``, addresses on standard output.

``rerank`` is the product as an operator starts it: supervisor, pinned workers, default settings, and a control plane
beside them unless one is named; ``control`` is a control plane on its own. ``echo`` and ``python`` are the same gRPC
server, with the same options and threads, around another handler: one that answers any bytes with an answer of the
usual size, and one that parses, looks up in a dict and scores with numpy.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ra_guard.config import Settings
    from ra_guard.serve import Supervisor

READY_TIMEOUT_S = 120.0


class Restarts(StrEnum):
    """How a worker that died is started again."""

    PATIENT = "patient"
    """As the product does: pauses grow with each death."""
    AT_ONCE = "at once"
    """For programs that kill workers by the hundred."""


Options = Mapping[str, Mapping[str, str | int | float]]
"""Settings by section, as in default.toml."""


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
    control: str = ""
    """Address of a running control plane; empty starts one beside the workers."""
    port: int = 0
    """Of a control plane on its own, reserved by who starts it."""
    options: Options = field(default_factory=dict)
    """What differs from the default settings, besides what the other fields say."""
    restarts: Restarts = Restarts.PATIENT

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
    from ra_guard.serve import Supervisor
    from ra_guard.telemetry.log import configure_logging

    from bench.workload import definition

    settings = settings_of(orders)
    if not orders.control:
        publish_experiment(settings.store_url, definition())
    kind = _tireless() if orders.restarts == Restarts.AT_ONCE else Supervisor
    supervisor = kind(settings, configure_logging(settings.log.level))

    def announce() -> None:
        if supervisor.wait_until_ready(READY_TIMEOUT_S):
            _announce(supervisor.port, supervisor.control)

    threading.Thread(target=announce, daemon=True).start()
    status: int = supervisor.run_until_signalled()
    return status


def serve_control(orders: Orders) -> int:
    """A control plane on its own, as ``ra-guard control`` starts it, on a port that stays the same over restarts."""
    from ra_guard.control import serve
    from ra_guard.orders import ControlOrders
    from ra_guard.telemetry.log import configure_logging

    settings = settings_of(orders)
    log = configure_logging(settings.log.level, process="control")
    serve(ControlOrders(settings=settings, port=orders.port), log, lambda: _announce(orders.port))
    return 0


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


KINDS: dict[str, Callable[[Orders], int]] = {
    "rerank": serve_rerank,
    "control": serve_control,
    "echo": serve_echo,
    "python": serve_python,
}


def settings_of(orders: Orders) -> "Settings":
    """The defaults but for ports, folders, the size of the fleet, and what the orders say."""
    from ra_guard import config

    from bench.workload import EXPERIMENT

    ours: Options = {
        "server": {"port": 0, "workers": orders.workers, "pin_workers": orders.pinned},
        "gallery": {"path": orders.gallery, "memory_limit_bytes": 1 << 36},
        "control": {"port": 0, "metrics_port": 0, "address": orders.control, "store": ""},
        "experiment": {"key": EXPERIMENT},
        "triton": {"url": ""},
        "watch": {"every_s": 0},
        "telemetry": {"metrics_port": 0},
    }
    sections = {name: {**ours.get(name, {}), **orders.options.get(name, {})} for name in {**ours, **orders.options}}
    return config.load(overrides={"state_dir": orders.state, **sections})


def _tireless() -> type["Supervisor"]:
    from ra_guard.serve import Slot, Supervisor

    class Tireless(Supervisor):
        """Starts every worker again after the first, shortest pause: here a death says nothing about the worker."""

        def _postpone(self, slot: Slot) -> float:
            slot.deaths = 0
            return super()._postpone(slot)

    return Tireless


def _announce(port: int, control: str = "") -> None:
    print(json.dumps({"port": port, "control": control}), flush=True)


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
    _announce(server.port)
    threading.Event().wait()
    return 0


def publish_experiment(store_url: str, definition: str) -> None:
    """The workload's experiment under a definition, unless there is one, ramped to where everyone is enrolled."""
    from ra_guard.experiments.model import Author, Pace
    from ra_guard.experiments.offline import offline_plane

    from bench.workload import EXPERIMENT, RAMP_BP

    author = Author("bench", "a workload in which every call counts")
    with offline_plane(store_url, holder="bench", writer_lease_s=10.0) as plane:
        if EXPERIMENT not in plane.stored_keys():
            plane.apply(definition, author, expected_revision=0)
        plane.ramp(EXPERIMENT, RAMP_BP, Pace.SKIPPING_STAGES, author)


def _raise(error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
