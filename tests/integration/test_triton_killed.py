"""The real Triton is killed under load: every call is answered, with a reason, and cold texts work again after it."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from ra_guard.client import RerankClient
from ra_guard.config import load
from ra_guard.models.space import REPOSITORY_FOLDER, Space
from ra_guard.models.triton_server import Ports, TritonServer
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.serving_process import Serving, enrol_everyone, publish_gallery, serving, unit_rows
from tests.triton_environment import ROOT, triton_environment

pytestmark = [pytest.mark.triton, pytest.mark.slow]

PATIENCE_S = 120.0
TREATED = "user-1"
CALLERS_OF_EACH_KIND = 2

Outcome = tuple[int, int]
RERANKED = (wire.STATUS_RERANKED, wire.REASON_UNSPECIFIED)
COLD_FALLBACKS = {
    (wire.STATUS_BASELINE, wire.REASON_NO_FEATURES),
    (wire.STATUS_BASELINE, wire.REASON_DEADLINE),
}


@dataclass
class House:
    """A server, its Triton, and how to start that again."""

    server: Serving
    space: Space
    start: Callable[[], TritonServer]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = ROOT / load().models_dir / "demo"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / built.name).symlink_to(built.resolve(), target_is_directory=True)
    space = Space.load(built)
    publish_gallery(tmp_path, space_json=space.json())
    enrol_everyone(tmp_path)
    ports, environment = Ports.free(), triton_environment()
    with ExitStack() as ending:

        def start() -> TritonServer:
            return ending.enter_context(
                TritonServer.start(built / REPOSITORY_FOLDER, environment, tmp_path / "run", ports=ports)
            )

        options = {
            "RA_GUARD_TRITON__URL": f"127.0.0.1:{ports.grpc}",
            # Far beyond what a text takes, so that a busy machine does not fail a test.
            "RA_GUARD_TRITON__TIMEOUT_MS": "20000",
            "RA_GUARD_TRITON__BREAKER_RESET_S": "0.2",
            "RA_GUARD_SERVER__SHED_QUEUE_DELAY_MS": "10000",
        }
        server = ending.enter_context(serving(tmp_path, workers=1, **options))
        yield House(server, space, start)


class Load:
    """Callers with a text that nobody asked before, and callers with an embedding; none ever pauses."""

    def __init__(self, house: House) -> None:
        self.outcomes: dict[str, list[Outcome]] = {"cold": [], "warm": []}
        self.sent: Counter[str] = Counter()
        self.lost: list[Exception] = []
        self._house = house
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(kind, number))
            for kind in self.outcomes
            for number in range(CALLERS_OF_EACH_KIND)
        ]

    def _call(self, kind: str, caller: int) -> None:
        with RerankClient(self._house.server.address, timeout_s=PATIENCE_S) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                request_id = f"{kind}-{caller}-{number}"
                with self._changed:
                    self.sent[kind] += 1
                try:
                    response = client.send(self._request(kind, request_id))
                except Exception as error:  # noqa: BLE001 (whatever it is, the call is lost)
                    self.lost.append(error)
                    return
                assert response.request_id == request_id
                with self._changed:
                    self.outcomes[kind].append((response.status, response.reason))
                    self._changed.notify_all()

    def _request(self, kind: str, request_id: str) -> wire.RerankRequest:
        message = wire.RerankRequest(request_id=request_id, user_id=TREATED)
        message.candidate_ids.extend(f"image-{row}" for row in range(20))
        if kind == "cold":
            message.text = f"a text that nobody asked before: {request_id}"
        else:
            message.embedding.values = unit_rows(2, 1, self._house.space.dim).tobytes()
            message.embedding.space = self._house.space.fingerprint
        return message

    def wait_until(self, happened: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: happened() or bool(self.lost), PATIENCE_S), "it did not happen"
            assert self.lost == []

    def mark(self) -> dict[str, int]:
        with self._changed:
            return {kind: len(outcomes) for kind, outcomes in self.outcomes.items()}

    def since(self, mark: dict[str, int], kind: str) -> list[Outcome]:
        return self.outcomes[kind][mark[kind] :]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def test_every_call_is_answered_while_triton_is_killed(house: House) -> None:
    triton = house.start()
    with Load(house) as calls:
        calls.wait_until(lambda: calls.outcomes["cold"].count(RERANKED) >= 10)
        os.kill(triton.pid, signal.SIGKILL)
        dead = calls.mark()
        calls.wait_until(lambda: len(COLD_FALLBACKS & set(calls.since(dead, "cold"))) > 0)
        calls.wait_until(lambda: len(calls.since(dead, "cold")) >= 50 and len(calls.since(dead, "warm")) >= 50)
        triton.stop()
        while_dead = calls.mark()
        house.start()
        calls.wait_until(lambda: calls.since(while_dead, "cold").count(RERANKED) >= 10)
    assert house.server.stop() == 0
    assert calls.lost == []
    assert {kind: len(outcomes) for kind, outcomes in calls.outcomes.items()} == calls.sent
    assert set(calls.outcomes["warm"]) == {RERANKED}
    assert set(calls.outcomes["cold"]) <= {RERANKED, *COLD_FALLBACKS}
    check_counts(house.server, calls)


def check_counts(server: Serving, calls: Load) -> None:
    """Each answer has one line, which gives the reason that the caller was given; and the failure itself is told."""
    answered = Counter(outcome for outcomes in calls.outcomes.values() for outcome in outcomes)
    lines = server.lines("rerank")
    counted = Counter(
        (wire.Status.Value(f"STATUS_{line['status'].upper()}"), wire.Reason.Value(f"REASON_{line['reason'].upper()}"))
        for line in lines
    )
    assert counted == answered
    assert {line["variant"] for line in server.lines("failure")} == {"TritonUnavailable"}
