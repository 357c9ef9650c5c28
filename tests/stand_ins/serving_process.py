"""A real server as a process, over a small gallery written by the core; and a caller."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from ra_guard import _core
from ra_guard.experiments.model import Author, Pace
from ra_guard.experiments.offline import offline_plane
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.definitions import changed
from tests.stand_ins.ports import port_bases

DIM = 16
KEY = "ra_guard_enhancement"
AUTHOR = Author("a test", "to see what happens")
SPACE_JSON = '{"cosine_range":[-0.1,1.0],"dim":16,"dtype":"f32","name":"test"}'
SPACE = _core.space_fingerprint(SPACE_JSON)
READY_S = 120.0


def unit_rows(seed: int, rows: int, dim: int = DIM) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim))
    rows_of_unit_length: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")
    return rows_of_unit_length


def publish_gallery(
    state: Path, *, seed: int = 0, rows: int = 100, space_json: str = SPACE_JSON, dtype: str = "f32", objects: int = 0
) -> int:
    """Writes a shard of rows ``image-0``, ``image-1``, ... and publishes it alone; returns the generation.

    ``objects``: how many each row shows, a dog or a cat each; the ids do not depend on it.
    """
    gallery = state / "gallery"
    (gallery / "shards").mkdir(parents=True, exist_ok=True)
    shard = gallery / "shards" / f"seed-{seed}-rows-{rows}.shard"
    dim = json.loads(space_json)["dim"]
    writer = _core.ShardWriter(
        str(shard),
        dim=dim,
        dtype=dtype,
        space_json=space_json,
        labels=["dog", "cat"],
        label_embeddings=unit_rows(1, 2, dim).tobytes(),
        domains=["pets"],
        licences=[""],
    )
    writer.append(
        [f"image-{row}".encode() for row in range(rows)],
        embeddings=unit_rows(seed, rows, dim).tobytes(),
        domains=bytes(rows),
        licences=bytes(rows),
        phashes=bytes(8 * rows),
        detection_counts=np.full(rows, objects, "<i4").tobytes(),
        detections=detections(seed, rows * objects).tobytes(),
    )
    writer.finish()
    return _core.publish_manifest(str(gallery), [shard.name])


def detections(seed: int, number: int) -> NDArray[np.float32]:
    """``(number, 6) float32``: label, confidence and corners of boxes anywhere in an image."""
    draw = np.random.default_rng(seed)
    low, high = draw.uniform(0.0, 0.4, (number, 2)), draw.uniform(0.5, 1.0, (number, 2))
    columns = [draw.integers(0, 2, (number, 1)), draw.uniform(0.3, 1.0, (number, 1)), low, high]
    return np.hstack(columns).astype("<f4")


def request(candidates: int = 50, *, user: str = "user-1", seed: int = 2) -> bytes:
    """A query by embedding: no model is needed to answer it."""
    query = wire.QueryEmbedding(values=unit_rows(seed, 1).tobytes(), space=SPACE)
    ids = [f"image-{row}" for row in range(candidates)]
    return wire.RerankRequest(request_id="r-1", user_id=user, embedding=query, candidate_ids=ids).SerializeToString()


class Serving:
    """``ra-guard serve`` with its lines at hand."""

    def __init__(self, state: Path, options: Mapping[str, str], *, command: str = "serve") -> None:
        environment = {
            **os.environ,
            "RA_GUARD_STATE_DIR": str(state),
            "RA_GUARD_SERVER__PORT": "0",
            "RA_GUARD_CONTROL__PORT": "0",
            "RA_GUARD_CONTROL__METRICS_PORT": "0",
            "RA_GUARD_TELEMETRY__METRICS_PORT": "0",
            "RA_GUARD_CONTROL__START_WAIT_S": str(READY_S),
            "RA_GUARD_LOG__SHIP_S": "0",
            "RA_GUARD_WATCH__EVERY_S": "0",
            "RA_GUARD_TRITON__URL": "",
            "RA_GUARD_WORKER__CANARY_S": "0.1",
            "RA_GUARD_WORKER__RESTART_BACKOFF_S": "0.05",
            **options,
        }
        self._seen: list[dict[str, Any]] = []
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from ra_guard.cli import main; sys.exit(main())", command],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                try:
                    self._lines.put(json.loads(line))
                except ValueError:
                    self._lines.put({"event": "raw", "text": line.rstrip()})
        self._lines.put(None)

    def line(self, event: str, such: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Waits for a line; each is found once."""
        while True:
            for line in self._seen:
                if line["event"] == event and such(line):
                    self._seen.remove(line)
                    return line
            found = self._lines.get(timeout=READY_S)
            assert found is not None, f"the server ended without {event!r}; it said {self._seen}"
            self._seen.append(found)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Every line of that event that was not found yet, once the server has ended."""
        self.ended()
        while (line := self._lines.get()) is not None:
            self._seen.append(line)
        self._lines.put(None)
        return [line for line in self._seen if line["event"] == event]

    def wait_until_ready(self, workers: int) -> None:
        serving = self.line("serving", lambda line: "address" in line)
        self.address, self.control = serving["address"], serving["control"]
        self.workers = {ready["worker"]: ready["pid"] for ready in (self.line("worker_ready") for _ in range(workers))}

    def call(self, request_: bytes, **options: Any) -> wire.RerankResponse:
        """One call over a connection of its own, so that any worker may answer it."""
        with grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            rerank: Any = channel.unary_unary("/ra_guard.v1.Reranker/Rerank")
            return wire.RerankResponse.FromString(rerank(request_, timeout=20, wait_for_ready=True, **options))

    def ended(self) -> None:
        """Waits until nothing of the server can say anything any more."""
        self._reader.join(READY_S)
        assert not self._reader.is_alive()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(READY_S)


@contextmanager
def serving(state: Path, *, workers: int = 2, **options: str) -> Iterator[Serving]:
    """A server that is ready; killed if a test leaves it running."""
    server = Serving(state, {"RA_GUARD_SERVER__WORKERS": str(workers), **options})
    try:
        server.wait_until_ready(workers)
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
        server.ended()


@contextmanager
def control_plane(state: Path, **options: str) -> Iterator[Serving]:
    """``ra-guard control`` as a process that answers at ``control``; killed if a test leaves it running."""
    process = Serving(state, options, command="control")
    try:
        process.control = process.line("serving")["address"]
        yield process
    finally:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGCONT)
            process.process.kill()
            process.process.wait(READY_S)
        process.ended()


def enrol_everyone(state: Path, *, lease_s: int = 60) -> bytes:
    """An experiment at full ramp: half of the users are treated, half are control. Returns its sealed plan."""
    with offline_plane(store_url(state), holder="a test", writer_lease_s=10.0) as plane:
        plane.apply(changed(("lease_s = 60", f"lease_s = {lease_s}")), AUTHOR, 0)
        plane.approve(KEY, 100, AUTHOR)
        return plane.plan(KEY, plane.ramp(KEY, 5000, Pace.SKIPPING_STAGES, AUTHOR).after.revision)


def store_url(state: Path) -> str:
    """Where a server with that state folder keeps its experiments."""
    (state / "control").mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{state / 'control' / 'control.db'}"


def free_ports(number: int) -> int:
    """The first of some neighbouring ports that nobody uses."""
    for base in port_bases(10_000, 20_000, number):
        sockets = [socket.socket() for _ in range(number)]
        try:
            for offset, each in enumerate(sockets):
                each.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
        return base
    raise AssertionError("no free ports")
