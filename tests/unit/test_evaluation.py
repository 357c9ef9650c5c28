"""Reading TREC files, naming metrics, and where a mean has no interval; the values are tests/property's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ra_guard.cli import main
from ra_guard.evaluation.errors import BadLine, NothingJudged, UnknownMetric
from ra_guard.evaluation.metrics import Kind, Metric, values_of
from ra_guard.evaluation.randomisation import randomisation_p
from ra_guard.evaluation.trec import parse_qrels, parse_run
from ra_guard.stats.one_sample import Mean, mean_of_users, mean_of_values
from ra_guard.stats.outcome import Insufficient, Lack


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"q 0 a", ("3 fields", "4: query iter doc rel")),
        (b"q 0 a 1 x", ("5 fields",)),
        (b"q 0 a 1.5", ("'1.5'", "whole number")),
        (b"q 0 a 1_0", ("'1_0'",)),
        (b"q 0 a 9999999999", ("'9999999999'",)),
        (b"q 0 a " + b"9" * 10_000, ("...'",)),
        (b"q 0 \xff 1", ("UTF-8",)),
        (b"q 1 seen 2", ("'seen' of query 'q' a second time",)),
    ],
)
def test_a_bad_judgment_is_refused_with_its_line(line: bytes, says: tuple[str, ...]) -> None:
    with pytest.raises(BadLine) as refused:
        parse_qrels([b"q 0 seen 1\n", b"\n", line], "a.qrels")
    assert str(refused.value).startswith("found a.qrels:3: ")
    for part in says:
        assert part in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("score", [b"nan", b"inf", b"-inf", b"1e39", b"one", b"1_0", b"0x1p3"])
def test_a_score_without_a_place_is_refused(score: bytes) -> None:
    with pytest.raises(BadLine, match="wanted a finite number for score"):
        parse_run([b"q Q0 a 1 " + score + b" t"], "a.run")


def test_fields_are_parted_by_any_white_space_and_lines_by_either_ending() -> None:
    assert parse_qrels([b"q\t0\ta\t+1\r\n", b"  q 0 b -1 \n", b" \t\r\n"], "x") == {"q": {"a": 1, "b": -1}}
    assert parse_run([b"q Q0 a 1 1e3 t"], "x") == {"q": {"a": 1000.0}}


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("nDCG@10", Metric(Kind.NDCG, 10)),
        ("ndcg", Metric(Kind.NDCG)),
        ("recall@5", Metric(Kind.RECALL, 5)),
        ("P@1", Metric(Kind.PRECISION, 1)),
        ("RR", Metric(Kind.RECIPROCAL_RANK)),
        ("AP@100", Metric(Kind.AVERAGE_PRECISION, 100)),
    ],
)
def test_metrics_are_named_as_ir_measures_names_them(text: str, metric: Metric) -> None:
    assert Metric.parse(text) == metric


@pytest.mark.parametrize(
    "text", ["", "P", "R", "RR@10", "nDCG@0", "nDCG@-1", "nDCG@1000000", "ERR@10", "nDCG@10 ", "10"]
)
def test_what_is_no_metric_is_refused(text: str) -> None:
    with pytest.raises(UnknownMetric, match="wanted nDCG, nDCG@k"):
        Metric.parse(text)


def test_a_negative_grade_gains_nothing_and_is_not_relevant() -> None:
    # ir-measures 0.4.3 on these very lines
    qrels = parse_qrels([b"q 0 a 1", b"q 0 b -1", b"q 0 c 2"], "x")
    run = parse_run([b"q Q0 a 1 1.0 t", b"q Q0 c 1 1.000000001 t", b"q Q0 b 1 2 t"], "x")
    wanted = {"nDCG@10": 0.66967181649423, "RR": 0.5, "P@5": 0.4, "R@5": 1.0, "AP": 0.5833333333333333, "AP@2": 0.25}
    found = values_of(qrels, run, [Metric.parse(name) for name in wanted])
    assert {str(metric): float(value[0]) for metric, value in found.values.items()} == pytest.approx(wanted, abs=1e-14)


def test_without_judgments_there_is_no_mean() -> None:
    with pytest.raises(NothingJudged):
        values_of({}, {"q": {"a": 1.0}}, [Metric(Kind.NDCG)])


def test_a_mean_has_students_interval_and_none_without_spread() -> None:
    found = mean_of_values([1.0, 2.0, 3.0, 4.0])
    assert isinstance(found, Mean)
    # R: t.test(1:4)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.445739743239121, 4.554260256760879), abs=1e-12)
    assert mean_of_values([1.0]) == Insufficient(Lack.TOO_FEW, "1", "2 or more to average over")
    assert isinstance(empty := mean_of_values([]), Insufficient)
    assert empty.lack is Lack.TOO_FEW
    assert isinstance(constant := mean_of_values([0.5, 0.5]), Insufficient)
    assert constant.lack is Lack.NO_VARIANCE


def test_a_user_counts_once_however_many_requests() -> None:
    found = mean_of_users([7, 7, 7, 9, 4], [1.0, 1.0, 1.0, 0.0, 0.5])
    assert found == mean_of_values([0.5, 1.0, 0.0])


def test_the_randomisation_test_on_numbers_done_by_hand() -> None:
    assert randomisation_p([0.0, 0.0], seed=0) == 1.0
    assert randomisation_p([], seed=0) == 1.0
    assert randomisation_p([1.0, 1.0, 1.0], seed=0) == 0.25
    assert randomisation_p([1.0, 1.0, 0.0, -1.0], seed=0) == 1.0
    assert randomisation_p([3.0, 1.0, -2.0], seed=0) == 0.75


def test_a_sampled_p_value_keeps_its_level() -> None:
    random = np.random.default_rng(5)
    rejected = sum(randomisation_p(random.normal(size=20), seed=run) <= 0.05 for run in range(200))
    assert rejected <= 21  # P(Binomial(200, 0.05) > 21) = 0.0004


Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, Any, str]:
        code = main(["evaluate", *map(str, arguments)])
        said = capsys.readouterr()
        return code, json.loads(said.out) if "--json" in arguments else said.out, said.err

    return run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Judgments of three queries, and two runs of which the first finds nothing relevant for the last."""
    paths = tmp_path / "qrels", tmp_path / "one.run", tmp_path / "two.run"
    paths[0].write_text("q1 0 a 1\nq1 0 b 0\nq2 0 a 2\nq3 0 c 0\n")
    paths[1].write_text("q1 Q0 b 1 2.0 t\nq1 Q0 a 2 1.0 t\nq9 Q0 a 1 1 t\n")
    paths[2].write_text("q1 Q0 a 1 2.0 t\nq2 Q0 a 1 1 t\nq3 Q0 c 1 1 t\n")
    return paths


def test_one_run_is_told_with_what_counts_as_nothing(run: Run, files: tuple[Path, Path, Path]) -> None:
    qrels, one, _ = files
    code, found, _ = run("--qrels", qrels, "--run", one, "--metric", "RR", "--metric", "P@1", "--per-query", "--json")
    assert code == 0
    (told,) = found["runs"]
    assert {name: told[name] for name in ("queries", "without_relevant", "not_retrieved", "not_judged")} == {
        "queries": 3,
        "without_relevant": 1,
        "not_retrieved": 2,
        "not_judged": 1,
    }
    assert told["metrics"]["RR"]["mean"] == pytest.approx(0.5 / 3)
    assert told["metrics"]["P@1"] == {"mean": 0.0, "low": None, "high": None, "insufficient": "no variance"}
    assert found["per_query"]["q1"] == {"RR": [0.5], "P@1": [0.0]}
    assert "differences" not in found
    text = run("--qrels", qrels, "--run", one)[1]
    assert "3 judged queries, of which 1 without a relevant document and 2 not in the run count 0" in text


def test_two_runs_are_compared_query_by_query(run: Run, files: tuple[Path, Path, Path]) -> None:
    qrels, one, two = files
    code, found, _ = run("--qrels", qrels, "--run", one, "--run", two, "--json")
    gains = np.array([1 - 1 / np.log2(3), 1.0, 0.0])
    difference = found["differences"]["nDCG@10"]
    wanted = mean_of_values(gains)
    assert isinstance(wanted, Mean)
    assert (code, difference["p_value"]) == (0, 0.5)
    assert [difference[name] for name in ("mean", "low", "high")] == pytest.approx(
        [wanted.estimate, wanted.interval.low, wanted.interval.high]
    )
    text = run("--qrels", qrels, "--run", one, "--run", two, "--per-query")[1]
    assert "one.run" in text
    assert "difference" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--run", "one.run", "--run", "two.run", "--run", "one.run"), "found 3 of --run, wanted 1 or 2"),
        (("--run", "one.run", "--metric", "MAP"), "metric 'MAP'"),
        (("--run", "one.run", "--seed", "-1"), "--seed -1"),
        (("--run", "qrels"), "qrels:1: 4 fields"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    run: Run,
    files: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(files[0].parent)
    code, _, problem = run("--qrels", "qrels", *arguments)
    assert (code, problem.count("\n")) == (2, 1)
    assert says in problem
