"""The promises of looks and decisions: their size over all looks, by simulation; what no order of events can break."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from ra_guard.experiments.definition.vocabulary import Finding, Outcome
from ra_guard.experiments.monitor import looks
from ra_guard.experiments.monitor.decision import decide
from ra_guard.experiments.monitor.outcomes import Look, Verdict
from ra_guard.stats.outcome import Sides
from ra_guard.stats.sequential import crossing_probabilities

from bench.decisions import Case, all_is_well, play
from tests.stand_ins.assessments import guarded, healthy
from tests.stand_ins.definitions import definition

PLAN = definition()
SMALL = definition(("users = 5000", "users = 600"), ("users_per_arm = 2500", "users_per_arm = 300"))
DAYS = looks.planned_days(PLAN)
SHARES = (3 / 14, 7 / 14, 10 / 14, 1.0)

information = st.lists(st.floats(1e-3, 2.0), min_size=1, max_size=4)


def error_of(share: float, experiments: int) -> float:
    """Four Monte-Carlo standard errors, in percent."""
    return 400 * math.sqrt(share * (1 - share) / experiments)


def test_without_an_effect_looks_find_one_in_five_percent_of_experiments() -> None:
    played = play(SMALL, Case("A/A", 0.0, SHARES, varies=False), 2_000, seed=21)
    assert abs(played.rejected_percent - 5) < error_of(0.05, 2_000)
    # Half of them say that treatment is better, and few of those by enough.
    better = played.outcomes_percent[Outcome.DEPLOY] + played.outcomes_percent[Outcome.ITERATE]
    assert abs(better - 2.5) < error_of(0.025, 2_000)
    assert played.outcomes_percent[Outcome.ROLL_BACK] > 95
    # The same looks with a boundary of 1.96 each: what the spending function is for.
    assert abs(played.unadjusted_percent - 12.9) < error_of(0.129, 2_000)


def test_more_users_than_planned_leave_the_size_as_it_is() -> None:
    played = play(SMALL, Case("A/A, overrun", 0.0, (0.4, 0.8, 1.3, 1.5), varies=False), 500, seed=22)
    assert abs(played.rejected_percent - 5) < error_of(0.05, 500)
    assert played.mean_day <= 10


def taken(shares: list[float], estimate: float = 1.0) -> list[Look]:
    return [
        Look(day, day * looks.DAY_S, 9, 9, estimate, 1.0, share, is_last=share >= 1 or day == DAYS[-1])
        for day, share in zip(DAYS[-len(shares) :], shares, strict=True)
    ]


@settings(max_examples=30, deadline=None)
@given(information)
def test_any_information_has_boundaries_that_spend_no_more_than_alpha(shares: list[float]) -> None:
    """Shares may fall, stand still, or come all at once."""
    counted = looks.in_order(taken(shares))
    found = looks.boundaries(PLAN, taken(shares))
    assert len(found.z) == len(counted)
    assert list(found.spent) == sorted(found.spent)
    assert math.isclose(found.spent[-1], 0.05)
    size = sum(crossing_probabilities(found.information, found.z, sides=Sides.TWO))
    assert math.isclose(size, 0.05, rel_tol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 40 * looks.DAY_S), max_size=12))
def test_whenever_somebody_looks_each_day_is_taken_once_and_late_ones_pass(times: list[int]) -> None:
    seen: list[Look] = []
    for now in sorted(times):
        day = looks.due(PLAN, 0, seen, now)
        passed = [each for each in DAYS if each * looks.DAY_S <= now]
        if day is None:
            assert not passed or (seen and seen[-1].day == passed[-1])
            continue
        assert day == passed[-1]
        assert day not in [look.day for look in seen]
        seen.append(replace(taken([0.1])[0], day=day, is_last=day == DAYS[-1]))
    assert [look.day for look in seen] == sorted({look.day for look in seen})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-12, 12), min_size=1, max_size=4), st.lists(st.sampled_from(Verdict), min_size=3, max_size=3))
def test_nothing_is_deployed_without_success_and_healthy_guardrails(
    estimates: list[float], verdicts: list[Verdict]
) -> None:
    shares = (0.2, 0.5, 0.7, 0.9)
    seen = [replace(look, estimate=value) for look, value in zip(taken(list(shares)), estimates, strict=False)]
    decided = decide(PLAN, seen, guarded(healthy(PLAN), *verdicts))
    holds = {found.finding: found.holds for found in decided.findings}
    assert sum(holds[each] is True for each in (Finding.SUCCESS, Finding.PARTIAL_SUCCESS, Finding.NO_SUCCESS)) <= 1
    if decided.outcome is Outcome.DEPLOY:
        assert set(verdicts) == {Verdict.PASS}
        assert holds[Finding.SUCCESS]
        assert decided.interval is not None
        assert decided.interval.low > 0
        assert seen[-1].estimate >= PLAN.metrics.primary.success_points
    if decided.outcome is Outcome.ROLL_BACK:
        assert holds[Finding.GUARDRAIL_VIOLATED] or (holds[Finding.NO_SUCCESS] and seen[-1].is_last)
    assert decide(PLAN, (), all_is_well(PLAN)).outcome is Outcome.KEEP_RUNNING
