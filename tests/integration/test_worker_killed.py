"""Workers die under load: the search tier's client has every call answered, and every answer is counted."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path

from ra_guard.client import RerankClient
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.serving_process import Serving, enrol_everyone, publish_gallery, request, serving

DEATHS = 2
CALLERS = 4
CALLS_BETWEEN_DEATHS = 60
PATIENCE_S = 60.0


class Callers:
    """Clients that never pause, each of another user; what each was answered, by request id."""

    def __init__(self, server: Serving) -> None:
        self.answers: dict[str, wire.RerankResponse] = {}
        self.sent: set[str] = set()
        self.lost: list[Exception] = []
        self._answered = threading.Condition()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(server.address, n)) for n in range(CALLERS)]

    def _call(self, address: str, caller: int) -> None:
        message = wire.RerankRequest.FromString(request(user=f"user-{caller}"))
        number = 0
        while not self._stop.is_set():
            # A few calls a connection, so that every worker always has some in flight.
            with RerankClient(address, timeout_s=PATIENCE_S) as client:
                for _ in range(20):
                    number += 1
                    message.request_id = f"{caller}-{number}"
                    self.sent.add(message.request_id)
                    try:
                        response = client.send(message)
                    except Exception as error:  # noqa: BLE001 (whatever it is, the call is lost)
                        self.lost.append(error)
                        return
                    with self._answered:
                        self.answers[response.request_id] = response
                        self._answered.notify_all()

    def wait_for(self, more: int) -> None:
        with self._answered:
            goal = len(self.answers) + more
            assert self._answered.wait_for(lambda: len(self.answers) >= goal or self.lost, PATIENCE_S)

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def test_every_call_is_answered_while_workers_are_killed(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    enrol_everyone(tmp_path)
    with serving(tmp_path, RA_GUARD_SERVER__SHED_QUEUE_DELAY_MS="10000") as server:
        workers = dict(server.workers)
        with Callers(server) as callers:
            for death in range(DEATHS):
                callers.wait_for(CALLS_BETWEEN_DEATHS)
                victim = death % len(workers)
                os.kill(workers[victim], signal.SIGKILL)
                died = server.line("died")
                assert (died["program"], died["exit_code"]) == (f"worker-{victim}", -signal.SIGKILL)
                callers.wait_for(CALLS_BETWEEN_DEATHS)  # answered by those that live
                workers[victim] = server.line("worker_ready")["pid"]
            callers.wait_for(CALLS_BETWEEN_DEATHS)
        assert server.stop() == 0
        lines = server.lines("rerank")
    assert callers.lost == []
    assert set(callers.answers) == callers.sent
    assert len(callers.sent) > 2 * DEATHS * CALLS_BETWEEN_DEATHS
    answered = Counter(
        (wire.Status.Name(each.status), wire.Reason.Name(each.reason)) for each in callers.answers.values()
    )
    counted = Counter((f"STATUS_{line['status']}".upper(), f"REASON_{line['reason']}".upper()) for line in lines)
    assert set(answered) == set(counted), "every outcome has its reason on a line"
    assert ("STATUS_RERANKED", "REASON_UNSPECIFIED") in answered
    # A killed worker takes with it the lines of its last moments; nobody else's is missing, and none is made up.
    assert {line["request_id"] for line in lines} <= callers.sent
    assert {line["request_id"] for line in lines if line["worker"] == 0}
    assert {line["request_id"] for line in lines if line["worker"] == 1}
