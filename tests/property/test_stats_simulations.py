"""The promises of the statistics, by simulation: uniform p-values under the null, coverage, size over all looks.

Seeds are fixed; tolerances are four Monte-Carlo standard errors of what is promised.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from ra_guard.stats import anytime, effects, mixtures, proportions, quantile_tests
from ra_guard.stats.effects import Arm, cuped, mean_of, ratio_of
from ra_guard.stats.moments import Moments, per_user
from ra_guard.stats.outcome import Alternative, Effect, Insufficient, Sides
from ra_guard.stats.proportions import Trials
from ra_guard.stats.quantile_tests import sample
from ra_guard.stats.quantiles import quantile_of
from ra_guard.stats.sequential import Family, bounds
from scipy import stats

Floats = npt.NDArray[np.float64]
ALPHA = 0.05


def error_of(share: float, experiments: int) -> float:
    return 4 * math.sqrt(share * (1 - share) / experiments)


def shown(outcome: Effect | Insufficient) -> Effect:
    assert isinstance(outcome, Effect), outcome
    return outcome


def points(generator: np.random.Generator, shape: tuple[int, ...], bonus: float = 0.0) -> Floats:
    """nDCG as it comes: many zeros, many hundreds, and a spread between; mean near 55 points."""
    return np.clip(100 * generator.beta(0.6, 0.5, shape) + bonus, 0, 100)


def clustered(generator: np.random.Generator, users: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Requests of users who make different numbers of them and differ among themselves; latency-like, in ms."""
    number = generator.integers(1, 8, users)
    user = np.repeat(np.arange(users), number)
    slow = generator.normal(0, 0.4, users)[user]
    return user, 120 * np.exp(slow + generator.normal(0, 0.5, user.size))


def means(generator: np.random.Generator) -> tuple[Arm, Arm]:
    control, treatment = (mean_of(Moments.of(points(generator, (200,)))) for _ in range(2))
    return control, treatment


def ratios(generator: np.random.Generator) -> tuple[Arm, Arm]:
    def arm() -> Arm:
        user, value = clustered(generator, 300)
        totals, counts = per_user(user, np.log(value))
        return ratio_of(Moments.of(totals, counts))

    return arm(), arm()


def adjusted(generator: np.random.Generator) -> tuple[Arm, Arm]:
    before = points(generator, (2, 200))
    after = 0.7 * before + 0.3 * points(generator, (2, 200))
    arms = cuped(Moments.of(after[0], before[0]), Moments.of(after[1], before[1]))
    assert not isinstance(arms, Insufficient)
    return arms.control, arms.treatment


def slow_requests(generator: np.random.Generator) -> tuple[Arm, Arm]:
    control, treatment = (
        quantile_of(value, user, quantile=0.95) for user, value in (clustered(generator, 400) for _ in range(2))
    )
    return control, treatment


@pytest.mark.parametrize(
    ("arms", "experiments"), [(means, 2_000), (ratios, 1_500), (adjusted, 2_000), (slow_requests, 1_000)]
)
def test_p_values_are_uniform_and_intervals_cover_under_the_null(
    arms: Callable[[np.random.Generator], tuple[Arm, Arm]],
    experiments: int,
) -> None:
    generator = np.random.default_rng(11)
    pairs = [arms(generator) for _ in range(experiments)]
    for compare in (effects.difference, effects.lift):
        found = [shown(compare(*pair)) for pair in pairs]
        assert stats.kstest([each.p_value for each in found], "uniform").pvalue > 1e-3
        covered = np.mean([0 in each.interval for each in found])
        assert abs(covered - (1 - ALPHA)) < error_of(ALPHA, experiments)


def test_intervals_cover_an_effect_that_is_there() -> None:
    generator = np.random.default_rng(12)
    experiments, hits = 2_000, 0
    for _ in range(experiments):
        control = Moments.of(generator.gamma(2, 3, 400))
        treatment = Moments.of(generator.gamma(2, 3.3, 300))
        hits += 0.1 in shown(effects.lift(mean_of(control), mean_of(treatment))).interval
    assert abs(hits / experiments - (1 - ALPHA)) < error_of(ALPHA, experiments)


def test_a_covariate_shows_more_with_the_same_users() -> None:
    generator = np.random.default_rng(13)
    control, treatment = adjusted(generator)
    plain = means(generator)
    assert not isinstance(control, Insufficient)
    assert not isinstance(treatment, Insufficient)
    assert not isinstance(plain[0], Insufficient)
    # 0.7 and 0.3 of independent halves: one part in 6.4 of the variance is left.
    assert control.variance < 0.4 * (0.7**2 + 0.3**2) * plain[0].variance


def test_planned_looks_at_users_keep_the_size_and_clt_holds() -> None:
    generator = np.random.default_rng(14)
    experiments, users = 4_000, np.array([214, 500, 714, 1_000])
    found = bounds((users / users[-1]).tolist(), family=Family.OBRIEN_FLEMING, alpha=ALPHA, sides=Sides.TWO)
    rejected = 0
    for _ in range(experiments):
        control, treatment = points(generator, (2, users[-1]))
        z = []
        for seen in users:
            estimate = treatment[:seen].mean() - control[:seen].mean()
            z.append(estimate / math.sqrt((control[:seen].var(ddof=1) + treatment[:seen].var(ddof=1)) / seen))
        rejected += found.first_crossing(z) is not None
    assert abs(rejected / experiments - ALPHA) < error_of(ALPHA, experiments)


def running(values: Floats) -> tuple[Floats, Floats]:
    """Mean and sample variance after each user, from the second on; shape (experiments, users - 1)."""
    n = np.arange(1, values.shape[1] + 1)
    mean = np.cumsum(values, axis=1) / n
    squares = np.cumsum(values**2, axis=1) - n * mean**2
    return mean[:, 1:], squares[:, 1:] / (n[1:] - 1)


@pytest.mark.parametrize("alternative", [Alternative.TWO_SIDED, Alternative.LESS])
def test_anytime_intervals_of_means_cover_at_every_step(alternative: Alternative) -> None:
    generator = np.random.default_rng(15)
    experiments, users, opt = 2_000, 1_500, 1_000
    steps = np.arange(2, users + 1)
    (c_mean, c_var), (t_mean, t_var) = (running(points(generator, (experiments, users))) for _ in range(2))
    seen = 2 * steps
    error = np.sqrt((c_var + t_var) / steps)
    s = (t_mean - c_mean) / error * np.sqrt(seen)
    if alternative is Alternative.TWO_SIDED:
        log_e = mixtures.log_normal_mixture(s, seen, mixtures.best_rho(opt, ALPHA))
    else:
        log_e = mixtures.log_one_sided_normal_mixture(-s, seen, mixtures.best_rho(opt, 2 * ALPHA))
    looked_at = steps >= anytime.LEAST_USERS
    refuted = (log_e[:, looked_at] >= math.log(1 / ALPHA)).any(axis=1).mean()
    assert refuted < ALPHA + error_of(ALPHA, experiments)
    # The same numbers through the front door, at a few of the steps.
    for experiment, step in ((0, 100), (1, 777), (2, 1_500)):
        at = step - 2
        control = effects.ArmEstimate(float(c_mean[experiment, at]), float(c_var[experiment, at]), step)
        treatment = effects.ArmEstimate(float(t_mean[experiment, at]), float(t_var[experiment, at]), step)
        found = shown(anytime.difference(control, treatment, users_opt=opt, alternative=alternative))
        assert found.p_value == pytest.approx(min(1.0, math.exp(-log_e[experiment, at])), rel=1e-6)


def test_one_look_repeated_at_every_step_would_not_cover() -> None:
    generator = np.random.default_rng(16)
    mean, variance = running(generator.normal(size=(500, 1_500)))
    z = np.abs(mean) / np.sqrt(variance / np.arange(2, 1_501))
    assert (z[:, 98:] > 1.96).any(axis=1).mean() > 0.25


@pytest.mark.parametrize("rates", [(0.01, 0.01), (0.01, 0.03), (0.5, 0.4)])
def test_anytime_differences_of_rates_cover_at_every_step(rates: tuple[float, float]) -> None:
    generator = np.random.default_rng(17)
    experiments, trials, opt = 2_000, 1_000, 500
    n = np.arange(1, trials + 1)
    log_e: Floats = np.zeros((experiments, trials))
    events = [np.cumsum(generator.random((experiments, trials)) < rate, axis=1, dtype=np.float64) for rate in rates]
    for seen, rate in zip(events, rates, strict=True):
        spread = mixtures.beta_spread(rate, opt, ALPHA)
        log_e += mixtures.log_beta_binomial_mixture(seen, n, rate, spread)
    # The interval leaves the true difference out only where the true pair is refuted.
    refuted = log_e >= math.log(1 / ALPHA)
    assert refuted.any(axis=1).mean() < ALPHA + error_of(ALPHA, experiments)
    worst = np.argsort(log_e.max(axis=1))[-5:]
    for experiment in worst:
        step = int(log_e[experiment].argmax())
        control, treatment = (Trials(int(seen[experiment, step]), step + 1) for seen in events)
        interval = shown(proportions.difference(control, treatment, trials_opt=opt)).interval
        assert refuted[experiment, step] or rates[1] - rates[0] in interval


@pytest.mark.parametrize("rounded", [False, True])
def test_anytime_intervals_of_a_quantile_difference_cover_at_every_look(rounded: bool) -> None:  # noqa: FBT001
    generator = np.random.default_rng(18)
    experiments, shift = 200, 100.0
    looks = range(80, 801, 80)
    missed = 0
    for _ in range(experiments):
        control, treatment = generator.lognormal(math.log(120), 0.6, (2, 800))
        treatment = treatment + shift
        if rounded:
            control, treatment = np.round(control, -1), np.round(treatment, -1)
        missed += any(
            shift
            not in shown(
                quantile_tests.difference(
                    sample(control[:seen]), sample(treatment[:seen]), quantile=0.95, requests_opt=500
                )
            ).interval
            for seen in looks
        )
    assert missed / experiments < ALPHA + error_of(ALPHA, experiments)


def test_a_design_effect_keeps_clustered_requests_from_alarming() -> None:
    generator = np.random.default_rng(19)
    experiments, looks = 120, range(100, 301, 50)
    alarms = {"taken as independent": 0, "with the design effect": 0}
    for _ in range(experiments):
        # Ten requests a user, all alike: the arms differ by chance far more than the requests say.
        control, treatment = np.repeat(generator.lognormal(4.8, 0.6, (2, 300)), 10, axis=1)
        for name, effect in (("taken as independent", 1.0), ("with the design effect", 10.0)):
            alarms[name] += any(
                shown(
                    quantile_tests.difference(
                        sample(control[: 10 * seen], design_effect=effect),
                        sample(treatment[: 10 * seen], design_effect=effect),
                        quantile=0.9,
                        requests_opt=2_000,
                        alternative=Alternative.GREATER,
                    )
                ).rejects
                for seen in looks
            )
    assert alarms["with the design effect"] / experiments < ALPHA + error_of(ALPHA, experiments)
    assert alarms["taken as independent"] / experiments > 3 * ALPHA


def test_a_slow_treatment_is_found_and_the_margin_is_held() -> None:
    generator = np.random.default_rng(20)
    control, treatment = generator.lognormal(math.log(120), 0.6, (2, 4_000))
    breached = quantile_tests.difference(
        sample(control),
        sample(treatment + 250),
        quantile=0.95,
        requests_opt=2_000,
        alternative=Alternative.GREATER,
        null=100,
    )
    held = quantile_tests.difference(
        sample(control), sample(treatment), quantile=0.95, requests_opt=2_000, alternative=Alternative.LESS, null=100
    )
    assert shown(breached).rejects
    assert shown(held).rejects
