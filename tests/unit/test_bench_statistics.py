"""Rounds, percentiles, verdicts, arrivals: the arithmetic of the benchmark, on numbers that are given."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import run, table, targets
from bench.findings import Findings
from bench.load import Arrivals
from bench.rounds import LONGEST_NS, Recorder, Round, interleave, measure, time_calls, time_prepared
from bench.targets import TARGETS, Better, Target, Verdict


def test_rounds_go_forward_and_backward() -> None:
    visited = list(interleave("ABC", 3))
    assert "".join(variant for _, variant in visited) == "ABCCBAABC"
    assert [number for number, _ in visited] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_every_variant_is_visited_once_a_round_after_one_unrecorded_visit() -> None:
    visits: list[tuple[str, int]] = []

    def visitor(name: str) -> Round:
        def visit(number: int) -> list[int]:
            visits.append((name, number))
            return [1000 if name == "a" else 3000] * 5

        return visit

    latencies = measure({"a": visitor("a"), "b": visitor("b")}, 2)
    assert visits == [("a", -1), ("b", -1), ("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert latencies["a"].calls == 10
    assert latencies["b"].p50_us == pytest.approx(3.0, rel=1e-3)


def test_percentiles_are_over_all_calls_and_medians_are_by_round() -> None:
    recorder = Recorder()
    recorder.add([1_000_000] * 99 + [9_000_000])
    recorder.add([2_000_000] * 100)
    latency = recorder.latency()
    assert latency.calls == 200
    assert latency.p50_us == pytest.approx(2000, rel=1e-3)
    assert latency.p99_us == pytest.approx(2000, rel=1e-3)
    assert latency.p99_9_us == pytest.approx(9000, rel=1e-3)
    assert latency.max_us == pytest.approx(9000, rel=1e-3)
    assert latency.round_p50_us == (1000.0, 2000.0)


def test_a_latency_beyond_the_histogram_is_kept_as_its_longest() -> None:
    recorder = Recorder()
    recorder.add([10 * LONGEST_NS])
    assert recorder.latency().max_us == pytest.approx(LONGEST_NS / 1000, rel=1e-3)


def test_a_latency_without_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        Recorder().latency()


def test_calls_are_timed_one_by_one_and_prepared_arguments_are_handed_over() -> None:
    seen: list[object] = []
    assert len(time_calls(seen.append, [1, 2, 3])) == 3
    assert len(time_prepared(str, seen.append, [4, 5])) == 2
    assert seen == [1, 2, 3, "4", "5"]


@pytest.mark.parametrize(
    ("reached", "verdict"),
    [
        (1.0, Verdict.AIM),
        (1.05, Verdict.AIM),
        (1.1, Verdict.MET),
        (1.15, Verdict.MET),
        (1.16, Verdict.MISSED),
        (None, Verdict.SKIPPED),
        (float("nan"), Verdict.SKIPPED),
    ],
)
def test_verdicts_where_lower_is_better(reached: float | None, verdict: Verdict) -> None:
    assert Target("k", "", "x", Better.LOWER, 1.15, 1.05).verdict(reached) is verdict


@pytest.mark.parametrize(
    ("reached", "verdict"), [(2.0, Verdict.AIM), (1.5, Verdict.MET), (1.49, Verdict.MISSED), (None, Verdict.SKIPPED)]
)
def test_verdicts_where_higher_is_better(reached: float | None, verdict: Verdict) -> None:
    assert Target("k", "", "x", Better.HIGHER, 1.5, 2.0).verdict(reached) is verdict


def test_without_a_target_a_number_is_shown_and_not_judged() -> None:
    assert Target("k", "", "us", Better.LOWER, None, None).verdict(3.0) is Verdict.UNJUDGED


def test_an_aim_is_never_weaker_than_its_floor() -> None:
    judged = [target for target in TARGETS if target.floor is not None]
    assert judged
    for target in judged:
        assert target.verdict(target.aim) is Verdict.AIM
        assert replace(target, aim=target.floor).verdict(target.aim) is Verdict.AIM


def test_the_record_has_exactly_the_agreed_keys() -> None:
    assert targets.KEYS == (
        "kernel_over_gather",
        "kernel_vs_best_library",
        "lookup_vs_dict",
        "core_call_us",
        "core_vs_numpy",
        "unary_over_echo",
        "unary_vs_python",
        "stream_over_unary",
        "two_workers_over_one",
        "core_10m_over_10k",
        "open_10m_ms",
        "plan_push_ms",
        "kill_all_acked_ms",
    )


def test_what_was_not_measured_is_null_by_dtype_too() -> None:
    merged = run.merge([Findings({"core_call_us": {"i8": 31.5}}), Findings({"lookup_vs_dict": 18.0})])
    assert merged["core_call_us"] == {"f32": None, "f16": None, "i8": 31.5}
    assert merged["lookup_vs_dict"] == 18.0
    assert merged["unary_over_echo"] == {"f32": None, "f16": None, "i8": None}
    assert merged["open_10m_ms"] is None


def test_a_key_that_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="open_10m_s"):
        run.merge([Findings({"open_10m_s": 0.02})])


def test_results_are_json_without_nan(tmp_path: Path) -> None:
    run.write(tmp_path / "deep" / "results.json", {"a": 1.5, "b": None})
    assert json.loads((tmp_path / "deep" / "results.json").read_text()) == {"a": 1.5, "b": None}
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write(tmp_path / "results.json", {"a": float("nan")})


def test_the_table_has_a_line_for_every_target() -> None:
    assert table.table({}, {}, "nothing").row_count == len(TARGETS)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1.234, "x", "1.23x"), (56.78, "us", "56.8 us"), (456.7, "us", "457 us"), (None, "x", "-")],
)
def test_quantities_for_people(value: float | None, unit: str, text: str) -> None:
    assert table.quantity(value, unit) == text


def test_arrivals_fall_due_at_a_constant_rate_whatever_was_taken_when() -> None:
    arrivals = Arrivals(first_ns=1_000, rate=1e6, count=5)
    assert list(arrivals.take(999)) == []
    assert list(arrivals.take(1_000)) == [1_000]
    assert list(arrivals.take(3_500)) == [2_000, 3_000]
    assert arrivals.next_ns() == 4_000
    assert list(arrivals.take(99_000)) == [4_000, 5_000]
    assert arrivals.next_ns() is None
    assert list(arrivals.take(10**12)) == []
