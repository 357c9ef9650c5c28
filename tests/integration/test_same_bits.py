"""The same request gets the same bytes of ranking and scores: from 1 worker and from 4, alone, among others and in a
stream, today and after a restart. Real processes, the real core, every stored type of embedding."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ra_guard.client import RerankClient
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.serving_process import (
    SPACE,
    Serving,
    enrol_everyone,
    publish_gallery,
    serving,
    unit_rows,
)

ROWS = 300
ROUNDS = 3
"""Of every request, each over a connection of its own: 4 workers are certain enough to see some."""
CALLERS = 6
TIMEOUT_S = 60.0
USERS = (1, 4, 5)
"""Of both arms: a baseline must not depend on the worker either."""
PATIENT = {"RA_GUARD_SERVER__SHED_QUEUE_DELAY_MS": "10000"}
"""An overloaded machine is not what is tested here."""


def requests() -> list[wire.RerankRequest]:
    """Of every kind that is scored: few candidates and many, labels, scores, unknown ids, an explanation."""
    query = wire.QueryEmbedding(values=unit_rows(5, 1).tobytes(), space=SPACE)
    known = [f"image-{row}" for row in range(ROWS)]
    shapes: Mapping[str, Mapping[str, object]] = {
        "one": {"candidate_ids": known[:1]},
        "few": {"candidate_ids": known[3:20], "domain": "pets"},
        "all": {"candidate_ids": known[::-1]},
        "top": {"candidate_ids": known, "top_k": 7},
        "labels": {"candidate_ids": known, "required_labels": ["dog"], "forbidden_labels": ["cat"]},
        "scores": {"candidate_ids": known[:50], "baseline_scores": [1 / (1 + rank) for rank in range(50)]},
        "unknown": {"candidate_ids": [*known[:9], "nobody", *known[9:30], "nothing"]},
        "explained": {"candidate_ids": known[:40], "explain": True},
    }
    return [
        wire.RerankRequest(request_id=f"{name}-{user}", user_id=f"user-{user}", embedding=query, **shape)  # type: ignore[arg-type]
        for name, shape in shapes.items()
        for user in USERS
    ]


def answered(response: wire.RerankResponse) -> tuple[object, ...]:
    """What must not differ: the bytes of the ranking, the scores, the states, the explanation, and the outcome."""
    same = wire.RerankResponse(
        ranking=response.ranking,
        scores=response.scores,
        candidate_states=response.candidate_states,
        explanation=response.explanation if response.HasField("explanation") else None,
    )
    outcome = (response.status, response.reason, response.assigned_arm, response.served_arm)
    return (same.SerializeToString(deterministic=True), *outcome)


Seen = dict[str, set[tuple[object, ...]]]


class Notebook:
    """All that was ever answered to each request."""

    def __init__(self) -> None:
        self.seen: Seen = {}
        self._lock = threading.Lock()

    def note(self, response: wire.RerankResponse) -> None:
        with self._lock:
            self.seen.setdefault(response.request_id, set()).add(answered(response))


def alone(server: Serving, notes: Notebook) -> None:
    """One call at a time, nothing else to do."""
    with RerankClient(server.address, timeout_s=TIMEOUT_S) as client:
        for request in requests():
            notes.note(client.send(request))


def among_others(server: Serving, notes: Notebook) -> None:
    """Every request from several callers at once, in different orders, over a connection of its own."""

    def call(start: int) -> None:
        turned = requests()
        for request in turned[start:] + turned[:start]:
            notes.note(server.call(request.SerializeToString()))

    with ThreadPoolExecutor(CALLERS) as callers:
        for done in [callers.submit(call, 3 * number) for number in range(ROUNDS)]:
            done.result()


def in_a_stream(server: Serving, notes: Notebook) -> None:
    """All in one batch: the next is sent before the last is answered."""

    def batch() -> Iterator[wire.RerankRequest]:
        yield from requests()
        yield from reversed(requests())

    with RerankClient(server.address) as client:
        for response in client.stream(batch(), timeout_s=TIMEOUT_S):
            notes.note(response)


@pytest.mark.parametrize("dtype", ["f32", "f16", "i8"])
def test_the_same_request_gets_the_same_bytes(tmp_path: Path, dtype: str) -> None:
    publish_gallery(tmp_path, rows=ROWS, dtype=dtype, objects=3)
    enrol_everyone(tmp_path)
    notes = Notebook()
    for workers in (1, 4):
        with serving(tmp_path, workers=workers, **PATIENT) as server:
            alone(server, notes)
            in_a_stream(server, notes)
            among_others(server, notes)
            for worker in range(workers):
                server.line("rerank", lambda line, worker=worker: line["worker"] == worker)  # type: ignore[misc]
            assert server.stop() == 0
    assert set(notes.seen) == {request.request_id for request in requests()}
    different = {request_id: len(answers) for request_id, answers in notes.seen.items() if len(answers) != 1}
    assert different == {}
    assert {outcome[1] for (outcome,) in notes.seen.values()} == {
        wire.STATUS_RERANKED,
        wire.STATUS_PARTIAL,
        wire.STATUS_BASELINE,
    }
