"""Differences, lifts, ratios, CUPED and the sample ratio against published numbers, and where the data cannot say."""

import math
from itertools import permutations

import numpy as np
import pytest
from ra_guard.stats import effects, power
from ra_guard.stats.effects import ArmEstimate, cuped, mean_of, ratio_of
from ra_guard.stats.errors import NotFinite, OutOfOrder, OutOfRange, WrongShape
from ra_guard.stats.moments import Moments, per_user
from ra_guard.stats.ndcg import NOT_SERVED, click_gains, ndcg, ndcg_by_request, served_order
from ra_guard.stats.outcome import Alternative, Better, Effect, Insufficient, Lack, Sides
from ra_guard.stats.srm import SampleRatio, sample_ratio

NAN = math.nan

# GrowthBook gbstats, test_tests.py: sums and sums of squares of two arms
CONTROL = Moments.of_sums(3407, [1396.87], [[52377.9767]])
TREATMENT = Moments.of_sums(3461, [2422.7], [[134698.29]])


def shown(outcome: Effect | Insufficient) -> Effect:
    assert isinstance(outcome, Effect), outcome
    return outcome


def lack_of(outcome: object) -> Lack:
    assert isinstance(outcome, Insufficient), outcome
    return outcome.lack


# Differences and lifts


def test_welch_difference_is_growthbooks() -> None:
    found = shown(effects.difference(mean_of(CONTROL), mean_of(TREATMENT)))
    assert found.estimate == pytest.approx(0.29, abs=5e-6)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.04538, 0.53462), abs=5e-6)
    assert found.p_value == pytest.approx(0.02016, abs=5e-6)
    assert found.rejects


def test_relative_lift_is_growthbooks() -> None:
    found = shown(effects.lift(mean_of(CONTROL), mean_of(TREATMENT)))
    assert found.estimate == pytest.approx(0.70732, abs=5e-6)
    # Their sums are rounded, so the interval agrees to four digits.
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.03526, 1.44989), abs=5e-5)
    assert found.p_value == pytest.approx(0.06191, abs=2e-5)


def test_lift_of_a_negative_baseline_keeps_the_sign_of_the_effect() -> None:
    worse, better = (Moments.of(np.array([-1.0, 1.0, 0.0]) * 0.1 + level) for level in (-2.0, -1.0))
    assert shown(effects.lift(mean_of(worse), mean_of(better))).estimate == pytest.approx(0.5)
    assert shown(effects.lift(mean_of(better), mean_of(worse))).estimate == pytest.approx(-1.0)


def test_one_sided_p_values_are_halves_and_intervals_are_open() -> None:
    arms = mean_of(CONTROL), mean_of(TREATMENT)
    two = shown(effects.difference(*arms))
    greater = shown(effects.difference(*arms, alternative=Alternative.GREATER, alpha=0.025))
    less = shown(effects.difference(*arms, alternative=Alternative.LESS, alpha=0.025))
    assert greater.p_value == pytest.approx(two.p_value / 2)
    assert less.p_value == pytest.approx(1 - two.p_value / 2)
    assert (greater.interval.low, less.interval.high) == pytest.approx((two.interval.low, two.interval.high))
    assert (greater.interval.high, less.interval.low) == (math.inf, -math.inf)


def test_noninferiority_is_the_one_sided_test_at_the_margin() -> None:
    control, treatment = ArmEstimate(10.0, 4.0, 400), ArmEstimate(10.05, 4.0, 400)
    arms = control, treatment
    slower = shown(effects.noninferiority(*arms, margin=0.5, better=Better.LOWER))
    assert slower.rejects
    assert slower.null == 0.5
    assert slower.interval.high < 0.5
    higher = shown(effects.noninferiority(*arms, margin=0.5, better=Better.HIGHER))
    assert higher.rejects
    assert higher.null == -0.5
    assert not shown(effects.noninferiority(*arms, margin=0.1, better=Better.LOWER)).rejects
    with pytest.raises(OutOfRange):
        effects.noninferiority(*arms, margin=0, better=Better.LOWER)


def test_a_ratio_of_totals_is_the_mean_where_each_user_has_one_request() -> None:
    values = np.random.default_rng(1).normal(3, 1, 50)
    ratio, mean = ratio_of(Moments.of(values, np.ones(50))), mean_of(Moments.of(values))
    assert isinstance(ratio, ArmEstimate)
    assert isinstance(mean, ArmEstimate)
    assert (ratio.value, ratio.variance, ratio.n) == pytest.approx((mean.value, mean.variance, mean.n))


def test_a_ratio_widens_when_the_requests_of_a_user_agree() -> None:
    errors, requests = per_user([1, 1, 2, 2, 3, 3, 4, 4], [1, 1, 0, 0, 1, 1, 0, 0])
    agree = ratio_of(Moments.of(errors, requests))
    errors, requests = per_user([1, 1, 2, 2, 3, 3, 4, 4], [1, 0, 0, 1, 1, 0, 0, 1])
    mixed = ratio_of(Moments.of(errors, requests))
    assert isinstance(agree, ArmEstimate)
    assert isinstance(mixed, ArmEstimate)
    assert agree.value == mixed.value == 0.5
    assert agree.variance > 0.3
    assert mixed.variance == 0


def test_a_covariate_that_is_the_metric_leaves_nothing_and_one_without_relation_leaves_all() -> None:
    generator = np.random.default_rng(2)
    before, noise = generator.normal(5, 2, (2, 400))
    same = cuped(Moments.of(before[:200], before[:200]), Moments.of(before[200:], before[200:]))
    assert not isinstance(same, Insufficient)
    assert same.theta == pytest.approx(1)
    assert same.control.variance == pytest.approx(0, abs=1e-9)
    assert same.control.value == pytest.approx(same.treatment.value)
    apart = cuped(Moments.of(noise[:200], before[:200]), Moments.of(noise[200:], before[200:]))
    assert not isinstance(apart, Insufficient)
    assert apart.control.variance == pytest.approx(Moments.of(noise[:200]).variance(0), rel=0.05)


@pytest.mark.parametrize("users", [[], [3.0]])
def test_fewer_than_two_users_are_insufficient(users: list[float]) -> None:
    arm, full = Moments.of(users), mean_of(CONTROL)
    assert lack_of(mean_of(arm)) is Lack.TOO_FEW
    assert lack_of(effects.difference(full, mean_of(arm))) is Lack.TOO_FEW
    assert lack_of(effects.lift(mean_of(arm), full)) is Lack.TOO_FEW
    pair = Moments.of(users, users)
    assert lack_of(ratio_of(pair)) is Lack.TOO_FEW
    assert lack_of(cuped(pair, pair)) is Lack.TOO_FEW


def test_what_never_varies_or_is_divided_by_nothing_is_insufficient() -> None:
    constant = Moments.of(np.full(10, 0.1))
    assert lack_of(effects.difference(mean_of(constant), mean_of(constant))) is Lack.NO_VARIANCE
    around_zero = Moments.of([-1.0, 1.0, 0.5, -0.4])
    assert lack_of(effects.lift(mean_of(around_zero), mean_of(CONTROL))) is Lack.BASELINE_NEAR_ZERO
    zeros = Moments.of(np.zeros(10))
    assert lack_of(effects.lift(mean_of(zeros), mean_of(CONTROL))) is Lack.BASELINE_NEAR_ZERO
    assert lack_of(ratio_of(Moments.of([0.0, 0.0], [0.0, 0.0]))) is Lack.DENOMINATOR_ZERO
    flat = Moments.of([1.0, 2.0], [5.0, 5.0])
    assert lack_of(cuped(flat, flat)) is Lack.NO_VARIANCE


def test_one_constant_arm_is_enough_variance_from_the_other() -> None:
    constant, varying = mean_of(Moments.of([2.0, 2.0, 2.0])), mean_of(Moments.of([1.0, 2.0, 3.0]))
    assert shown(effects.difference(constant, varying)).p_value == pytest.approx(1)


def test_nan_and_impossible_options_never_pass() -> None:
    with pytest.raises(NotFinite):
        Moments.of([1.0, NAN])
    with pytest.raises(NotFinite):
        Moments(2, (NAN,), ((1.0,),))
    with pytest.raises(OutOfRange):
        Moments(-1, (0.0,), ((0.0,),))
    with pytest.raises(OutOfRange):
        Moments.of_sums(2, [10.0], [[1.0]])
    with pytest.raises(WrongShape):
        Moments.of([1.0, 2.0], [1.0])
    with pytest.raises(WrongShape):
        ratio_of(CONTROL)
    with pytest.raises(WrongShape):
        CONTROL + Moments.empty(2)
    with pytest.raises(OutOfRange):
        effects.difference(mean_of(CONTROL), mean_of(TREATMENT), alpha=1)
    with pytest.raises(NotFinite):
        effects.difference(mean_of(CONTROL), mean_of(TREATMENT), null=NAN)


# nDCG


def test_ndcg_is_ranxs() -> None:
    assert ndcg([0, 5, 0, 4, 3], [5, 4, 3, 2]) == pytest.approx(61.08112659356222, rel=1e-12)


def test_ndcg_averaged_over_ties_is_scikit_learns() -> None:
    values = [ndcg(order, order) for order in permutations([10.0, 0.0, 0.0, 1.0, 5.0])]
    assert np.mean([value for value in values if value is not None]) == pytest.approx(69.0979, abs=5e-5)


def test_ndcg_looks_k_deep_at_what_was_served_and_at_the_ideal() -> None:
    assert ndcg([1, 0, 0], [1, 1, 1, 1], k=1) == 100
    assert ndcg([0, 1], [1], k=1) == 0
    assert ndcg([0], [3]) == 0
    assert ndcg([], [3]) == 0
    assert ndcg([0, 0], [0, 0]) is None
    assert ndcg([], []) is None


def test_ties_fall_by_the_order_of_input() -> None:
    assert served_order([1.0, 2.0, 1.0, 2.0]).tolist() == [1, 3, 0, 2]
    with pytest.raises(NotFinite):
        served_order([1.0, NAN])


def test_ndcg_refuses_what_is_no_gain() -> None:
    for served, judged in (([-1.0], [1.0]), ([2.0], [1.0]), ([1.0, 1.0], [1.0])):
        with pytest.raises(OutOfRange):
            ndcg(served, judged)
    with pytest.raises(NotFinite):
        ndcg([NAN], [1.0])
    with pytest.raises(OutOfRange):
        ndcg([1.0], [1.0], k=0)
    with pytest.raises(OutOfOrder):
        ndcg_by_request([1, 1], [1, 1], [1.0, 0.0])


def test_requests_without_a_relevant_candidate_are_left_out_and_counted() -> None:
    found = ndcg_by_request([7, 5, 7, 6], [2, 1, NOT_SERVED, 1], [1.0, 0.0, 1.0, 2.0])
    assert found.request.tolist() == [6, 7]
    assert found.points == pytest.approx([100, 100 / math.log2(3) / (1 + 1 / math.log2(3))])
    assert found.without_relevant == 1
    nothing = ndcg_by_request([], [], [])
    assert (nothing.points.size, nothing.without_relevant) == (0, 0)


def test_a_click_counts_the_inverse_of_the_chance_to_be_seen() -> None:
    gains = click_gains([1, 0, 1, 1], [1, 2, 3, 4], [1.0, 0.5, 0.25, 0.01])
    assert gains.tolist() == [1.0, 0.0, 4.0, 20.0]
    assert click_gains([], [], [1.0]).size == 0
    for clicked, rank, propensity in (([2], [1], [1.0]), ([1], [2], [1.0]), ([1], [1], [0.0]), ([1], [0], [1.0])):
        with pytest.raises(OutOfRange):
            click_gains(clicked, rank, propensity)


def test_corrected_clicks_estimate_the_gain_of_relevance() -> None:
    generator = np.random.default_rng(3)
    seen, relevant = np.array([1.0, 0.6, 0.3]), np.array([0.2, 0.5, 0.8])
    clicks = (generator.random((20_000, 3)) < seen * relevant).astype(float)
    corrected = click_gains(clicks.ravel(), np.tile([1, 2, 3], 20_000), seen).reshape(-1, 3)
    assert corrected.mean(axis=0) == pytest.approx(relevant, abs=0.02)


# Sample ratio


@pytest.mark.parametrize(("counts", "p"), [([502, 498], 0.89934), ([600, 400], 2.54e-10)])
def test_sample_ratio_is_growthbooks(counts: list[int], p: float) -> None:
    found = sample_ratio(counts, [0.5, 0.5])
    assert isinstance(found, SampleRatio)
    assert found.p_value == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize(("alpha", "critical"), [(0.001, 10.82757), (0.0005, 12.11567)])
def test_sample_ratio_alarms_beyond_the_critical_value(alpha: float, critical: float) -> None:
    users = 1_000_000
    away = math.sqrt(critical * users) / 2
    for step, mismatch in ((2, True), (-2, False)):
        counts = [users // 2 + round(away) + step, users // 2 - round(away) - step]
        found = sample_ratio(counts, [1, 1], alpha=alpha)
        assert isinstance(found, SampleRatio)
        assert found.mismatch is mismatch


def test_an_arm_without_a_share_has_no_degree_of_freedom_and_no_users() -> None:
    empty = sample_ratio([502, 498, 0], [0.5, 0.5, 0])
    leak = sample_ratio([502, 498, 1], [0.5, 0.5, 0])
    assert isinstance(empty, SampleRatio)
    assert isinstance(leak, SampleRatio)
    assert (empty.degrees_of_freedom, empty.mismatch) == (1, False)
    assert (leak.p_value, leak.mismatch) == (0, True)


def test_sample_ratio_says_when_it_cannot_say_and_refuses_nonsense() -> None:
    assert lack_of(sample_ratio([0, 0], [0.5, 0.5])) is Lack.TOO_FEW
    assert lack_of(sample_ratio([5, 4], [0.5, 0.5])) is Lack.TOO_FEW
    for counts, shares in (([-1, 5], [1, 1]), ([5, 5], [1, 0]), ([5, 5], [1, -1])):
        with pytest.raises(OutOfRange):
            sample_ratio(counts, shares)
    with pytest.raises(WrongShape):
        sample_ratio([5, 5], [1])
    with pytest.raises(NotFinite):
        sample_ratio([5, 5], [1, NAN])


# Power


@pytest.mark.parametrize(("effect", "users"), [(1.0, 19_230), (2.97, 2_181), (4.24, 1_070)])
def test_users_an_arm_for_eighty_percent_power(effect: float, users: int) -> None:
    assert power.sample_size(effect, deviation=35) == users


def test_power_sample_size_and_effect_are_inverses() -> None:
    effect = power.minimum_detectable_effect(2_500, 2_500, deviation=35, power=0.9)
    assert power.power_of(effect, 2_500, 2_500, deviation=35) == pytest.approx(0.9)
    assert power.sample_size(effect, deviation=35, power=0.9) in {2_500, 2_501}
    uneven = power.minimum_detectable_effect(1_000, 4_000, deviation=35, sides=Sides.ONE, alpha=0.025)
    assert power.power_of(uneven, 1_000, 4_000, deviation=35, sides=Sides.ONE, alpha=0.025) == pytest.approx(0.8)


def test_power_refuses_what_has_no_answer() -> None:
    for arguments in ({"effect": 0}, {"effect": 1, "power": 0.01}, {"effect": 1, "alpha": 0}):
        with pytest.raises(OutOfRange):
            power.sample_size(**({"deviation": 1} | arguments))
    with pytest.raises(OutOfRange):
        power.minimum_detectable_effect(0, 5, deviation=1)
    with pytest.raises(NotFinite):
        power.power_of(NAN, 5, 5, deviation=1)
