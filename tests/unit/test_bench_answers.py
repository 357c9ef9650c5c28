"""The synthetic gallery, the rival over it, and the reference that judges every answer."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from ra_guard import _core
from ra_guard.v1 import rerank_pb2
from ra_guard.v1.rerank_pb2 import RerankRequest, RerankResponse

from bench import baseline, core, reference, synth, workload
from bench.agreement import WrongAnswerError
from bench.synth import BLOCK_ROWS
from bench.workload import DIM, LABELS, Question

ROWS = BLOCK_ROWS + 500
"""One whole block and a part of the next, which is derived from it."""
SPREAD = np.array([0, 1, 499, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 499])


@pytest.fixture(scope="module")
def rival() -> baseline.NumpyReranker:
    return baseline.NumpyReranker(ROWS, core.space(), io.BytesIO())


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return workload.questions(8, rows=ROWS, space=core.space(), treated=core.treated)


def test_ids_have_24_characters_and_are_distinct() -> None:
    names = workload.ids_of(np.arange(100_000))
    assert {len(name) for name in names} == {24}
    assert len(set(names)) == len(names)
    assert workload.ids_of(SPREAD) == [workload.ids_of(np.array([row]))[0] for row in SPREAD]


def test_a_request_is_the_reference_request(asked: list[Question]) -> None:
    request = RerankRequest.FromString(asked[0].message)
    assert len(set(request.candidate_ids)) == workload.CANDIDATES
    assert request.embedding.values == asked[0].query.tobytes()
    assert [name.encode() for name in request.candidate_ids] == workload.ids_of(asked[0].rows)
    assert 7_000 < len(asked[0].message) < 8_000


def test_requests_and_users_differ_and_are_all_treated(asked: list[Question]) -> None:
    requests = [RerankRequest.FromString(question.message) for question in asked]
    assert len({request.user_id for request in requests}) == len(asked)
    assert len({request.request_id for request in requests}) == len(asked)
    assert all(_core.bucket(workload.EXPERIMENT, request.user_id) < workload.RAMP_BP for request in requests)


def test_every_row_follows_from_its_number() -> None:
    whole = synth.matrix(ROWS)
    np.testing.assert_array_equal(synth.embeddings_of(SPREAD), whole[SPREAD])
    np.testing.assert_allclose(np.linalg.norm(whole[SPREAD], axis=1), 1, atol=1e-6)
    assert not np.array_equal(whole[0], whole[BLOCK_ROWS])
    presences = synth.presence_matrix(ROWS)
    np.testing.assert_array_equal(presences[:, SPREAD].T, np.rint(synth.presences_of(SPREAD) * 65535))


def test_every_row_has_detections_the_most_confident_first() -> None:
    detections = synth.block().detections.first(1000).moved_on(3)
    assert detections.counts.min() >= 1
    assert set(np.unique(detections.boxes[:, 0])) <= set(range(LABELS))
    rows = np.repeat(np.arange(1000), detections.counts)
    rising = np.diff(detections.boxes[:, 1]) > 0
    assert not np.any(rising & (np.diff(rows) == 0))
    _, _, x0, y0, x1, y1 = detections.boxes.T
    assert np.all((x0 >= 0) & (x0 < x1) & (x1 <= 1) & (y0 >= 0) & (y0 < y1) & (y1 <= 1))


def test_presence_is_a_noisy_or_over_the_boxes_of_a_label() -> None:
    whole_image, speck = [5, 0.5, 0, 0, 1, 1], [5, 0.8, 0, 0, 0, 0]
    detections = synth.Detections(np.array([2], np.int32), np.array([whole_image, speck], np.float32))
    presences = detections.presences()[0]
    # The whole image counts with its confidence, a speck in the corner with a quarter of it.
    assert presences[5] == pytest.approx(1 - (1 - 0.5) * (1 - 0.8 * 0.25))
    assert np.count_nonzero(presences) == 1


@pytest.mark.parametrize(("dtype", "error"), [("f32", 0.0), ("f16", 2.0**-11), ("i8", 0.5 / 127)])
def test_stored_rows_come_back_within_half_a_step_of_their_largest_value(dtype: str, error: float) -> None:
    rows = synth.embeddings_of(SPREAD)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    assert np.all(np.abs(synth.decoded(*synth.stored(rows, dtype)) - rows) <= largest * (error + 1e-7))


def test_the_rival_gives_the_documented_ranking(rival: baseline.NumpyReranker, asked: list[Question]) -> None:
    for question in asked:
        reference.check_answer("rival", rival(question.message), question, "f32")


def test_detections_decide_some_places(asked: list[Question]) -> None:
    """Otherwise the workload would not show whether they are taken into account."""
    low, high = reference.cosine_range()
    cosine = (synth.embeddings_of(asked[0].rows) @ asked[0].query - low) / (high - low)
    rest = reference.exact_scores(asked[0], "f32") - workload.WEIGHTS["cosine"] * cosine
    assert np.ptp(rest) > workload.WEIGHTS["prior"]


@pytest.mark.parametrize("wrong", ["order", "scores", "status", "missing"])
def test_a_wrong_answer_is_refused(rival: baseline.NumpyReranker, asked: list[Question], wrong: str) -> None:
    response = RerankResponse.FromString(rival(asked[0].message))
    if wrong == "order":
        response.ranking[0], response.ranking[-1] = response.ranking[-1], response.ranking[0]
    elif wrong == "scores":
        response.scores[7] += 1e-3
    elif wrong == "status":
        response.status = rerank_pb2.STATUS_PARTIAL
    else:
        del response.ranking[-1]
    with pytest.raises(WrongAnswerError):
        reference.check_answer("wrong", response.SerializeToString(), asked[0], "f32")


def test_the_rival_assigns_users_as_the_product_does() -> None:
    for number in range(500):
        unit = f"user-{number}"
        assert baseline.bucket("bench", unit) == _core.bucket("bench", unit)


def test_the_space_is_canonical_json() -> None:
    space = json.loads(synth.SPACE_JSON)
    assert json.dumps(space, sort_keys=True, separators=(",", ":")) == synth.SPACE_JSON
    assert space["dim"] == DIM


def test_a_gallery_that_does_not_fit_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.available_memory_bytes", lambda: 1 << 30)
    assert "want" in (synth.room_for(10_000_000, "i8", tmp_path) or "")
    monkeypatch.setattr("bench.machine.available_memory_bytes", lambda: 1 << 40)
    monkeypatch.setattr("bench.machine.free_disk_bytes", lambda _: 1 << 30)
    assert "disk" in (synth.room_for(10_000_000, "i8", tmp_path) or "")
