"""Logged calls ranked again under other weights, from the terms that were logged with them. SCORE.md is the rule.

All candidates of all calls lie in flat arrays, calls one after the other and candidates in baseline order, so that a
set of weights costs one sort. Scores are float32 and evaluated in SCORE.md's order: under the weights of the log they
are the logged scores, bit for bit, and `Calls.of` refuses calls for which they are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from ra_guard.evaluation.errors import OtherScores
from ra_guard.stats.ndcg import NOT_SERVED, RequestGains, ndcg_by_request

Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
TERMS: Final = ("cosine", "consistency", "contradiction", "prior")
DEPTH: Final = 10


class State(IntEnum):
    """The states that decide a candidate's place; see SCORE.md."""

    LAST_WITH_FEATURES = 2
    UNLICENSED = 5


@dataclass(frozen=True)
class JudgedCall:
    """One logged call with scores and judgments. Sequences are along its candidates, unless they say otherwise."""

    request_id: str
    user_id: str
    domain: str
    space: str
    top_k: int
    """0 means all."""
    states: Sequence[int]
    """Empty when all are 0."""
    ranking: Sequence[int]
    """Served: positions of candidates, best first."""
    terms: Sequence[Sequence[float]]
    """Cosine, consistency, contradiction, prior; NaN where missing."""
    scores: Sequence[float]
    weights: Sequence[float]
    """Of each term, as logged."""
    grades: Mapping[int, int]
    """By position, of those that were judged."""


@dataclass(frozen=True)
class Scale:
    """The ``cosine_range`` of an embedding space."""

    low: float
    high: float

    def scaled(self, cosine: Singles) -> Singles:
        """0 at the low end, 1 at the high end."""
        low, high = np.float32(self.low), np.float32(self.high)
        return (cosine - low) / (high - low)


@dataclass(frozen=True)
class Calls:
    """Calls in flat arrays: (rows,) one entry a candidate, (calls,) one entry a call, in the calls' order."""

    call: Integers
    """(rows,) number of the call, ascending."""
    licensed: npt.NDArray[np.bool_]
    with_features: npt.NDArray[np.bool_]
    terms: Singles
    """(4, rows) with the cosine scaled, 0 where missing."""
    judged: npt.NDArray[np.bool_]
    grade: npt.NDArray[np.float64]
    """(rows,) 0 where not judged."""
    served_rank: Integers
    """(rows,) from 1, or NOT_SERVED."""
    top_k: Integers
    """(calls,)"""
    user: Integers
    """(calls,) a number for each user."""
    domain: tuple[str, ...]
    """(calls,)"""
    logged_weights: Singles
    """(calls, 4)"""

    @classmethod
    def of(cls, calls: Sequence[JudgedCall], scales: Mapping[str, Scale]) -> "Calls":
        """Of one call or more; ``scales`` by space. OtherScores where logged weights do not give the logged scores."""
        sizes = np.array([len(call.scores) for call in calls], dtype=np.int64)
        ends = np.cumsum(sizes)
        state = np.concatenate([_states(call) for call in calls])
        terms = np.concatenate([np.asarray(call.terms, np.float32) for call in calls], axis=1)
        for call, end in zip(calls, ends, strict=True):
            terms[0, end - len(call.scores) : end] = scales[call.space].scaled(terms[0, end - len(call.scores) : end])
        served, judged, grade = np.zeros(ends[-1], np.int64), np.zeros(ends[-1], bool), np.zeros(ends[-1])
        for call, start in zip(calls, ends - sizes, strict=True):
            served[start + np.asarray(call.ranking, np.int64)] = np.arange(1, len(call.ranking) + 1)
            positions = start + np.fromiter(call.grades, np.int64, len(call.grades))
            judged[positions] = True
            grade[positions] = list(call.grades.values())
        found = cls(
            call=np.repeat(np.arange(len(calls)), sizes),
            licensed=state != State.UNLICENSED,
            with_features=state <= State.LAST_WITH_FEATURES,
            terms=np.where(np.isnan(terms), np.float32(0), terms),
            judged=judged,
            grade=grade,
            served_rank=served,
            top_k=np.array([call.top_k for call in calls], dtype=np.int64),
            user=np.unique([call.user_id for call in calls], return_inverse=True)[1].astype(np.int64),
            domain=tuple(call.domain for call in calls),
            logged_weights=np.array([call.weights for call in calls], np.float32),
        )
        found._check(calls, np.concatenate([np.asarray(call.scores, np.float32) for call in calls]))
        return found

    def _check(self, calls: Sequence[JudgedCall], logged: Singles) -> None:
        found = self.scores(self.logged_weights)
        same = (found.view(np.uint32) == logged.view(np.uint32)) | (np.isnan(found) & np.isnan(logged))
        if same.all():
            return
        first = int(np.argmin(same))
        raise OtherScores(
            found=f"score {found[first]:.9g} of a candidate of request {calls[self.call[first]].request_id!r}",
            wanted=f"the logged {logged[first]:.9g}, from the logged terms and weights",
            cure="use the cosine_range of the space that was served",
        )

    def scores(self, weights: Singles) -> Singles:
        """(rows,) under ``weights`` (calls, 4), NaN for what has no score."""
        of_row = weights.astype(np.float32)[self.call].T
        with np.errstate(over="ignore", invalid="ignore"):
            total = of_row[0] * self.terms[0]
            total = total + of_row[1] * self.terms[1]
            total = total - of_row[2] * self.terms[2]
            total = total + of_row[3] * self.terms[3]
        return np.where(self.with_features & np.isfinite(total), total, np.float32(np.nan))

    def ranks(self, weights: Singles) -> Integers:
        """(rows,) the ranks that ``weights`` (calls, 4) would have served, from 1, or NOT_SERVED."""
        scores = self.scores(weights)
        remaining = np.flatnonzero(self.licensed)
        places = remaining.copy()
        scored = remaining[~np.isnan(scores[remaining])]
        # Stable, so equal scores stay in baseline order; each call's scored candidates fill that call's scored places.
        places[~np.isnan(scores[remaining])] = scored[np.lexsort((-scores[scored], self.call[scored]))]
        sizes = np.bincount(self.call[remaining], minlength=self.top_k.size)
        rank = np.arange(1, remaining.size + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        top_k = self.top_k[self.call[remaining]]
        ranks = np.full(self.call.size, NOT_SERVED, dtype=np.int64)
        ranks[places] = np.where((top_k == 0) | (rank <= top_k), rank, NOT_SERVED)
        return ranks

    def gains(self, ranks: Integers) -> RequestGains:
        """nDCG@10 of each call with something relevant, in points; its ``request`` is the number of the call."""
        judged = self.judged
        return ndcg_by_request(self.call[judged], ranks[judged], self.grade[judged], k=DEPTH)


def _states(call: JudgedCall) -> npt.NDArray[np.uint8]:
    return np.asarray(call.states, np.uint8) if call.states else np.zeros(len(call.scores), np.uint8)
