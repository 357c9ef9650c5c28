"""A server filled by texts that wait for a slow model: everybody else is answered beside them, at once.

No times are measured. The slow calls wait until the test lets them go, so whoever is answered before has not waited
for them.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from ra_guard.models.space import Space
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins import kserve
from tests.stand_ins.gallery_models import DIM, SPACE
from tests.stand_ins.serving_process import Serving, enrol_everyone, publish_gallery, serving, unit_rows

LONGEST_S = 30.0
TREATED = "user-1"
ROWS = 400
IDS = [f"image-{row}" for row in range(ROWS)]
SMALLEST_CAPACITY = 200
WAITING = 2
"""Calls that may wait for texts at a time: one fewer than the default handler threads."""


@dataclass
class Slow:
    """A server whose text model answers nothing until it is let go."""

    server: Serving
    triton: kserve.StandIn
    go: threading.Event
    callers: ThreadPoolExecutor

    def fill(self, candidates: int) -> list[Future[wire.RerankResponse]]:
        """Calls with new texts, all of them in the model's hands when this returns."""
        before = self.triton.seen.inferences
        calls = [self.callers.submit(self.call_text, f"a cold text, number {n}", candidates) for n in range(WAITING)]
        give_up = time.monotonic() + LONGEST_S
        while self.triton.seen.inferences < before + WAITING:
            assert time.monotonic() < give_up, "the model was never asked"
            time.sleep(0.01)
        return calls

    def call_text(self, text: str, candidates: int) -> wire.RerankResponse:
        return self.server.call(request(candidates, text=text))

    def call_embedding(self, candidates: int) -> wire.RerankResponse:
        vector = unit_rows(2, 1, DIM).tobytes()
        return self.server.call(
            request(candidates, embedding=wire.QueryEmbedding(values=vector, space=SPACE.fingerprint))
        )


def request(candidates: int, **query: object) -> bytes:
    message = wire.RerankRequest(request_id="r", user_id=TREATED, candidate_ids=IDS[:candidates], **query)  # type: ignore[arg-type]
    return message.SerializeToString()


@contextmanager
def slow_server(state: Path, capacity: int) -> Iterator[Slow]:
    folder = state / "models" / SPACE.name
    folder.mkdir(parents=True)
    SPACE.save(folder)
    publish_gallery(state, space_json=SPACE.json(), rows=ROWS)
    enrol_everyone(state)
    with ExitStack() as ending:
        triton = ending.enter_context(kserve.serving(SPACE))
        go = threading.Event()
        triton.answer = waits_for(go, SPACE)
        options = {
            "RA_GUARD_TRITON__URL": triton.url,
            "RA_GUARD_TRITON__TIMEOUT_MS": "60000",
            "RA_GUARD_SERVER__CAPACITY_CANDIDATES": str(capacity),
            # The one free thread is shared with whatever else this machine runs.
            "RA_GUARD_SERVER__SHED_QUEUE_DELAY_MS": "10000",
        }
        server = ending.enter_context(serving(state, workers=1, **options))
        callers = ending.enter_context(ThreadPoolExecutor(WAITING))
        ending.callback(go.set)
        yield Slow(server, triton, go, callers)


def waits_for(go: threading.Event, space: Space) -> kserve.Answer:
    healthy = kserve.healthy(space)

    def answer(model: str, items: int) -> kserve.Tensors:
        go.wait(LONGEST_S)
        return healthy(model, items)

    return answer


def outcome(response: wire.RerankResponse) -> tuple[int, int]:
    return response.status, response.reason


OVERLOAD = (wire.STATUS_BASELINE, wire.REASON_OVERLOAD)
RERANKED = (wire.STATUS_RERANKED, wire.REASON_UNSPECIFIED)


def test_a_full_server_answers_the_baseline_at_once_and_recovers(tmp_path: Path) -> None:
    with slow_server(tmp_path, SMALLEST_CAPACITY) as slow:
        waiting = slow.fill(candidates=SMALLEST_CAPACITY // WAITING)
        for _ in range(20):
            answer = slow.call_embedding(50)
            assert outcome(answer) == OVERLOAD
            assert list(answer.ranking) == list(range(50))
            assert answer.assigned_arm == wire.ARM_TREATMENT
        with pytest.raises(grpc.RpcError) as refused:
            slow.call_embedding(SMALLEST_CAPACITY + 1)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "server.capacity_candidates" in str(refused.value.details())
        assert not any(call.done() for call in waiting)
        slow.go.set()
        assert [outcome(call.result(LONGEST_S)) for call in waiting] == [RERANKED] * WAITING
        assert outcome(slow.call_embedding(50)) == RERANKED


def test_calls_that_need_no_model_are_served_beside_those_that_wait(tmp_path: Path) -> None:
    with slow_server(tmp_path, 4000) as slow:
        waiting = slow.fill(candidates=10)
        for number in range(10):
            assert outcome(slow.call_embedding(SMALLEST_CAPACITY)) == RERANKED
            assert outcome(slow.call_text(f"one more, {number}", 10)) == OVERLOAD, "no thread is left to wait with"
        assert not any(call.done() for call in waiting)
        slow.go.set()
        assert [outcome(call.result(LONGEST_S)) for call in waiting] == [RERANKED] * WAITING
        assert outcome(slow.call_text("one more, 0", 10)) == RERANKED


def test_weight_counts_candidates_and_not_calls(tmp_path: Path) -> None:
    with slow_server(tmp_path, SMALLEST_CAPACITY) as slow:
        slow.fill(candidates=70)
        assert outcome(slow.call_embedding(40)) == RERANKED
        assert outcome(slow.call_embedding(61)) == OVERLOAD
