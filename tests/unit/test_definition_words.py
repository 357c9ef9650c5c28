"""Bounds read aloud: every one of the template's, and every word of the vocabulary of measures."""

import pytest
from ra_guard.experiments.definition import Definition, parse_definition, template
from ra_guard.experiments.definition.measures import Comparison, Evidence, Metric, Requirement
from ra_guard.experiments.definition.words import NAMES, evidence_in_words, in_words, span, spoken


@pytest.fixture(scope="module")
def plan() -> Definition:
    return parse_definition(template())


def test_gates_and_guardrails(plan: Definition) -> None:
    assert [in_words(gate) for stage in plan.stages for gate in stage.gates] == [
        "critical errors at most 0",
        "latency P95 below control + 100 ms",
        "error rate below control + 1 percentage point",
        "nDCG@10 above control",
        "unhealthy guardrails at most 0",
    ]
    assert [(in_words(each), evidence_in_words(each)) for each in plan.metrics.guardrails] == [
        ("latency P95 below control + 100 ms", "proven by the whole interval, from 1,000 requests in each arm"),
        ("error rate below control + 1 percentage point", "as observed, from 1,000 requests in each arm"),
        ("satisfaction at least control", "not refuted by the interval, from 100 users in each arm"),
    ]


def test_triggers(plan: Definition) -> None:
    assert [in_words(trigger) for trigger in plan.triggers] == [
        "error rate in treatment above 2 % for 15 minutes",
        "latency P95 above control + 200 ms for 15 minutes",
        "nDCG@10 below control - 1 point for 2 hours",
    ]
    assert [evidence_in_words(trigger) for trigger in plan.triggers] == [
        "as observed over the last 15 minutes, from 200 requests in treatment, with 90 % of the readings",
        "as observed over the last 15 minutes, from 100 requests in each arm, with 90 % of the readings",
        "proven by the whole interval in the epoch so far, from 100 users in each arm, with 90 % of the readings",
    ]


def test_alerts_name_their_span_unless_they_fire_at_the_first_reading(plan: Definition) -> None:
    assert [in_words(alert) for alert in plan.alerts] == [
        "error rate in treatment above 2 % for 5 minutes",
        "latency P95 above control + 200 ms for 5 minutes",
        "health check failures above 0",
        "error rate in treatment above 1 % for 5 minutes",
        "latency P95 above control + 100 ms for 5 minutes",
        "nDCG@10 below control for 4 hours",
        "complaints above control + 20 % for 24 hours",
        "statistical power below 80 %",
    ]
    assert evidence_in_words(plan.alerts[2]) == "as observed over the last minute"


def test_no_metric_comparison_or_evidence_is_without_words() -> None:
    assert set(NAMES) == set(Metric)
    latency = {"metric": Metric.LATENCY_P95, "bound_added_ms": 1.5, "min_requests": 1}
    for evidence in Evidence:
        for comparison in (Comparison.BELOW, Comparison.AT_MOST):
            bound = Requirement(**latency, evidence=evidence, must_be=comparison)
            assert in_words(bound) == f"latency P95 {spoken(comparison)} control + 1.5 ms"
            assert evidence_in_words(bound)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0, "0 minutes"), (1, "1 minute"), (59, "59 minutes"), (60, "1 hour"), (90, "90 minutes"), (1440, "24 hours")],
)
def test_spans_of_time(minutes: int, words: str) -> None:
    assert span(minutes) == words
