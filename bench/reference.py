"""The documented score in float64, from row numbers alone, and the answers judged by it.

This is a second spelling of score/SCORE.md for the reference workload: a query embedding, no required or forbidden
labels, every row with embedding and detections.
"""

import json

import numpy as np
import numpy.typing as npt
from ra_guard.v1 import rerank_pb2
from ra_guard.v1.rerank_pb2 import RerankResponse

from bench import agreement, synth, workload
from bench.workload import DIM, Question

LABELS_EXPECTED = 4
"""Labels that the similarity of a query may name."""
SIMILARITY_FLOOR = 0.3
"""Cosine above which a label's text counts as similar to the query: the upper end of the space's cosine range."""
EPSILON = float(np.finfo(np.float32).eps)

Exact = npt.NDArray[np.float64]


def cosine_range() -> tuple[float, float]:
    """The cosines that the space maps to 0 and 1."""
    low, high = json.loads(synth.SPACE_JSON)["cosine_range"]
    return low, high


def exact_scores(question: Question, dtype: str) -> Exact:
    """``(candidates,)`` float64: final scores over rows stored in that type."""
    rows = synth.decoded(*synth.stored(synth.embeddings_of(question.rows), dtype)).astype(np.float64)
    query = question.query
    if dtype == "i8":  # both sides of an i8 product are rounded
        query = synth.decoded(*synth.stored_queries(query[None], dtype))[0]
    low, high = cosine_range()
    weights = workload.WEIGHTS
    scaled = (rows @ query.astype(np.float64) - low) / (high - low)
    prior = 1 - np.arange(len(rows)) / len(rows)
    scores: Exact = (
        weights["cosine"] * scaled + weights["consistency"] * _consistency(question) + weights["prior"] * prior
    )
    return scores


def _consistency(question: Question) -> Exact:
    similar = workload.label_embeddings().astype(np.float64) @ question.query.astype(np.float64)
    nearest = np.argsort(-similar, kind="stable")[:LABELS_EXPECTED]
    expected = np.zeros(workload.LABELS)
    expected[nearest] = np.maximum(similar[nearest] - SIMILARITY_FLOOR, 0)
    total = expected.sum()
    presences = synth.presences_of(question.rows).astype(np.float64)
    consistency: Exact = presences @ (expected / total) if total else np.zeros(len(presences))
    return consistency


def score_error() -> float:
    """The largest error of a final score: the float32 dot product, the stored presence, four float32 terms."""
    low, high = cosine_range()
    cosine = DIM * EPSILON / (high - low)
    presence = 2 / 65535
    return workload.WEIGHTS["cosine"] * cosine + workload.WEIGHTS["consistency"] * presence + 8 * EPSILON


def check_answer(who: str, answer: bytes, question: Question, dtype: str) -> None:
    """Refuses an answer that is not the documented ranking with the documented scores."""
    response = RerankResponse.FromString(answer)
    if response.status != rerank_pb2.STATUS_RERANKED:
        status, reason = (
            rerank_pb2.Status.Name(response.status),
            rerank_pb2.Reason.Name(response.reason),
        )
        raise agreement.WrongAnswerError(f"{who}: answered {status} ({reason}), wanted STATUS_RERANKED")
    wanted = exact_scores(question, dtype)
    ranking = np.array(response.ranking, np.int64)
    agreement.check_ranking(who, ranking, wanted, score_error())
    agreement.check_scores(who, np.array(response.scores), wanted[ranking], score_error())
