"""Metrics of TREC files are ir-measures' numbers, whatever the files hold.

With one exception: grades below 0 are 0 in the files that ir-measures reads, since pytrec-eval aborts the process or
hangs over some files with them. trec_eval gains nothing by either; a unit test has numbers of a file that it can read.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, nDCG
from ra_guard.evaluation.metrics import Metric, values_of
from ra_guard.evaluation.randomisation import MOST_PATTERNS, randomisation_p
from ra_guard.evaluation.trec import parse_qrels, parse_run

QUERIES = ["1", "2", "q-é", "q4"]
DOCUMENTS = ["a", "b", "B", "a1", "a10", "a2", "é", "\U0001d11e", "\uff5e", "z"]
"""Among them some whose order differs between bytes, UTF-16 and a human's eye."""
SCORES = ["1", "1.000000001", "1.0000001", "-0.0", "0", "1e-46", "-1e-46", "3e38", "-2.5", "7", "7.0000000001", "1e2"]
"""Equal as float32, or nearly so."""
MEASURES = [nDCG @ 1, nDCG @ 3, nDCG @ 10, nDCG, P @ 1, P @ 5, P @ 20, R @ 2, R @ 10, RR, AP, AP @ 3]

Judged = tuple[str, str, int]
Scored = tuple[str, str, str]


def distinct(rows: Sequence[tuple[str, str, object]]) -> bool:
    return len({row[:2] for row in rows}) == len(rows)


judgments = st.lists(
    st.tuples(st.sampled_from(QUERIES), st.sampled_from(DOCUMENTS), st.integers(-2, 4)), min_size=1, max_size=30
).filter(distinct)
rankings = st.lists(
    st.tuples(
        st.sampled_from([*QUERIES, "unjudged"]),
        st.sampled_from([*DOCUMENTS, "stranger"]),
        st.sampled_from(SCORES) | st.floats(-1e30, 1e30).map(repr),
    ),
    max_size=40,
).filter(distinct)


def qrels_text(judged: Sequence[Judged]) -> str:
    return "".join(f"{query}\t0 {document}  {grade}\n" for query, document, grade in judged)


def run_text(scored: Sequence[Scored]) -> str:
    return "".join(f"{query} Q0 {document} {rank} {score} t\n" for rank, (query, document, score) in enumerate(scored))


def reference(qrels: str, run: str) -> Any:
    read: Any = ir_measures
    return read.calc(MEASURES, read.read_trec_qrels(io.StringIO(qrels)), read.read_trec_run(io.StringIO(run)))


@settings(max_examples=250, deadline=None)
@given(judgments, rankings)
@example([("1", "a", 1)], [])
@example([("1", "a", -1)], [("1", "a", "1")])
@example([("1", "a", 1), ("1", "b", 0)], [("1", "a", "1"), ("1", "b", "1.000000001")])
def test_values_are_those_of_ir_measures(judged: list[Judged], scored: list[Scored]) -> None:
    qrels, run = qrels_text(judged), run_text(scored)
    not_below_0 = qrels_text([(query, document, max(grade, 0)) for query, document, grade in judged])
    wanted = reference(not_below_0, run)
    metrics = [Metric.parse(str(measure)) for measure in MEASURES]
    found = values_of(
        parse_qrels(io.BytesIO(qrels.encode()), "qrels"), parse_run(io.BytesIO(run.encode()), "run"), metrics
    )
    by_query = {(str(each.measure), each.query_id): each.value for each in wanted.per_query}
    assert by_query.keys() == {(str(metric), query) for metric in metrics for query in found.queries}
    for metric in metrics:
        for query, value in zip(found.queries, found.values[metric], strict=True):
            assert value == pytest.approx(by_query[str(metric), query], abs=1e-12), (str(metric), query)
        mean = wanted.aggregated[ir_measures.parse_measure(str(metric))]
        assert float(found.values[metric].mean()) == pytest.approx(mean, abs=1e-12)
    assert found.not_judged == len({row[0] for row in scored} - {row[0] for row in judged})
    assert found.not_retrieved == len({row[0] for row in judged} - {row[0] for row in scored})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_the_randomisation_test_counts_every_pattern(differences: list[float]) -> None:
    total = abs(math.fsum(differences))
    sums = np.array([0.0])
    for each in differences:
        sums = np.concatenate([sums + each, sums - each])
    close = 1e-11 * sum(map(abs, differences))
    p = randomisation_p(differences, seed=0)
    assert np.mean(np.abs(sums) >= total + close) <= p <= np.mean(np.abs(sums) >= total - close)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=15, max_size=60), st.integers(0, 5))
def test_a_sampled_p_value_is_repeatable_symmetric_and_never_0(differences: list[float], seed: int) -> None:
    p = randomisation_p(differences, seed=seed)
    assert p == randomisation_p(differences, seed=seed)
    assert p == randomisation_p([-each for each in differences], seed=seed)
    # All of one sign: only the pattern found and its mirror are as far.
    assert 1 / (MOST_PATTERNS + 1) <= p < 0.01
