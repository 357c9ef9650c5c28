"""What a caller can get wrong, over the real wire: each mistake gets its status and the field, and harms nobody else.

The core names a variant for each cause; the wire carries the status and the message. Both are held to one table.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from ra_guard import _core
from ra_guard.cli import main
from ra_guard.errors import CORE_STATUS, Code
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.serving_process import (
    DIM,
    SPACE,
    Serving,
    enrol_everyone,
    publish_gallery,
    request,
    serving,
    unit_rows,
)

UNARY, STREAM = "/ra_guard.v1.Reranker/Rerank", "/ra_guard.v1.Reranker/RerankStream"
MAX_REQUEST_BYTES = 65_536
HOSTILE_REQUESTS = 300
TREATED = "user-1"


@dataclass(frozen=True)
class Both:
    """A real server, and a core in this process over the same gallery and plan, which names variants."""

    server: Serving
    core: _core.Engine


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    state = tmp_path_factory.mktemp("state")
    publish_gallery(state)
    sealed = enrol_everyone(state)
    core = _core.Engine(query_cache_entries=16)
    core.publish_plan(sealed)
    core.publish_generation(_core.Generation.open(str(state / "gallery")))
    options = {"RA_GUARD_SERVER__MAX_REQUEST_BYTES": str(MAX_REQUEST_BYTES)}
    with serving(state, workers=1, **options) as server:
        yield Both(server, core)


def valid() -> wire.RerankRequest:
    return wire.RerankRequest.FromString(request(10, user=TREATED))


def embedded(values: bytes, space: str = SPACE) -> bytes:
    message = valid()
    message.embedding.CopyFrom(wire.QueryEmbedding(values=values, space=space))
    return message.SerializeToString()


def changed(**fields: Any) -> bytes:
    message = valid()
    for name, value in fields.items():
        message.ClearField(name)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message.SerializeToString()


VECTOR = unit_rows(2, 1)[0].tolist()


def packed(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


MISTAKES: dict[str, tuple[bytes, str, str]] = {
    "nothing at all": (b"", "Missing", "request_id"),
    "truncated": (request()[:-3], "Malformed", "request"),
    "no message": (b"\xff" * 64, "Malformed", "request"),
    "a length beyond the end": (request() + b"\x32\xff\xff\xff\xff\x0f", "Malformed", "request"),
    "text that is no UTF-8": (request() + b"\x2a\x02\xc3\x28", "NotUtf8", "domain"),
    "no request id": (changed(request_id=""), "Missing", "request_id"),
    "no user": (changed(user_id=""), "Missing", "user_id"),
    "a long user": (changed(user_id="u" * 129), "TooLong", "user_id"),
    "a long text": (changed(text="w" * 513), "TooLong", "text"),
    "no candidates": (changed(candidate_ids=[]), "NoCandidates", "candidate_ids"),
    "the same candidate twice": (changed(candidate_ids=["a", "b", "a"]), "DuplicateCandidate", "candidate_ids"),
    "1,001 candidates": (changed(candidate_ids=[f"i{n}" for n in range(1001)]), "TooMany", "candidate_ids"),
    "an empty candidate": (changed(candidate_ids=["a", ""]), "Empty", "candidate_ids[1]"),
    "a score too few": (changed(baseline_scores=[1.0] * 9), "BaselineScoresCount", "baseline_scores"),
    "a score that is NaN": (changed(baseline_scores=[float("nan")] * 10), "BaselineScoreNotFinite", "baseline_scores"),
    "a top of 1,001": (changed(top_k=1001), "TopK", "top_k"),
    "an embedding too short": (embedded(packed(*VECTOR[:-1])), "EmbeddingLength", "embedding.values"),
    "an embedding too long": (embedded(packed(*VECTOR, 0.0)), "EmbeddingLength", "embedding.values"),
    "half a number": (embedded(packed(*VECTOR)[:-2]), "EmbeddingLength", "embedding.values"),
    "an embedding with NaN": (embedded(packed(float("nan"), *VECTOR[1:])), "EmbeddingNotFinite", "embedding.values"),
    "an infinite embedding": (embedded(packed(float("inf"), *VECTOR[1:])), "EmbeddingNotFinite", "embedding.values"),
    "an embedding of norm zero": (embedded(packed(*[0.0] * DIM)), "EmbeddingZeroNorm", "embedding.values"),
    "an embedding of norm two": (embedded(packed(*[2 * x for x in VECTOR])), "EmbeddingNotUnit", "embedding.values"),
    "a space that is no fingerprint": (embedded(packed(*VECTOR), "clip"), "Space", "embedding.space"),
    "an unknown domain": (changed(domain="nowhere"), "UnknownDomain", "domain"),
    "an unknown label": (changed(required_labels=["unicorn"]), "UnknownLabel", "required_labels"),
    "a pool too large": (changed(candidate_ids=[], pool_size=201), "PoolSize", "pool_size"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_its_variant_status_and_field(both: Both, mistake: str) -> None:
    bytes_, variant, field = MISTAKES[mistake]
    with pytest.raises(_core.RequestError) as named:
        both.core.rerank(bytes_)
    assert named.value.variant == variant
    assert CORE_STATUS["RequestError"][variant] is Code.INVALID_ARGUMENT
    for refused in (refused_call(both.server, bytes_), refused_stream(both.server, bytes_)):
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field in str(refused.details())
        assert refused.details() == str(named.value)
    assert both.server.call(request(10, user=TREATED)).status == wire.STATUS_RERANKED


def refused_call(server: Serving, bytes_: bytes) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        server.call(bytes_)
    return refused.value


def refused_stream(server: Serving, bytes_: bytes) -> grpc.RpcError:
    """The answer before the mistake still arrives."""
    with grpc.insecure_channel(server.address) as channel:
        stream: Any = channel.stream_stream(STREAM)
        answers = stream(iter([request(10, user=TREATED), bytes_, request(10)]), timeout=20)
        assert wire.RerankResponse.FromString(next(answers)).request_id == "r-1"
        with pytest.raises(grpc.RpcError) as refused:
            next(answers)
    return refused.value


def test_too_many_bytes_are_resource_exhausted_with_the_limit(both: Both) -> None:
    for size in (MAX_REQUEST_BYTES + 1, 64 << 20):
        message = valid()
        message.request_id = "r" * size
        refused = refused_call(both.server, message.SerializeToString())
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    message = valid()
    message.domain = "d" * MAX_REQUEST_BYTES
    assert "server.max_request_bytes" in str(refused_call(both.server, message.SerializeToString()).details())


def test_any_bytes_are_answered_or_refused_and_the_worker_lives(both: Both) -> None:
    draw = random.Random(17)
    whole = request(30, user=TREATED)
    outcomes: set[object] = set()
    with grpc.insecure_channel(both.server.address) as channel:
        rerank: Any = channel.unary_unary(UNARY)
        for _ in range(HOSTILE_REQUESTS):
            hostile = bytearray(whole[: draw.randrange(len(whole) + 1)] if draw.random() < 0.5 else whole)
            for _ in range(draw.randrange(1, 20)):
                hostile.insert(draw.randrange(len(hostile) + 1), draw.randrange(256))
                hostile[draw.randrange(len(hostile))] = draw.randrange(256)
            try:
                outcomes.add(wire.RerankResponse.FromString(rerank(bytes(hostile), timeout=20)).status)
            except grpc.RpcError as refused:
                outcomes.add(refused.code())
    assert grpc.StatusCode.INVALID_ARGUMENT in outcomes
    answers = {wire.STATUS_RERANKED, wire.STATUS_PARTIAL, wire.STATUS_BASELINE}
    assert outcomes <= {grpc.StatusCode.INVALID_ARGUMENT, *answers}
    assert both.server.call(whole).status == wire.STATUS_RERANKED


def test_another_space_is_answered_with_the_baseline(both: Both) -> None:
    answer = both.server.call(embedded(packed(*VECTOR), "0" * 32))
    assert (answer.status, answer.reason) == (wire.STATUS_BASELINE, wire.REASON_MODEL_MISMATCH)
    assert list(answer.ranking) == list(range(10))


def test_unknown_ids_keep_their_places(both: Both) -> None:
    known = [f"image-{row}" for row in range(8)]
    answer = both.server.call(changed(candidate_ids=["nobody", *known[:4], "nothing", *known[4:]]))
    assert (answer.status, answer.reason) == (wire.STATUS_PARTIAL, wire.REASON_UNSPECIFIED)
    assert (answer.ranking[0], answer.ranking[5]) == (0, 5)
    assert (answer.counts.unknown, answer.counts.scored) == (2, 8)
    assert [position for position, state in enumerate(answer.candidate_states) if state == 4] == [0, 5]


def test_nothing_but_unknown_ids_has_no_features(both: Both) -> None:
    answer = both.server.call(changed(candidate_ids=["nobody", "nothing"]))
    assert (answer.status, answer.reason) == (wire.STATUS_BASELINE, wire.REASON_NO_FEATURES)
    assert list(answer.ranking) == [0, 1]


def test_an_expired_deadline_is_a_reason_or_the_clients_own_status(both: Both) -> None:
    assert both.core.rerank(request(10, user=TREATED), 1).reason == wire.REASON_DEADLINE
    with grpc.insecure_channel(both.server.address) as channel:
        rerank: Any = channel.unary_unary(UNARY)
        with pytest.raises(grpc.RpcError) as late:
            rerank(request(10, user=TREATED), timeout=-1)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert both.server.call(request(10, user=TREATED)).status == wire.STATUS_RERANKED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nwrokers = 2\n", ["server.wrokers", "did you mean workers?", "Allowed:"]),
        ("[sevrer]\nworkers = 2\n", ["sevrer", "did you mean server?"]),
        ("[server]\nworkers = 0\n", ["server.workers", "found 0"]),
        ("[server\n", ["not TOML"]),
    ],
)
def test_a_config_typo_stops_serve_with_one_line(
    tmp_path: Path, text: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "ra_guard.toml"
    config.write_text(text)
    assert main(["serve", "--config", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(config) in line
    for word in words:
        assert word in line
