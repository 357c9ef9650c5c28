"""How often an experiment without any effect looks harmful: to the nDCG trigger of the template, and by its errors."""

import math

import numpy as np
import numpy.typing as npt
from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.latency import BUCKETS
from ra_guard.evidence.tally import CONTROL, TREATMENT, Batch, Calls, Quantity, nothing
from ra_guard.evidence.window import Window
from ra_guard.experiments.definition import parse_definition, template
from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.monitor.question import Question
from ra_guard.experiments.monitor.reading import Beside, answer, errors_among_calls
from ra_guard.experiments.monitor.trigger import crossed_by
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Effect
from ra_guard.stats.proportions import Trials, difference

HOURS = 7 * 24
USERS = 124
"""In each arm and hour, at 50 % of 248 users an hour."""
LOW, HIGH = 0.15, 0.85
"""Half of the users each: a standard deviation of 35 points."""


def weeks(runs: int, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Users at HIGH among those of each hour. ``(runs, arms, HOURS)``."""
    return rng.binomial(USERS, 0.5, (runs, 2, HOURS))


def arm(users: int, high: int) -> ArmStatistics:
    low = users - high
    moments = Moments.of_sums(users, [high * HIGH + low * LOW], [[high * HIGH**2 + low * LOW**2]])
    return ArmStatistics(users, users, 0, np.zeros(BUCKETS, dtype=np.int64), 1.0, 1.0, {Quantity.NDCG: moments})


def test_without_an_effect_two_hours_alone_look_harmful_and_nothing_is_proven() -> None:
    definition = parse_definition(template())
    trigger = next(each for each in definition.triggers if each.metric is Metric.NDCG_AT_10)
    question, beside = Question.of(trigger), Beside(0.05, definition.sample.users)
    high = weeks(60, np.random.default_rng(20251024))
    means = (high[:, :, 0::2] + high[:, :, 1::2]) / (2 * USERS) * (HIGH - LOW) * 100
    raw = means[:, 1] - means[:, 0] < trigger.bound
    assert 0.33 < raw.mean() < 0.42
    so_far = high.cumsum(axis=2)
    crossed, checked = 0, 0
    for run in so_far:
        for hour in range(HOURS):
            users = USERS * (hour + 1)
            contrast = Contrast(arm(users, int(run[0, hour])), arm(users, int(run[1, hour])))
            crossed += crossed_by(question, answer(question, contrast, beside)) is True
            checked += 1
    assert (crossed, checked) == (0, 60 * HOURS)


def test_a_harm_of_five_points_is_proven_within_the_week() -> None:
    definition = parse_definition(template())
    trigger = next(each for each in definition.triggers if each.metric is Metric.NDCG_AT_10)
    question, beside = Question.of(trigger), Beside(0.05, definition.sample.users)
    rng = np.random.default_rng(7)
    users = USERS * HOURS
    for _ in range(20):
        control, treatment = rng.binomial(users, 0.5), rng.binomial(users, 0.5 - 0.05 / (HIGH - LOW))
        contrast = Contrast(arm(users, int(control)), arm(users, int(treatment)))
        assert crossed_by(question, answer(question, contrast, beside)) is True


def errors_of(rates: npt.NDArray[np.float64], calls: int, rng: np.random.Generator) -> Batch:
    """So many calls of each user, half of the users in each arm, as rows of an error or none that count several."""
    users = np.arange(rates.size, dtype=np.uint32)
    errors = rng.binomial(calls, rates)
    weight = np.concatenate([errors, calls - errors]).astype(np.int8)
    user, size = np.tile(users, 2), 2 * users.size
    rows = Calls(
        minute=np.ones(size, np.int32),
        arm=np.where(user % 2, TREATMENT, CONTROL).astype(np.uint8),
        user=user,
        domain=np.zeros(size, np.uint8),
        bucket=np.full(size, 800, np.uint16),
        error=np.repeat([True, False], users.size),
        weight=weight,
    )
    return Batch(rows, nothing().changes)


def test_errors_that_fall_together_by_user_do_not_look_like_an_effect() -> None:
    rng = np.random.default_rng(23)
    experiments, looks, users = 60, 3, 1_000
    rejected = rejected_as_independent = 0
    for _ in range(experiments):
        window, rates = Window(0), rng.beta(0.1, 1.9, users)
        is_rejected = False
        for _ in range(looks):
            window.add(errors_of(rates, 60, rng))
            contrast = window.contrast()
            is_rejected |= rejects(errors_among_calls(contrast.control), errors_among_calls(contrast.treatment))
        rejected += is_rejected
        independent = (Trials(arm.errors, arm.calls) for arm in (contrast.control, contrast.treatment))
        rejected_as_independent += rejects(*independent)
    assert rejected / experiments < 0.05 + 3 * math.sqrt(0.05 * 0.95 / experiments)
    assert rejected_as_independent / experiments > 0.5


def rejects(control: Trials, treatment: Trials) -> bool:
    effect = difference(control, treatment, trials_opt=1_000)
    assert isinstance(effect, Effect)
    return 0 not in effect.interval
