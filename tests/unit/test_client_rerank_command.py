"""`ra-guard rerank`: what it asks for, and how it shows every kind of answer."""

import io
import json
import math
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from ra_guard.cli import main
from ra_guard.cli.rerank import DEFAULT_POOL, STATES, plain, rows_of
from ra_guard.v1 import rerank_pb2 as wire

NAN = math.nan


def answered() -> wire.RerankResponse:
    """Three candidates: the second wins, the third is cold and keeps its place."""
    return wire.RerankResponse(
        request_id="r",
        assigned_arm=wire.ARM_TREATMENT,
        served_arm=wire.ARM_TREATMENT,
        status=wire.STATUS_PARTIAL,
        experiment_key="k",
        plan_revision=3,
        generation=7,
        space="0" * 32,
        ranking=[1, 0, 2],
        scores=[0.9, 0.5, NAN],
        counts=wire.Counts(candidates=3, scored=2, cold=1),
        candidate_states=bytes([1, 0, 3]),
        stages=wire.StageTimes(decode_ns=4_000, wait_ns=1_000_000),
        explanation=wire.Explanation(
            cosine=[0.2, 0.3, NAN],
            cosine_scaled=[0.5, 0.8, NAN],
            consistency=[NAN, 0.75, NAN],
            contradiction=[NAN, 0.0, NAN],
            prior=[1.0, 0.5, 0.0],
            weights=wire.Weights(cosine=1.0),
            expectation=[wire.ExpectedLabel(label="dog", weight=1.0)],
            detections=[
                wire.CandidateDetections(),
                wire.CandidateDetections(detections=[wire.Detection(label="dog", confidence=0.5)]),
                wire.CandidateDetections(),
            ],
            expectation_source=wire.EXPECTATION_SOURCE_QUERY_WORDS,
        ),
    )


@pytest.fixture
def asked() -> list[wire.RerankRequest]:
    return []


@pytest.fixture
def response() -> wire.RerankResponse:
    return answered()


@pytest.fixture
def address(asked: list[wire.RerankRequest], response: wire.RerankResponse) -> Iterator[str]:
    def rerank(request: wire.RerankRequest, _context: grpc.ServicerContext) -> wire.RerankResponse:
        asked.append(request)
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        rerank,
        request_deserializer=wire.RerankRequest.FromString,
        response_serializer=wire.RerankResponse.SerializeToString,
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("ra_guard.v1.Reranker", {"Rerank": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_rows_know_where_each_came_from() -> None:
    rows = rows_of(answered(), ["a", "b", "c"])
    assert [(row.id, row.before, row.after) for row in rows] == [("b", 2, 1), ("a", 1, 2), ("c", 3, 3)]
    assert [row.state for row in rows] == ["scored", "no detections", "cold"]
    assert rows[2].score is None
    assert rows[1].features["consistency"] is None
    assert rows[0].detections == (("dog", 0.5),)


def test_rows_of_a_pool_that_the_server_drew() -> None:
    response = wire.RerankResponse(ranking=[1, 0], ranked_ids=["y", "x"])
    assert [(row.id, row.before) for row in rows_of(response, [])] == [("y", 2), ("x", 1)]


def test_rows_of_a_baseline_have_no_scores() -> None:
    response = wire.RerankResponse(status=wire.STATUS_BASELINE, reason=wire.REASON_KILLED, ranking=[0, 1])
    rows = rows_of(response, ["a", "b"])
    assert [(row.id, row.score, row.state, row.features) for row in rows] == [
        ("a", None, "not scored", {}),
        ("b", None, "not scored", {}),
    ]
    assert plain(response, rows)["reason"] == "KILLED"


def test_every_state_of_the_wire_has_a_name() -> None:
    rows = rows_of(wire.RerankResponse(ranking=range(6), candidate_states=bytes(range(6))), list("abcdef"))
    assert tuple(row.state for row in rows) == STATES


def test_json_has_no_nan(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerank", "dogs", "a", "b", "c", "--json", "--explain", "--server", address]) == 0

    def never(word: str) -> None:
        raise AssertionError(word)

    answer: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=never)
    assert [row["id"] for row in answer["ranking"]] == ["b", "a", "c"]
    assert answer["ranking"][2]["score"] is None
    assert (answer["status"], answer["reason"], answer["served_arm"]) == ("PARTIAL", None, "treatment")
    assert answer["counts"]["cold"] == 1
    assert answer["stages"]["decode_ns"] == 4_000
    assert answer["expectation"] == {"dog": 1.0}


def test_the_table(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerank", "dogs", "a", "b", "c", "--explain", "--server", address]) == 0
    header, first, *rest = capsys.readouterr().out.splitlines()
    assert header.split()[:9] == [
        "after",
        "before",
        "id",
        "score",
        "cosine",
        "consistency",
        "contradiction",
        "prior",
        "detections",
    ]
    assert first.split() == ["1", "2", "b", "0.9000", "0.3000", "0.7500", "0.0000", "0.5000", "dog", "0.50", "scored"]
    assert "expects dog 1.00 (from query_words)" in rest
    assert any(line.startswith("PARTIAL, arm treatment, served treatment, plan 3, generation 7") for line in rest)


@pytest.mark.parametrize("response", [wire.RerankResponse(ranking=[0], ranked_ids=["\x1b[31mred\x07[bold]x"])])
def test_ids_cannot_steer_the_terminal(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerank", "dogs", "--server", address]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]x" in out


def test_what_is_asked_for(address: str, asked: list[wire.RerankRequest]) -> None:
    words = ["--domain", "d", "--user", "u", "--top-k", "2", "--licence", "cc0"]
    labels = ["--required", "dog", "--required", "cat", "--forbidden", "car"]
    assert main(["rerank", "two dogs", "a", "b", "c", *words, *labels, "--server", address]) == 0
    (request,) = asked
    assert request.request_id
    request.ClearField("request_id")
    assert request == wire.RerankRequest(
        user_id="u",
        text="two dogs",
        domain="d",
        candidate_ids=["a", "b", "c"],
        top_k=2,
        required_labels=["dog", "cat"],
        forbidden_labels=["car"],
        allowed_licences=["cc0"],
    )


@pytest.mark.parametrize("source", ["stdin", "file"])
def test_ids_one_a_line(
    address: str, asked: list[wire.RerankRequest], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a\n\n b \nc"
    if source == "stdin":
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        arguments = ["-"]
    else:
        (tmp_path / "ids").write_text(text)
        arguments = ["--ids-from", str(tmp_path / "ids")]
    assert main(["rerank", "dogs", *arguments, "--server", address]) == 0
    assert list(asked[0].candidate_ids) == ["a", "b", "c"]


def test_no_ids_read_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, address: str, asked: list[wire.RerankRequest]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(["rerank", "dogs", "-", "--server", address]) == 2
    assert asked == []


@pytest.mark.parametrize("response", [wire.RerankResponse(ranking=[0], ranked_ids=["x"])])
@pytest.mark.parametrize(("arguments", "size"), [([], DEFAULT_POOL), (["--pool-size", "7"], 7)])
def test_without_ids_the_server_draws(
    address: str, asked: list[wire.RerankRequest], arguments: list[str], size: int
) -> None:
    assert main(["rerank", "dogs", *arguments, "--server", address]) == 0
    assert (asked[0].pool_size, list(asked[0].candidate_ids)) == (size, [])
