"""Rankings against judgments by trec_eval's conventions: the same numbers as ir-measures on the same files.

- **Order**: by score, falling, as float32, which is how trec_eval keeps scores: 1 and 1 + 1e-9 are equal. Equal scores
  go by document id, falling, byte by byte. The rank that a run states is not read.
- **Gain** is the grade (linear), 0 for what was not judged and for negative grades; discount is log2(rank + 1). The
  ideal order is over all judged documents of the query. A grade of 1 or more is relevant.
- **Queries** are those of the judgments. One that the run lacks counts 0, and so does one without a relevant document;
  both are counted, since both pull every mean down. Queries of the run that nobody judged are left out.

Experiments differ in the last point: `stats.ndcg` leaves out requests without a relevant candidate.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ra_guard.evaluation.errors import NothingJudged, UnknownMetric
from ra_guard.evaluation.trec import Qrels, Run
from ra_guard.stats.inputs import Floats
from ra_guard.stats.ndcg import POINTS, ndcg

RELEVANT: Final = 1
"""The least grade of a relevant document."""


class Kind(StrEnum):
    """What is measured, by ir-measures' names."""

    NDCG = "nDCG"
    """Normalised discounted cumulative gain."""
    PRECISION = "P"
    """Share of the first k that is relevant; a shorter ranking still divides by k."""
    RECALL = "R"
    """Share of the relevant documents that is among the first k."""
    RECIPROCAL_RANK = "RR"
    """1 / rank of the first relevant document."""
    AVERAGE_PRECISION = "AP"
    """Mean over all relevant documents of the precision at their ranks, 0 for those not found."""


_SPELLINGS: Final = {kind.value.lower(): kind for kind in Kind} | {"recall": Kind.RECALL, "precision": Kind.PRECISION}
_NEEDS_DEPTH: Final = frozenset({Kind.PRECISION, Kind.RECALL})
_WRITTEN: Final = re.compile(r"([A-Za-z]+)(?:@([1-9][0-9]{0,5}))?")


@dataclass(frozen=True)
class Metric:
    """A kind and how far down a ranking it looks; None for all of it."""

    kind: Kind
    depth: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """``nDCG@10`` and its like. Raises UnknownMetric."""
        written = _WRITTEN.fullmatch(text)
        kind = _SPELLINGS.get(written[1].lower()) if written else None
        depth = int(written[2]) if written and written[2] else None
        if kind is None or (depth is None and kind in _NEEDS_DEPTH) or (depth and kind is Kind.RECIPROCAL_RANK):
            raise UnknownMetric(
                found=f"metric {text!r}",
                wanted="nDCG, nDCG@k, P@k, R@k, RR, AP or AP@k with k from 1 to 999999",
                cure="such as nDCG@10",
            )
        return cls(kind, depth)

    def __str__(self) -> str:
        return self.kind if self.depth is None else f"{self.kind}@{self.depth}"


@dataclass(frozen=True)
class Ranked:
    """One query: the grades in the order of the run, and those of everything judged."""

    served: npt.NDArray[np.int64]
    """(retrieved,), 0 for what was not judged."""
    judged: npt.NDArray[np.int64]
    """(judged,), in any order."""

    @classmethod
    def of(cls, judged: Mapping[str, int], scored: Mapping[str, float]) -> Self:
        """Grades by document and scores by document."""
        scores = np.fromiter(scored.values(), np.float64, len(scored)).astype(np.float32).tolist()
        # Code points sort as their UTF-8 bytes do.
        order = sorted(zip(scores, scored, strict=True), reverse=True)
        served = np.fromiter((judged.get(document, 0) for _, document in order), np.int64, len(order))
        return cls(served, np.fromiter(judged.values(), np.int64, len(judged)))

    @property
    def relevant(self) -> int:
        """How many judged documents are."""
        return int(np.count_nonzero(self.judged >= RELEVANT))

    def value(self, metric: Metric) -> float:
        """Of this query; 0 without a relevant document."""
        if not self.relevant:
            return 0.0
        depth = metric.depth or max(self.served.size, self.judged.size)
        if metric.kind is Kind.NDCG:
            return (ndcg(np.maximum(self.served, 0), np.maximum(self.judged, 0), k=depth) or 0.0) / POINTS
        ranks = np.flatnonzero(self.served[:depth] >= RELEVANT) + 1
        match metric.kind:
            case Kind.PRECISION:
                return ranks.size / depth
            case Kind.RECALL:
                return ranks.size / self.relevant
            case Kind.RECIPROCAL_RANK:
                return 1.0 / int(ranks[0]) if ranks.size else 0.0
            case Kind.AVERAGE_PRECISION:
                return float(np.sum(np.arange(1, ranks.size + 1) / ranks)) / self.relevant


@dataclass(frozen=True)
class RunValues:
    """A run by query and metric. Every array has one entry for each of ``queries``."""

    queries: tuple[str, ...]
    """Of the judgments, in their order."""
    values: Mapping[Metric, Floats]
    without_relevant: int
    """Queries in which nothing judged is relevant: they count 0."""
    not_retrieved: int
    """Queries that the run lacks: they count 0."""
    not_judged: int
    """Queries of the run that the judgments lack: they do not count."""


def values_of(qrels: Qrels, run: Run, metrics: Sequence[Metric]) -> RunValues:
    """Every metric of every judged query. Raises NothingJudged without one."""
    if not qrels:
        raise NothingJudged(found="no judged query", wanted="one or more", cure="check that the file is the right one")
    ranked = [Ranked.of(judged, run.get(query, {})) for query, judged in qrels.items()]
    return RunValues(
        tuple(qrels),
        {metric: np.array([each.value(metric) for each in ranked]) for metric in metrics},
        without_relevant=sum(not each.relevant for each in ranked),
        not_retrieved=len(qrels.keys() - run.keys()),
        not_judged=len(run.keys() - qrels.keys()),
    )
