"""From findings to an outcome: the definition's table, and what stands above it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Finding, Outcome
from ra_guard.experiments.monitor.decision import decide
from ra_guard.experiments.monitor.outcomes import Assessment, Decision, Look, Verdict
from ra_guard.stats.srm import sample_ratio

from tests.stand_ins.assessments import TOO_FEW, guarded, healthy, look
from tests.stand_ins.definitions import definition

PLAN = definition()
STRICT = definition(
    ('success_rule = "point_at_threshold_interval_above_zero"', 'success_rule = "interval_above_threshold"')
)
HEALTHY = healthy(PLAN)
MISMATCH = sample_ratio((2_700, 2_300), (1, 1))
PASS, FAIL, INSUFFICIENT, ERROR = Verdict.PASS, Verdict.FAIL, Verdict.INSUFFICIENT, Verdict.ERROR


def found(decision: Decision) -> dict[Finding, bool | None]:
    return {one.finding: one.holds for one in decision.findings}


def primary(decision: Decision) -> tuple[bool | None, ...]:
    by_finding = found(decision)
    return tuple(by_finding[each] for each in (Finding.SUCCESS, Finding.PARTIAL_SUCCESS, Finding.NO_SUCCESS))


SUCCESS = (look(3, 4.0), look(7, 4.1))
PARTIAL = (look(7, 2.5),)
NOTHING_YET = (look(7, 1.0),)
LAST_SUCCESS = (look(7, 4.1), look(14, 4.23))
LAST_PARTIAL = (look(14, 2.0),)
LAST_NOTHING = (look(14, 0.3),)
LAST_HARM = (look(14, -3.0),)


@pytest.mark.parametrize(
    ("looks", "findings", "outcome"),
    [
        ((), (None, None, None), Outcome.KEEP_RUNNING),
        (SUCCESS, (True, False, None), Outcome.DEPLOY),
        (PARTIAL, (False, True, None), Outcome.ITERATE),
        (NOTHING_YET, (False, False, None), Outcome.KEEP_RUNNING),
        (LAST_SUCCESS, (True, False, False), Outcome.DEPLOY),
        (LAST_PARTIAL, (False, True, False), Outcome.ITERATE),
        (LAST_NOTHING, (False, False, True), Outcome.ROLL_BACK),
        (LAST_HARM, (False, False, True), Outcome.ROLL_BACK),
    ],
)
def test_what_looks_lead_to_when_all_else_is_well(
    looks: Sequence[Look], findings: tuple[bool | None, ...], outcome: Outcome
) -> None:
    decision = decide(PLAN, looks, HEALTHY)
    assert [one.finding for one in decision.findings] == list(Finding)
    assert primary(decision) == findings
    assert decision.outcome is outcome
    assert decision.look == (looks[-1] if looks else None)
    assert (decision.interval is None) == (not looks)


@pytest.mark.parametrize("looks", [(), SUCCESS, PARTIAL, NOTHING_YET, LAST_SUCCESS, LAST_PARTIAL, LAST_NOTHING])
@pytest.mark.parametrize(
    "unsound",
    [
        replace(HEALTHY, sample_ratio=MISMATCH),
        replace(HEALTHY, sample_ratio=TOO_FEW),
        replace(HEALTHY, crossover_percent=0.2),
        replace(HEALTHY, crossover_percent=None),
        replace(HEALTHY, crossover_percent=float("nan")),
    ],
    ids=["mismatch", "too few", "crossover", "no crossover", "NaN"],
)
def test_from_an_unsound_comparison_nothing_is_decided_but_a_violated_guardrail_rolls_back(
    looks: Sequence[Look], unsound: Assessment
) -> None:
    decision = decide(PLAN, looks, unsound)
    assert decision.outcome is Outcome.KEEP_RUNNING
    assert primary(decision) == (None, None, None)
    reasons = [one.why for one in decision.findings[:2] if not one.holds]
    assert all(reason in decision.why for reason in reasons)
    assert decide(PLAN, looks, guarded(unsound, PASS, FAIL, PASS)).outcome is Outcome.ROLL_BACK


@pytest.mark.parametrize("verdicts", list(product(Verdict, repeat=3)))
def test_every_state_of_the_guardrails_at_a_success(verdicts: tuple[Verdict, ...]) -> None:
    decision = decide(PLAN, SUCCESS, guarded(HEALTHY, *verdicts))
    by_finding = found(decision)
    assert by_finding[Finding.GUARDRAILS_HEALTHY] is (
        False if FAIL in verdicts else True if set(verdicts) == {PASS} else None
    )
    ends = verdicts[:2]  # the third is only analysed
    assert by_finding[Finding.GUARDRAIL_VIOLATED] is (True if FAIL in ends else False if set(ends) == {PASS} else None)
    assert decision.outcome is (
        Outcome.ROLL_BACK if FAIL in ends else Outcome.DEPLOY if set(verdicts) == {PASS} else Outcome.KEEP_RUNNING
    )


@pytest.mark.parametrize("mode", ["shadow", "interleaving", "rollout"])
def test_where_both_arms_are_served_alike_only_a_violated_guardrail_decides(mode: str) -> None:
    plan = definition(('mode = "ab"', f'mode = "{mode}"'))
    decision = decide(plan, SUCCESS, healthy(plan))
    assert decision.outcome is Outcome.KEEP_RUNNING
    assert f"mode {mode} serves both arms alike" in decision.why
    assert decide(plan, SUCCESS, guarded(healthy(plan), PASS, FAIL, PASS)).outcome is Outcome.ROLL_BACK


def test_a_guardrail_that_nobody_judged_is_not_healthy() -> None:
    decision = decide(PLAN, SUCCESS, replace(HEALTHY, guardrails=HEALTHY.guardrails[:2]))
    assert found(decision)[Finding.GUARDRAILS_HEALTHY] is None
    assert decision.outcome is Outcome.KEEP_RUNNING
    assert "satisfaction" in decision.why
    assert decide(PLAN, SUCCESS, replace(HEALTHY, guardrails=())).outcome is Outcome.KEEP_RUNNING


def test_the_plans_own_result_passes_the_pinned_rule_and_fails_the_strict_one() -> None:
    """+4.23 with [2.85, 5.53]: a standard error of 0.684, far above 0, and a lower limit below +2.97."""
    end = [look(14, 4.23, 0.684)]
    assert decide(PLAN, end, HEALTHY).outcome is Outcome.DEPLOY
    strict = decide(STRICT, end, HEALTHY)
    assert primary(strict) == (False, True, False)
    assert strict.outcome is Outcome.ITERATE
    assert decide(STRICT, [look(14, 4.4, 0.684)], HEALTHY).outcome is Outcome.DEPLOY
    assert strict.interval is not None
    assert (strict.interval.low, strict.interval.high) == pytest.approx((2.89, 5.57), abs=0.01)


@pytest.mark.parametrize(
    ("plan", "estimate", "outcome"),
    [
        (PLAN, 2.97, Outcome.DEPLOY),
        (PLAN, 2.96, Outcome.ITERATE),
        (STRICT, 2.97 + 1.35, Outcome.DEPLOY),
        (STRICT, 2.97 + 1.33, Outcome.ITERATE),
    ],
)
def test_where_the_rules_turn(plan: Definition, estimate: float, outcome: Outcome) -> None:
    assert decide(plan, [look(14, estimate, 0.684)], HEALTHY).outcome is outcome


def test_early_the_same_result_is_not_enough() -> None:
    early = look(3, 4.1, 0.95, is_last=False)
    assert early.estimate / early.standard_error > 4
    assert primary(decide(PLAN, [early], HEALTHY)) == (False, False, None)
    assert primary(decide(PLAN, [replace(early, day=14, is_last=True)], HEALTHY)) == (True, False, False)


def test_the_latest_look_stands() -> None:
    assert decide(PLAN, (look(7, 4.1), look(10, 1.0)), HEALTHY).outcome is Outcome.KEEP_RUNNING
    assert decide(PLAN, (look(10, 1.0), look(7, 4.1)), HEALTHY).outcome is Outcome.KEEP_RUNNING


def test_a_look_with_more_information_than_planned_is_the_last() -> None:
    overrun = (look(3, 1.0), look(7, 0.5, information=1.4, is_last=True))
    decision = decide(PLAN, overrun, HEALTHY)
    assert decision.outcome is Outcome.ROLL_BACK
    assert decision.boundary_z == pytest.approx(1.96, abs=0.01)
    assert "at the last look, day 7" in decision.why


def test_the_definitions_table_is_asked_in_its_order() -> None:
    eager = definition(
        ('roll_back_when_any = ["guardrail_violated", "no_success"]', 'roll_back_when_any = ["no_success"]'),
        ('otherwise = "keep_running"', 'otherwise = "iterate"'),
    )
    violated = guarded(HEALTHY, PASS, FAIL, PASS)
    assert decide(eager, SUCCESS, violated).outcome is Outcome.ITERATE
    assert decide(eager, (), violated).outcome is Outcome.KEEP_RUNNING
    assert decide(eager, LAST_NOTHING, violated).outcome is Outcome.ROLL_BACK


ERRORS_FAIL = guarded(HEALTHY, PASS, FAIL, PASS)
WHYS: list[tuple[Sequence[Look], Assessment, str]] = [
    ([], HEALTHY, "no look yet: the first is at the end of day 3"),
    (
        [look(7, 4.1, 0.71)],
        HEALTHY,
        """nDCG@10 +4.10 points (95 % interval +2.00 to +6.20) at the look of day 7: above the success threshold of
        +2.97, interval above 0; all guardrails hold""",
    ),
    (
        [look(14, 0.3)],
        HEALTHY,
        """nDCG@10 +0.30 points (95 % interval -1.04 to +1.64) at the last look, day 14: below the success threshold of
        +2.97, interval not above 0""",
    ),
    (
        SUCCESS,
        replace(HEALTHY, sample_ratio=MISMATCH),
        """nothing is decided from nDCG@10: sample-ratio mismatch, users did not split as drawn (p = 1.5e-08, below
        0.001)""",
    ),
    (
        SUCCESS,
        ERRORS_FAIL,
        """guardrail failed: error rate below control + 1 percentage point; now +0.25 percentage points (treatment
        0.65 % of 1,240 calls, control 0.40 % of 1,251)""",
    ),
]


@pytest.mark.parametrize(("looks", "assessment", "why"), WHYS)
def test_the_why_is_a_sentence_with_units(looks: Sequence[Look], assessment: Assessment, why: str) -> None:
    assert decide(PLAN, looks, assessment).why == " ".join(why.split())


def test_every_finding_carries_its_numbers() -> None:
    numbers = {one.finding: one.numbers for one in decide(PLAN, SUCCESS, HEALTHY).findings}
    assert numbers[Finding.SUCCESS]["estimate_points"] == pytest.approx(4.1)
    assert numbers[Finding.SUCCESS]["z"] == pytest.approx(4.1 / 0.684)
    assert numbers[Finding.GUARDRAILS_HEALTHY]["guardrail_latency_p95_bound"] == 100
    assert numbers[Finding.SAMPLE_RATIO_HOLDS]["sample_ratio_p_limit"] == 0.001
    assert numbers[Finding.CROSSOVER_WITHIN_LIMIT]["crossover_percent"] == 0
