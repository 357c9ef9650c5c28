"""Triton absent, slow, dead in mid-call, answering nonsense, behind a real server.

A cold text is answered with the baseline and a reason, the cause is on a line by name, and whoever needs no model
notices nothing. What misbehaves is a stand-in that speaks the real protocol.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins import kserve
from tests.stand_ins.gallery_models import DIM, SPACE
from tests.stand_ins.serving_process import Serving, enrol_everyone, publish_gallery, serving, unit_rows

TREATED = "user-1"
NO_FEATURES = (wire.STATUS_BASELINE, wire.REASON_NO_FEATURES)
DEADLINE = (wire.STATUS_BASELINE, wire.REASON_DEADLINE)
MISMATCH = (wire.STATUS_BASELINE, wire.REASON_MODEL_MISMATCH)
RERANKED = (wire.STATUS_RERANKED, wire.REASON_UNSPECIFIED)
SLOW_MS = 300
HOLD_S = 10.0
new_text = map("a text that nobody asked before, number {}".format, count()).__next__


def prepared(state: Path, gallery_space: str = SPACE.json()) -> Path:
    folder = state / "models" / SPACE.name
    folder.mkdir(parents=True)
    SPACE.save(folder)
    publish_gallery(state, space_json=gallery_space)
    enrol_everyone(state)
    return state


@contextmanager
def server_of(state: Path, triton_url: str, timeout_ms: int) -> Iterator[Serving]:
    options = {
        "RA_GUARD_TRITON__URL": triton_url,
        "RA_GUARD_TRITON__TIMEOUT_MS": str(timeout_ms),
        "RA_GUARD_TRITON__BREAKER_FAILURES": "1000",
        "RA_GUARD_SERVER__SHED_QUEUE_DELAY_MS": "10000",
    }
    with serving(state, workers=1, **options) as server:
        yield server


def by_text(server: Serving, deadline_s: float = 20.0) -> tuple[int, int]:
    ids = ["image-3", "image-1", "image-2"]
    message = wire.RerankRequest(request_id="r", user_id=TREATED, text=new_text(), candidate_ids=ids)
    with grpc.insecure_channel(server.address) as channel:
        rerank: Any = channel.unary_unary("/ra_guard.v1.Reranker/Rerank")
        answer = wire.RerankResponse.FromString(rerank(message.SerializeToString(), timeout=deadline_s))
    if answer.status == wire.STATUS_BASELINE:
        assert list(answer.ranking) == [0, 1, 2]
    return answer.status, answer.reason


def by_embedding(server: Serving, space: str = SPACE.fingerprint) -> tuple[int, int]:
    query = wire.QueryEmbedding(values=unit_rows(2, 1, DIM).tobytes(), space=space)
    message = wire.RerankRequest(request_id="r", user_id=TREATED, embedding=query, candidate_ids=["image-3", "image-1"])
    answer = server.call(message.SerializeToString())
    return answer.status, answer.reason


def outputs(change: Callable[[np.ndarray], np.ndarray]) -> kserve.Answer:
    """The healthy embedding, changed."""
    healthy = kserve.healthy(SPACE)
    return lambda model, items: {name: change(values) for name, values in healthy(model, items).items()}


def with_nan(values: np.ndarray) -> np.ndarray:
    values[:, 1] = np.nan
    return values


def aborting(code: grpc.StatusCode) -> kserve.Answer:
    def answer(_model: str, _items: int) -> kserve.Tensors:
        raise kserve.Abort(code, "as the test wants it")

    return answer


NONSENSE: dict[str, tuple[kserve.Answer, str]] = {
    "another dimension": (outputs(lambda values: values[:, 1:]), "TritonWrongShape"),
    "another type": (outputs(lambda values: values.astype(np.float64)), "TritonWrongShape"),
    "an empty batch": (outputs(lambda values: values[:0]), "TritonWrongShape"),
    "NaN": (outputs(with_nan), "TritonWrongShape"),
    "zeros": (outputs(np.zeros_like), "TritonWrongShape"),
    "no such output": (lambda _model, items: {"embedding": np.ones((items, DIM), np.float32)}, "TritonWrongShape"),
    "an error of its own": (aborting(grpc.StatusCode.INTERNAL), "TritonUnavailable"),
    "a refusal": (aborting(grpc.StatusCode.INVALID_ARGUMENT), "TritonRejected"),
}


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, kserve.StandIn]]:
    state = prepared(tmp_path_factory.mktemp("state"))
    with kserve.serving(SPACE) as triton, server_of(state, triton.url, timeout_ms=20_000) as server:
        yield server, triton


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_no_embedding(misbehaving: tuple[Serving, kserve.StandIn], nonsense: str) -> None:
    server, triton = misbehaving
    triton.answer, _ = NONSENSE[nonsense]
    assert by_text(server) == NO_FEATURES
    assert by_embedding(server) == RERANKED
    triton.answer = kserve.healthy(SPACE)
    assert by_text(server) == RERANKED, "and the next answer is believed again"


def test_every_cause_was_told_by_name(tmp_path: Path) -> None:
    with kserve.serving(SPACE) as triton, server_of(prepared(tmp_path), triton.url, timeout_ms=20_000) as server:
        for answer, _ in NONSENSE.values():
            triton.answer = answer
            assert by_text(server) == NO_FEATURES
        assert server.stop() == 0
        told = {line["variant"] for line in server.lines("failure")}
    assert told == {variant for _, variant in NONSENSE.values()}


def test_models_of_another_space_are_not_asked(tmp_path: Path) -> None:
    with kserve.serving(SPACE) as triton, server_of(prepared(tmp_path), triton.url, timeout_ms=20_000) as server:
        triton.fingerprint = "0" * 32
        assert by_text(server) == NO_FEATURES
        assert server.line("failure")["variant"] == "SpaceMismatch"
        assert triton.seen.inferences == 0


def test_a_gallery_of_another_space_is_a_mismatch(tmp_path: Path) -> None:
    state = prepared(tmp_path, gallery_space=SPACE.json().replace(SPACE.name, "another"))
    with kserve.serving(SPACE) as triton, server_of(state, triton.url, timeout_ms=20_000) as server:
        assert by_text(server) == MISMATCH
        assert by_embedding(server) == MISMATCH


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and never listens
        url = f"127.0.0.1:{reserved.getsockname()[1]}"
        with server_of(prepared(tmp_path), url, timeout_ms=20_000) as server:
            assert by_text(server) == NO_FEATURES
            assert server.line("failure")["variant"] == "TritonUnavailable"
            assert by_embedding(server) == RERANKED


def test_slower_than_triton_may_be(tmp_path: Path) -> None:
    go = threading.Event()
    with kserve.serving(SPACE) as triton, server_of(prepared(tmp_path), triton.url, timeout_ms=SLOW_MS) as server:
        assert by_text(server) == RERANKED
        triton.answer = held(go)
        assert by_text(server) == NO_FEATURES
        assert server.line("failure")["variant"] == "TritonTimeout"
        assert by_embedding(server) == RERANKED
        go.set()
        assert by_text(server) == RERANKED


def test_slower_than_the_callers_deadline(tmp_path: Path) -> None:
    go = threading.Event()
    with kserve.serving(SPACE) as triton, server_of(prepared(tmp_path), triton.url, timeout_ms=20_000) as server:
        assert by_text(server) == RERANKED
        triton.answer = held(go)
        # The server answers in time; a machine with other things to do may bring the answer late.
        with suppress(grpc.RpcError):
            assert by_text(server, deadline_s=1.0) == DEADLINE
        assert server.line("rerank", lambda line: line["status"] == "baseline")["reason"] == "deadline"
        go.set()
        assert by_text(server) == RERANKED


def held(go: threading.Event) -> kserve.Answer:
    """The healthy answer, once the test lets it go."""
    healthy = kserve.healthy(SPACE)

    def answer(model: str, items: int) -> kserve.Tensors:
        go.wait(HOLD_S)
        return healthy(model, items)

    return answer


def test_dead_in_mid_call(tmp_path: Path) -> None:
    asked, go = threading.Event(), threading.Event()

    def never(_model: str, _items: int) -> kserve.Tensors:
        asked.set()
        go.wait(HOLD_S)
        raise kserve.Abort(grpc.StatusCode.INTERNAL, "too late")

    outcomes: list[tuple[int, int]] = []
    with server_for_death(tmp_path) as (triton, server, kill):
        triton.answer = never
        caller = threading.Thread(target=lambda: outcomes.append(by_text(server)))
        caller.start()
        assert asked.wait(HOLD_S)
        kill()
        caller.join(HOLD_S)
        go.set()
        assert outcomes == [NO_FEATURES]
        assert server.line("failure")["variant"] == "TritonUnavailable"
        assert by_embedding(server) == RERANKED


@contextmanager
def server_for_death(state: Path) -> Iterator[tuple[kserve.StandIn, Serving, Callable[[], object]]]:
    """A stand-in that can be ended before its context does."""
    standing = kserve.serving(SPACE)
    triton = standing.__enter__()
    with server_of(prepared(state), triton.url, timeout_ms=20_000) as server:
        yield triton, server, lambda: standing.__exit__(None, None, None)
