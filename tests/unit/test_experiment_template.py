"""The template holds the production plan: every threshold, trigger, alert, report and checklist line, by number."""

from collections import Counter
from typing import Any

import pytest
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Bound

from tests.stand_ins.definitions import definition


@pytest.fixture(scope="module")
def plan() -> Definition:
    return definition()


def bounds(found: tuple[Bound, ...], *words: str) -> list[tuple[Any, ...]]:
    return [(bound.metric, bound.bound, bound.scale, *(getattr(bound, word) for word in words)) for bound in found]


def test_what_it_is(plan: Definition) -> None:
    assert (plan.format, plan.key, plan.unit, plan.mode) == (1, "ra_guard_enhancement", "user", "ab")
    assert (plan.salt, plan.lease_s, plan.spaces, plan.launch_date) == ("", 60, (), None)
    assert plan.retention_days == 90


def test_arms(plan: Definition) -> None:
    treatment, control = plan.arms.treatment, plan.arms.control
    assert (treatment.serves, treatment.from_percent) == ("reranked", 0)
    assert (control.serves, control.from_percent) == ("baseline", 50)


def test_stages(plan: Definition) -> None:
    stages = [(stage.percent, stage.hold_hours, stage.monitoring, stage.approval) for stage in plan.stages]
    assert stages == [
        (1, 24, "critical", "required"),
        (5, 24, "high", "none"),
        (10, 24, "high", "none"),
        (25, 24, "medium", "none"),
        (50, None, "standard", "none"),
    ]
    assert [bounds(stage.gates, "must_be") for stage in plan.stages] == [
        [("critical_errors", 0, "count", "at_most")],
        [("latency_p95", 100, "added_ms", "below")],
        [("error_rate", 1, "added_percentage_points", "below")],
        [("ndcg_at_10", 0, "points", "above")],
        [("guardrails_unhealthy", 0, "count", "at_most")],
    ]


def test_success(plan: Definition) -> None:
    primary = plan.metrics.primary
    assert (primary.metric, primary.value_unit, primary.direction) == ("ndcg_at_10", "points_x100", "higher_is_better")
    assert (primary.success_points, primary.expected_points, primary.confidence_percent) == (2.97, 4.24, 95)
    assert primary.success_points == round(0.70 * primary.expected_points, 2)
    assert primary.success_rule == "point_at_threshold_interval_above_zero"


def test_guardrails(plan: Definition) -> None:
    assert bounds(plan.metrics.guardrails, "must_be", "severity", "action") == [
        ("latency_p95", 100, "added_ms", "below", "high", "investigate"),
        ("error_rate", 1, "added_percentage_points", "below", "critical", "roll_back"),
        ("satisfaction", 0, "added_stars", "at_least", "medium", "analyse"),
    ]


def test_indicators(plan: Definition) -> None:
    assert [(indicator.metric, indicator.tier) for indicator in plan.metrics.indicators] == [
        ("click_through_rate", "secondary"),
        ("query_completion_rate", "secondary"),
        ("content_discovery", "secondary"),
        ("satisfaction", "secondary"),
        ("latency_p95", "tertiary"),
        ("error_rate", "tertiary"),
    ]


def test_sample_and_looks(plan: Definition) -> None:
    assert (plan.sample.users, plan.sample.users_per_arm, plan.sample.power_percent) == (5000, 2500, 80)
    analysis = plan.analysis
    assert (analysis.look_days, analysis.end_day, analysis.decision_days) == ((3, 7, 10), 14, 3)
    assert (analysis.spending, analysis.sample_ratio_p) == ("obrien_fleming", 0.001)


def test_decision(plan: Definition) -> None:
    decision = plan.decision
    assert {"success", "guardrails_healthy"} <= set(decision.deploy_when_all)
    assert "partial_success" in decision.iterate_when_all
    assert set(decision.roll_back_when_any) == {"no_success", "guardrail_violated"}


def test_rollback(plan: Definition) -> None:
    assert bounds(plan.triggers, "when", "for_minutes", "coverage_percent") == [
        ("error_rate", 2, "percent", "above", 15, 90),
        ("latency_p95", 200, "added_ms", "above", 15, 90),
        ("ndcg_at_10", -1, "points", "below", 120, 90),
    ]
    assert [trigger.evidence for trigger in plan.triggers] == ["observed", "observed", "proven"]
    assert (plan.rollback.manual_by, plan.rollback.within_s) == (("technical_lead",), 300)


def test_alerts(plan: Definition) -> None:
    assert bounds(plan.alerts, "when", "for_minutes", "severity") == [
        ("error_rate", 2, "percent", "above", 5, "critical"),
        ("latency_p95", 200, "added_ms", "above", 5, "critical"),
        ("health_check_failures", 0, "count", "above", 0, "critical"),
        ("error_rate", 1, "percent", "above", 5, "high"),
        ("latency_p95", 100, "added_ms", "above", 5, "high"),
        ("ndcg_at_10", 0, "points", "below", 240, "high"),
        ("complaints", 20, "added_percent", "above", 1440, "medium"),
        ("statistical_power", 80, "percent", "below", 0, "medium"),
    ]
    # The window and the count of the trigger and fewer of its minutes: people hear before the rollback.
    for alert in plan.alerts:
        for trigger in plan.triggers:
            if alert.severity == "critical" and alert.metric is trigger.metric:
                assert (alert.over_minutes, alert.min_count) == (trigger.over_minutes, trigger.min_count)
                assert alert.for_minutes < trigger.for_minutes
    assert all("slack" in alert.routes for alert in plan.alerts if alert.severity == "critical")


def test_escalation(plan: Definition) -> None:
    assert [(step.level, step.to, step.response) for step in plan.escalation] == [
        (1, "technical_team", "immediate response"),
        (2, "product_management", "business decisions"),
        (3, "executive_leadership", "strategic decisions"),
    ]


def test_dashboard_and_reports(plan: Definition) -> None:
    assert plan.dashboard.refresh_s == 60
    assert set(plan.dashboard.metrics) == {"ndcg_at_10", "latency_p95", "error_rate"}
    assert set(plan.dashboard.readers) == {"technical_team", "product_management", "executive_leadership"}
    assert [(report.every, report.kind, report.to, report.routes) for report in plan.reports] == [
        ("continuous", "anomalies", ("technical_team",), ("slack",)),
        ("daily", "summary", ("stakeholders",), ("email",)),
        ("weekly", "deep_dive", ("stakeholders",), ("email",)),
        ("weekly", "briefing", ("executive_leadership",), ("email",)),
        ("at_looks", "interim_review", ("stakeholders",), ("email",)),
        ("at_end", "results", ("stakeholders",), ("email",)),
    ]


def test_who_decides(plan: Definition) -> None:
    assert [(maker.role, maker.approves) for maker in plan.decision_makers] == [
        ("technical_lead", "infrastructure_and_safety"),
        ("product_manager", "business_impact_and_user_experience"),
        ("engineering_manager", "resources_and_timeline"),
    ]
    assert (plan.launch.decided_by, len(plan.launch.criteria)) == ("product_management", 4)


def test_risks(plan: Definition) -> None:
    assert [(risk.kind, risk.risk, risk.probability, risk.impact) for risk in plan.risks] == [
        ("technical", "Performance degradation", "low", "high"),
        ("technical", "Service failures", "medium", "critical"),
        ("technical", "Data pipeline issues", "low", "medium"),
        ("business", "User experience impact", "low", "high"),
        ("business", "Negative search results", "very_low", "critical"),
        ("business", "Stakeholder concerns", "medium", "low"),
    ]


def test_checklist(plan: Definition) -> None:
    assert Counter(line.area for line in plan.checklist) == {
        "infrastructure": 8,
        "technical": 8,
        "business": 5,
        "operational": 5,
    }


def test_weights_of_the_score(plan: Definition) -> None:
    assert plan.weights.default.model_dump() == {"cosine": 1.0, "consistency": 0.3, "contradiction": 0.5, "prior": 0.1}
    assert list(plan.weights.domain) == ["flowers"]
