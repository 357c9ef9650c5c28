"""Mixtures, anytime-valid intervals and quantile tests against confseq's and GrowthBook's published numbers."""

import math

import numpy as np
import pytest
from ra_guard.stats import anytime, effects, mixtures, proportions, quantile_tests, quantiles
from ra_guard.stats.effects import ArmEstimate, mean_of
from ra_guard.stats.errors import NotFinite, OutOfRange, WrongShape
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Alternative, Better, Effect, Insufficient, Interval, Lack
from ra_guard.stats.proportions import Trials, rate_interval
from ra_guard.stats.quantile_tests import equality_p_value, first_of_user, sample
from ra_guard.stats.quantiles import DesignEffect, design_effect, least_requests, quantile_of
from scipy import stats

NAN = math.nan


def shown(outcome: Effect | Insufficient) -> Effect:
    assert isinstance(outcome, Effect), outcome
    return outcome


def lack_of(outcome: object) -> Lack:
    assert isinstance(outcome, Insufficient), outcome
    return outcome.lack


# Mixtures: confseq, uniform_boundaries_unittest.cpp


def test_normal_mixtures_are_confseqs() -> None:
    rho = mixtures.best_rho(100, 0.05)
    assert rho == pytest.approx(12.60056, abs=1e-5)
    assert float(mixtures.log_normal_mixture(10, 100, rho)) == pytest.approx(-0.6510052, abs=1e-5)
    assert mixtures.normal_mixture_bound(100, 0.05, rho) == pytest.approx(30.35209, abs=1e-5)
    one = mixtures.best_rho(100, 2 * 0.05)
    assert float(mixtures.log_one_sided_normal_mixture(10, 100, one)) == pytest.approx(-0.06502391, abs=1e-5)
    assert mixtures.one_sided_normal_mixture_bound(100, 0.05, one) == pytest.approx(27.66071, abs=1e-5)


def test_beta_binomial_mixtures_are_confseqs() -> None:
    # Their sum 10 at variance 100 with g = 0.2, h = 0.8 is 135 successes in 625 trials of chance 0.2.
    p, trials, successes = 0.2, 625, 135
    two = mixtures.best_rho(100, 0.05) - p * (1 - p)
    one = mixtures.best_rho(100, 2 * 0.05) - p * (1 - p)
    found = mixtures.log_beta_binomial_mixture(successes, trials, p, two)
    assert float(found) == pytest.approx(-0.6941012, abs=1e-5)
    found = mixtures.log_one_sided_beta_binomial_mixture(successes, trials, p, one)
    assert float(found) == pytest.approx(-0.07134019, abs=1e-5)


def test_one_sided_evidence_is_finite_and_grows_where_the_beta_function_underflows() -> None:
    p, trials = 0.95, 5_000
    evidence = mixtures.log_one_sided_beta_binomial_mixture(np.arange(trials + 1), trials, p, 5.0)
    assert np.isfinite(evidence).all()
    assert (np.diff(evidence) > 0).all()


@pytest.mark.parametrize("p", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("trials", [1, 40, 5_000])
def test_under_the_null_a_bernoulli_mixture_is_worth_one(p: float, trials: int) -> None:
    # What makes it a test: its expectation, here summed over every outcome, is what one started with.
    successes = np.arange(trials + 1)
    log_chance = stats.binom.logpmf(successes, trials, p)
    for opt in (1.0, 1_000.0):
        spread = mixtures.beta_spread(p, opt, 0.05)
        for mixture in (mixtures.log_beta_binomial_mixture, mixtures.log_one_sided_beta_binomial_mixture):
            worth = np.exp(log_chance + mixture(successes, trials, p, spread)).sum()
            assert worth == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("v", [0.1, 100.0, 1e6])
def test_under_the_null_a_normal_mixture_is_worth_one(v: float) -> None:
    rho = mixtures.best_rho(100, 0.05)
    s = np.linspace(-12, 12, 100_001) * math.sqrt(v + v * v / rho)
    log_density = stats.norm.logpdf(s, scale=math.sqrt(v))
    for mixture in (mixtures.log_normal_mixture, mixtures.log_one_sided_normal_mixture):
        assert np.trapezoid(np.exp(log_density + mixture(s, v, rho)), s) == pytest.approx(1, rel=1e-3)


# Means


def test_a_sequence_of_lifts_is_growthbooks() -> None:
    # gbstats test_tests.py, SequentialTwoSidedTTest: relative, tuned at 1000 users.
    control = mean_of(Moments.of_sums(3000, [1396.87], [[52377.9767]]))
    treatment = mean_of(Moments.of_sums(3461, [2422.7], [[134698.29]]))
    found = shown(anytime.lift(control, treatment, users_opt=1000))
    assert found.estimate == pytest.approx(0.50336, abs=1e-5)
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.55844, 1.56516), abs=1e-5)
    assert found.p_value == 1


@pytest.mark.parametrize("alternative", Alternative)
@pytest.mark.parametrize("null", [-0.3, 0.0, 0.21])
def test_the_p_value_rejects_exactly_what_the_interval_excludes(alternative: Alternative, null: float) -> None:
    control, treatment = ArmEstimate(1.0, 4.0, 5_000), ArmEstimate(1.2, 5.0, 4_000)
    found = shown(anytime.difference(control, treatment, users_opt=5_000, alternative=alternative, null=null))
    assert found.rejects is (null not in found.interval)
    edge = found.interval.high if alternative is Alternative.LESS else found.interval.low
    at_edge = anytime.difference(control, treatment, users_opt=5_000, alternative=alternative, null=edge)
    assert shown(at_edge).p_value == pytest.approx(0.05, rel=1e-6)


def test_a_sequence_is_wider_than_one_look_and_one_sided_is_tighter() -> None:
    control, treatment = ArmEstimate(1.0, 4.0, 5_000), ArmEstimate(1.2, 5.0, 5_000)
    once = shown(effects.difference(control, treatment))
    always = shown(anytime.difference(control, treatment, users_opt=10_000))
    ratio = (always.interval.high - always.interval.low) / (once.interval.high - once.interval.low)
    assert 1.4 < ratio < 1.8
    margin = shown(anytime.noninferiority(control, treatment, margin=0.5, better=Better.LOWER, users_opt=10_000))
    assert margin.rejects
    assert margin.interval.high < always.interval.high


def test_too_few_users_or_no_variance_have_no_sequence() -> None:
    few, many, flat = ArmEstimate(1, 1, 99), ArmEstimate(1, 1, 100), ArmEstimate(1, 0, 100)
    assert lack_of(anytime.difference(few, many, users_opt=100)) is Lack.TOO_FEW
    assert lack_of(anytime.difference(flat, flat, users_opt=100)) is Lack.NO_VARIANCE
    missing = Insufficient(Lack.TOO_FEW, "0 users", "2")
    assert anytime.difference(missing, many, users_opt=100) is missing
    assert anytime.lift(many, missing, users_opt=100) is missing
    for arguments in ({"users_opt": 0}, {"users_opt": 9, "alpha": 0}, {"users_opt": 9, "alpha": 0.6}):
        with pytest.raises(OutOfRange):
            anytime.difference(many, many, alternative=Alternative.LESS, **arguments)
    with pytest.raises(NotFinite):
        anytime.difference(many, many, users_opt=9, null=NAN)


# Proportions: confseq, BernoulliConfidenceIntervalTest


@pytest.mark.parametrize(
    ("events", "trials", "opt", "low", "high"),
    [
        (700, 1000, 100, 0.651629, 0.745949),
        (15, 50, 50, 0.129556, 0.511896),
        (5, 50, 50, 0.013021, 0.269264),
        (1, 50, 50, 0.0, 0.13489),
        (1, 2, 50, 0.0, 1.0),
        (100, 200, 1, 0.328923, 0.671076),
        (0, 1, 50, 0.0, 1.0),
        (1, 1, 50, 0.0, 1.0),
    ],
)
def test_rate_intervals_are_confseqs(events: int, trials: int, opt: int, low: float, high: float) -> None:
    found = rate_interval(Trials(events, trials), trials_opt=opt)
    assert isinstance(found, Interval)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-6)


def test_the_scalar_mixture_is_the_array_one() -> None:
    for p in (1e-6, 0.01, 0.5, 0.99):
        spread = mixtures.beta_spread(p, 500, 0.05)
        strength = proportions._strength(500, 0.05)
        arrays = float(mixtures.log_beta_binomial_mixture(7, 300, p, spread))
        assert proportions._log_mixture(Trials(7, 300), p, strength) == pytest.approx(arrays, abs=1e-8)


def test_a_difference_of_rates_refutes_what_no_pair_of_rates_explains() -> None:
    control, treatment = Trials(10, 1000), Trials(45, 1000)
    found = shown(proportions.difference(control, treatment, trials_opt=1000))
    # By brute force over a grid of pairs.
    rates = np.arange(1, 2_000) / 20_000
    strength = proportions._strength(1000, 0.05)
    one, other = (np.array([proportions._log_mixture(arm, p, strength) for p in rates]) for arm in (control, treatment))
    kept = one[:, None] + other < math.log(20)
    differences = (rates - rates[:, None])[kept]
    assert (found.interval.low, found.interval.high) == pytest.approx((differences.min(), differences.max()), abs=1e-4)
    assert found.rejects
    assert found.p_value == pytest.approx(
        math.exp(-min(np.diag(one + other[:, None])[0], (one + other).min())), rel=0.01
    )


def test_a_margin_on_error_rates_and_its_directions() -> None:
    arms = Trials(100, 10_000), Trials(110, 10_000)
    held = shown(proportions.difference(*arms, trials_opt=10_000, alternative=Alternative.LESS, null=0.01))
    assert held.rejects
    assert held.interval.low == -math.inf
    assert held.interval.high < 0.01
    breached = shown(proportions.difference(*arms, trials_opt=10_000, alternative=Alternative.GREATER, null=0.01))
    assert breached.p_value == 1


def test_rates_at_the_ends_have_intervals_and_no_trials_have_none() -> None:
    none = Trials(0, 0)
    assert lack_of(rate_interval(none, trials_opt=10)) is Lack.TOO_FEW
    assert lack_of(proportions.difference(none, Trials(1, 1), trials_opt=10)) is Lack.TOO_FEW
    clean = shown(proportions.difference(Trials(0, 1000), Trials(0, 1000), trials_opt=1000))
    assert clean.estimate == 0
    assert -0.01 < clean.interval.low < 0 < clean.interval.high < 0.01
    opposite = shown(proportions.difference(Trials(0, 1000), Trials(1000, 1000), trials_opt=1000))
    assert opposite.interval.high == 1
    for events, trials in ((-1, 5), (6, 5), (1, -1)):
        with pytest.raises(OutOfRange):
            Trials(events, trials)
    with pytest.raises(OutOfRange):
        proportions.difference(Trials(1, 5), Trials(1, 5), trials_opt=5, null=1)
    with pytest.raises(OutOfRange):
        Trials(1, 5, design_effect=0.5)


def test_a_design_effect_counts_trials_for_less() -> None:
    plain, clustered = (Trials(10, 400), Trials(25, 500)), (Trials(40, 1_600, 4.0), Trials(75, 1_500, 3.0))
    assert rate_interval(clustered[0], trials_opt=300) == rate_interval(plain[0], trials_opt=300)
    wanted = shown(proportions.difference(*plain, trials_opt=300))
    assert shown(proportions.difference(*clustered, trials_opt=300)) == wanted
    # Fractions of events and less than one trial are no different.
    alone = rate_interval(Trials(2, 150, 200.0), trials_opt=300)
    assert isinstance(alone, Interval)
    assert (alone.low, alone.high) == (0, 1)


# Quantiles


@pytest.mark.parametrize(
    ("quantile", "offset", "p"),
    [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)],
)
def test_the_two_sided_quantile_test_is_confseqs(quantile: float, offset: int, p: float) -> None:
    # QuantileABTest: 1..1000 against the same, moved; tuned at 100.
    control = np.arange(1, 1001)
    found = equality_p_value(sample(control), sample(control + offset), quantile=quantile, requests_opt=100)
    assert found == pytest.approx(p, abs=1e-6)
    shifted = equality_p_value(sample(control), sample(control), quantile=quantile, requests_opt=100, shift=-offset)
    assert shifted == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize("alternative", Alternative)
def test_the_quantile_test_rejects_exactly_what_its_interval_excludes(alternative: Alternative) -> None:
    generator = np.random.default_rng(5)
    # Whole milliseconds: ties within and between the arms.
    control, treatment = (sample(np.round(generator.lognormal(4.8, 0.6, 800))) for _ in range(2))

    def of(null: float) -> Effect:
        return shown(
            quantile_tests.difference(
                control, treatment, quantile=0.9, requests_opt=800, alternative=alternative, null=null
            )
        )

    for null in range(-150, 151, 3):
        assert of(null).rejects is (null not in of(null).interval)
    for edge in (of(0).interval.low, of(0).interval.high):
        if math.isfinite(edge):
            assert not of(edge).rejects


def test_quantile_limits_are_infinite_until_the_data_bound_them() -> None:
    small = sample(np.arange(40.0))
    found = shown(quantile_tests.difference(small, small, quantile=0.95, requests_opt=1000))
    assert (found.estimate, found.interval, found.p_value) == (0, Interval(-math.inf, math.inf), 1)
    flat = sample(np.ones(1000))
    same = shown(quantile_tests.difference(flat, flat, quantile=0.95, requests_opt=1000))
    assert (same.interval, same.p_value) == (Interval(0, 0), 1)


def test_a_design_effect_counts_requests_for_less() -> None:
    values = np.random.default_rng(6).lognormal(4.8, 0.6, (2, 4_000))
    widths = []
    for effect in (1.0, 2.0, 4.0):
        arms = [sample(each, design_effect=effect) for each in values]
        interval = shown(quantile_tests.difference(*arms, quantile=0.95, requests_opt=2_000)).interval
        widths.append(interval.high - interval.low)
    assert widths == sorted(widths)
    assert widths[2] > 1.5 * widths[0]


def test_empty_arms_and_nonsense_have_no_quantile() -> None:
    empty, full = sample([]), sample(np.arange(100.0))
    assert lack_of(quantile_tests.difference(empty, full, quantile=0.95, requests_opt=10)) is Lack.TOO_FEW
    assert lack_of(equality_p_value(full, empty, quantile=0.95, requests_opt=10)) is Lack.TOO_FEW
    assert lack_of(quantile_of([], [], quantile=0.95)) is Lack.TOO_FEW
    with pytest.raises(NotFinite):
        sample([1.0, NAN])
    with pytest.raises(OutOfRange):
        sample([1.0], design_effect=0.5)
    with pytest.raises(OutOfRange):
        quantile_tests.difference(full, full, quantile=1, requests_opt=10)
    with pytest.raises(WrongShape):
        quantile_of([1.0, 2.0], [1], quantile=0.95)


def test_a_quantile_needs_requests_and_users() -> None:
    assert least_requests(0.95) == 73
    values = np.arange(73.0)
    assert lack_of(quantile_of(values[:72], np.arange(72), quantile=0.95)) is Lack.TOO_FEW
    assert lack_of(quantile_of(values, np.zeros(73, dtype=int), quantile=0.95)) is Lack.TOO_FEW
    found = quantile_of(values, np.arange(73), quantile=0.95)
    assert isinstance(found, ArmEstimate)
    assert (found.value, found.n) == (69, 73)


def test_clustering_widens_by_the_number_of_like_requests() -> None:
    generator = np.random.default_rng(7)
    users = np.repeat(np.arange(2_000), 5)
    alike = np.repeat(generator.normal(size=2_000), 5)
    apart = generator.normal(size=10_000)
    same, none = (design_effect(values, users, quantile=0.9) for values in (alike, apart))
    assert isinstance(same, DesignEffect)
    assert isinstance(none, DesignEffect)
    assert same.value == pytest.approx(5, rel=0.02)
    assert none.value == pytest.approx(1, abs=0.1)
    wide, narrow = quantile_of(alike, users, quantile=0.9), quantiles.quantile_of(apart, users, quantile=0.9)
    assert isinstance(wide, ArmEstimate)
    assert isinstance(narrow, ArmEstimate)
    assert wide.squared_error > 3 * narrow.squared_error


def test_the_first_request_of_each_user() -> None:
    assert first_of_user([3, 1, 3, 2, 1]).tolist() == [0, 1, 3]
    assert first_of_user([]).size == 0
