"""nDCG@k of requests, in points: 100 is the best order that the judged candidates allow.

Conventions, those of trec_eval: gain is the label itself (linear), discount is log2(rank + 1) with ranks from 1, the
ideal order is over **all** judged candidates of the request, whether served in the first k or not. What was not judged
gains nothing. A request without a relevant candidate has no nDCG: it is None or left out and counted, never 0, and
by the same rule in both arms. Ranks are those served, so ties do not arise; where only scores are at hand,
`served_order` breaks ties by the order of input. Reference: Järvelin and Kekäläinen, TOIS 20 (2002).

With clicks for labels, what stood higher was seen more often. `click_gains` weighs a click by the inverse of the chance
that its position was looked at (Joachims, Swaminathan and Schnabel, WSDM 2017); its value stands beside the plain one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ra_guard.stats.errors import OutOfOrder, OutOfRange
from ra_guard.stats.inputs import Floats, Labels, Values, labels, same_length, vector

POINTS: Final = 100.0
NOT_SERVED: Final = 0
"""The rank of a judged candidate that was not in the answer."""
LEAST_PROPENSITY: Final = 0.05
"""No click counts for more than twenty: bounds the variance, at the price of too little credit far down."""


@dataclass(frozen=True)
class RequestGains:
    """Of many requests, one entry a request that has a relevant candidate, in ascending order of request number.

    ``points`` is 100 * dcg / ideal. The sums are there for metrics that are ratios of totals.
    """

    request: npt.NDArray[np.int64]
    points: Floats
    dcg: Floats
    ideal: Floats
    without_relevant: int
    """Requests left out because nothing judged in them is relevant."""


def ndcg(served: Values, judged: Values, *, k: int = 10) -> float | None:
    """Of one request, in points.

    ``served`` (n,) gains in the order served, 0 for what was not judged; ``judged`` (m,) gains of all judged
    candidates, in any order. None without a gain above 0 among the judged. Raises OutOfRange for negative gains, for
    k below 1, and where the served gains are not among the judged ones (the ideal would be beaten); NotFinite,
    WrongShape.
    """
    in_order, best = _gains("served", served), np.sort(_gains("judged", judged))[::-1]
    _depth(k)
    relevant = np.sort(in_order[in_order > 0])[::-1]
    if relevant.size > best.size or (relevant > best[: relevant.size]).any():
        raise OutOfRange(
            found="gains served that are not judged", wanted="served gains among the judged", cure="pass all judged"
        )
    ideal = _dcg(best[:k])
    return POINTS * _dcg(in_order[:k]) / ideal if ideal > 0 else None


def ndcg_by_request(
    request: Labels, rank: Sequence[int] | npt.NDArray[np.integer], gain: Values, *, k: int = 10
) -> RequestGains:
    """Of many requests at once, from one row a judged candidate, in any order.

    ``request`` (rows,) integers, ``rank`` (rows,) the rank served, from 1, or NOT_SERVED, ``gain`` (rows,). Raises
    OutOfRange for negative gains, negative ranks or k below 1, OutOfOrder for two candidates at one rank of a request;
    NotFinite, WrongShape.
    """
    gains = _gains("gain", gain)
    ranks = np.asarray(rank, dtype=np.int64)
    same_length("rank", ranks.size, gains.size)
    index = labels("request", request, gains.size)
    _depth(k)
    if (ranks < 0).any():
        raise OutOfRange(found=f"rank {int(ranks.min())}", wanted="1 or more, 0 for not served", cure="count from 1")
    served = ranks > NOT_SERVED
    places = np.stack([index[served], ranks[served]])
    if np.unique(places, axis=1).shape[1] != places.shape[1]:
        raise OutOfOrder(found="two candidates at one rank", wanted="one at each", cure="pass each candidate once")
    requests = np.unique(np.asarray(request)).astype(np.int64)

    def total(rows: Floats, places: npt.NDArray[np.int64], of: npt.NDArray[np.intp]) -> Floats:
        counted = (places >= 1) & (places <= k)
        weights = rows[counted] / np.log2(places[counted] + 1.0)
        return np.asarray(np.bincount(of[counted], weights=weights, minlength=requests.size), dtype=np.float64)

    best_first = np.lexsort((-gains, index))
    sizes = np.bincount(index, minlength=requests.size)
    ideal_rank = np.arange(1, gains.size + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    dcg = total(gains, ranks, index)
    ideal = total(gains[best_first], ideal_rank, index[best_first])
    kept = ideal > 0
    return RequestGains(
        requests[kept],
        POINTS * dcg[kept] / ideal[kept],
        dcg[kept],
        ideal[kept],
        int(requests.size - np.count_nonzero(kept)),
    )


def click_gains(
    clicked: Values,
    rank: Sequence[int] | npt.NDArray[np.integer],
    propensity: Values,
    *,
    least: float = LEAST_PROPENSITY,
) -> Floats:
    """Gains of clicks corrected for position: click / max(propensity at its rank, least).

    ``clicked`` (n,) 0 or 1, ``rank`` (n,) from 1 as shown, ``propensity`` (depth,) the chance that a result at rank 1,
    2, ... is looked at, relative to the first; measured elsewhere, by swaps or by interventions. Guarantee: where a
    click is a look times a relevance, and least is not reached, the sum of gain times discount is unbiased for the one
    that relevance would give. nDCG, a ratio, is then consistent over requests' totals (`RequestGains.dcg` over
    ``ideal``), not unbiased in each request. Reference: Joachims et al., WSDM 2017. Raises OutOfRange for clicks other
    than 0 and 1, propensities or least outside (0, 1], ranks below 1 or beyond the propensities; NotFinite, WrongShape.
    """
    clicks, chances = vector("clicked", clicked), vector("propensity", propensity)
    ranks = np.asarray(rank, dtype=np.int64)
    same_length("rank", ranks.size, clicks.size)
    if not np.isin(clicks, (0.0, 1.0)).all():
        raise OutOfRange(found="clicks other than 0 and 1", wanted="0 or 1", cure="count a result once")
    if not 0 < least <= 1 or (chances <= 0).any() or (chances > 1).any():
        raise OutOfRange(
            found=f"propensities {chances.tolist()}, least {least}",
            wanted="above 0, at most 1",
            cure="divide by the first",
        )
    if ranks.size and not (ranks.min() >= 1 and ranks.max() <= chances.size):
        raise OutOfRange(
            found=f"ranks {int(ranks.min())} to {int(ranks.max())}",
            wanted=f"1 to {chances.size}, as many as propensities",
            cure="pass a propensity for each rank",
        )
    return clicks / np.maximum(chances[ranks - 1], least)


def served_order(scores: Values) -> npt.NDArray[np.intp]:
    """Positions in the order served: scores descending, ties by the order of input.

    ``scores`` (n,). Raises NotFinite: what has no score has no place by it.
    """
    return np.argsort(-vector("scores", scores), kind="stable")


def _dcg(gains: Floats) -> float:
    return float(np.sum(gains / np.log2(np.arange(2.0, gains.size + 2.0))))


def _gains(name: str, values: Values) -> Floats:
    gains = vector(name, values)
    if (gains < 0).any():
        raise OutOfRange(
            found=f"{name} with {float(gains.min())}", wanted="gains of 0 or more", cure="label the irrelevant 0"
        )
    return gains


def _depth(k: int) -> None:
    if k < 1:
        raise OutOfRange(found=f"k = {k}", wanted="1 or more", cure="10 is usual")
