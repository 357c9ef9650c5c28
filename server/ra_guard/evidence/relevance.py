"""nDCG of requests from their labels, in the integers of a tally. `stats.ndcg` has the definition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ra_guard.evidence.tally import UNIT, Quantity
from ra_guard.stats.ndcg import NOT_SERVED, POINTS, RequestGains, click_gains, ndcg_by_request

DEPTH: Final = 10


@dataclass(frozen=True)
class Labelled:
    """Labels of candidates, one row each; rows of a request in the same order whenever they are read."""

    request: npt.NDArray[np.uint32]
    rank: npt.NDArray[np.int64]
    """Served, from 1, or NOT_SERVED."""
    grade: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Requests that have a value, one row a request and quantity."""

    request: npt.NDArray[np.uint32]
    quantity: npt.NDArray[np.uint8]
    total: npt.NDArray[np.int64]
    """nDCG@10 of 0..1 in billionths."""


def scored(labels: Labelled, propensity: Sequence[float] | None) -> Scored:
    """nDCG@10 of each request with a relevant candidate.

    With ``propensity`` (depth,), grades are clicks and each request has a second value, corrected for position; ranks
    beyond its depth have its last entry, and what was not served was not shown and has no weight.
    """
    found = [(Quantity.NDCG, ndcg_by_request(labels.request, labels.rank, labels.grade, k=DEPTH))]
    if propensity is not None:
        shown = labels.rank > NOT_SERVED
        places = np.minimum(labels.rank[shown], len(propensity))
        weights = click_gains(labels.grade[shown], places, np.asarray(propensity, dtype=np.float64))
        corrected = ndcg_by_request(labels.request[shown], labels.rank[shown], weights, k=DEPTH)
        found.append((Quantity.NDCG_CORRECTED, corrected))
    return Scored(
        np.concatenate([gains.request.astype(np.uint32) for _, gains in found]),
        np.concatenate([np.full(gains.request.size, quantity, np.uint8) for quantity, gains in found]),
        np.concatenate([_billionths(gains) for _, gains in found]),
    )


def _billionths(gains: RequestGains) -> npt.NDArray[np.int64]:
    rounded: npt.NDArray[np.int64] = np.rint(gains.points / POINTS * UNIT).astype(np.int64)
    return rounded
