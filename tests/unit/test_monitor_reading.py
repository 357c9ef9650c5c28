"""Every metric on every scale has a reading, and no reading makes up a number."""

import math
from dataclasses import replace

import numpy as np
import pytest
from ra_guard.evidence.contrast import Contrast, Vitals
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Batch, Quantity
from ra_guard.evidence.window import Window
from ra_guard.experiments.definition.measures import MEASURES, Better, Counted, Evidence, Metric, Scale
from ra_guard.experiments.monitor.outcomes import Reading, Verdict
from ra_guard.experiments.monitor.reading import Beside, read
from ra_guard.experiments.monitor.trigger import crosses
from ra_guard.experiments.monitor.verdict import judge
from ra_guard.stats.outcome import Interval

from tests.stand_ins.batches import Call, Change, batch, population
from tests.stand_ins.bounds import alarm, requirement

ASKABLE = [(metric, scale) for metric, measure in MEASURES.items() for scale in measure.scales]
BY_ARM = [(metric, scale) for metric, scale in ASKABLE if MEASURES[metric].counted is not Counted.NOTHING]
BESIDE = Beside(0.05, 5_000, Vitals(3, 0, 0, 0), critical_errors=0, power=93.0, guardrails_unhealthy=1)
USERS = 300


def contrast(*batches: Batch) -> Contrast:
    window = Window(0)
    for each in batches:
        window.add(each)
    return window.contrast()


def even(**changes: object) -> Contrast:
    return contrast(population(USERS, 1, **changes))  # type: ignore[arg-type]


BETTER = even(
    treatment={
        Quantity.NDCG: 0.05,
        Quantity.CLICK_THROUGH: 0.05,
        Quantity.COMPLETION: 0.05,
        Quantity.RATING: 0.5,
        Quantity.COMPLAINTS: 0.25,
        Quantity.DISCOVERY: 1.0,
    },
    treatment_ms=100.0,
    control_errors=12,
    treatment_errors=24,
)

FOUND = {
    (Metric.NDCG_AT_10, Scale.POINTS): (5.0, 60.0, 65.0, USERS),
    (Metric.LATENCY_P95, Scale.ADDED_MS): (100.0, 354.0, 454.0, 4 * USERS),
    (Metric.ERROR_RATE, Scale.PERCENT): (2.0, 1.0, 2.0, 4 * USERS),
    (Metric.ERROR_RATE, Scale.ADDED_PERCENTAGE_POINTS): (1.0, 1.0, 2.0, 4 * USERS),
    (Metric.CRITICAL_ERRORS, Scale.COUNT): (0.0, None, None, 0),
    (Metric.SATISFACTION, Scale.ADDED_STARS): (0.5, 3.5, 4.0, USERS),
    (Metric.COMPLAINTS, Scale.ADDED_PERCENT): (25.0, 1.0, 1.25, USERS),
    (Metric.CLICK_THROUGH_RATE, Scale.ADDED_PERCENTAGE_POINTS): (5.0, 50.0, 55.0, USERS),
    (Metric.QUERY_COMPLETION_RATE, Scale.ADDED_PERCENTAGE_POINTS): (5.0, 70.0, 75.0, USERS),
    (Metric.CONTENT_DISCOVERY, Scale.ADDED_PERCENT): (25.0, 4.0, 5.0, USERS),
    (Metric.STATISTICAL_POWER, Scale.PERCENT): (93.0, None, None, 0),
    (Metric.HEALTH_CHECK_FAILURES, Scale.COUNT): (0.0, None, None, 0),
    (Metric.GUARDRAILS_UNHEALTHY, Scale.COUNT): (1.0, None, None, 0),
}


def test_every_metric_and_scale_is_here() -> None:
    assert set(FOUND) == set(ASKABLE)


@pytest.mark.parametrize(("metric", "scale"), ASKABLE)
def test_values_are_on_the_scale_and_levels_in_the_metrics_unit(metric: Metric, scale: Scale) -> None:
    value, control, treatment, count = FOUND[metric, scale]
    for asked in (requirement(metric, scale, 1), alarm(metric, scale, 1)):
        reading = read(asked, BETTER, BESIDE)
        # A P95 is known to its bucket, 1/128 of it.
        near = 6.0 if metric is Metric.LATENCY_P95 else 1e-6
        assert reading.value == pytest.approx(value, abs=near)
        assert reading.control == (None if control is None else pytest.approx(control, abs=near))
        assert reading.treatment == (None if treatment is None else pytest.approx(treatment, abs=near))
        assert (reading.control_count, reading.treatment_count) == (count, count)
        assert (reading.lack, reading.is_broken, reading.interval) == ("", False, None)


@pytest.mark.parametrize(("metric", "scale"), BY_ARM)
def test_each_interval_covers_its_value_on_the_scale(metric: Metric, scale: Scale) -> None:
    """One that shows the side on which the value lies, and only where it can change the answer."""
    value = FOUND[metric, scale][0]
    for bound in (value - 0.5, value + 0.5):
        asked = requirement(metric, scale, bound, Evidence.PROVEN)
        reading = read(asked, BETTER, BESIDE)
        assert reading.value is not None
        assert reading.interval is not None
        assert reading.value in reading.interval
        if scale is not Scale.PERCENT:
            assert math.isinf(reading.interval.high if reading.value > bound else reading.interval.low)
        watched = read(alarm(metric, scale, bound, Evidence.PROVEN), BETTER, BESIDE)
        is_bad_side = (asked.must_be.towards is Better.HIGHER) is not (reading.value > bound)
        assert (watched.interval is not None) is is_bad_side
        lenient = read(requirement(metric, scale, bound, Evidence.NOT_REFUTED), BETTER, BESIDE)
        assert (lenient.interval is not None) is is_bad_side


@pytest.mark.parametrize(("metric", "scale"), BY_ARM)
@pytest.mark.parametrize("evidence", Evidence)
def test_degenerate_arms_never_pass(metric: Metric, scale: Scale, evidence: Evidence) -> None:
    widest = {Scale.ADDED_STARS: 4, Scale.ADDED_MS: 60_000}.get(scale, 100)
    easy = -widest if MEASURES[metric].better is Better.HIGHER else widest
    asked = requirement(metric, scale, easy, evidence, least=1)
    assert judge(asked, read(asked, BETTER, BESIDE)) is Verdict.PASS  # nothing but the evidence stands in the way
    nothing, constant = contrast(), even(spread=0.0)
    cases = {
        "no arm": nothing,
        "no control": Contrast(nothing.control, BETTER.treatment),
        "no treatment": Contrast(BETTER.control, nothing.treatment),
        "one user": contrast(population(1, 1, calls=1)),
        "constant": constant,
    }
    if metric is Metric.ERROR_RATE:  # calls without an error are evidence, however much alike
        del cases["one user"], cases["constant"]
        if scale is Scale.PERCENT:  # a level looks at treatment alone
            del cases["no control"]
    for name, case in cases.items():
        reading = read(asked, case, BESIDE)
        assert judge(asked, reading) is Verdict.INSUFFICIENT, name
        assert reading.value is None, name
        assert reading.lack, name


@pytest.mark.parametrize(("metric", "scale"), BY_ARM)
def test_evidence_that_cannot_be_true_is_an_error(metric: Metric, scale: Scale) -> None:
    back = [Change(1, TREATMENT, USERS, quantity, -2, -9 * UNIT) for quantity in Quantity]
    gone = [Call(1, TREATMENT, USERS, 3.0, error=True, weight=-1)]
    broken = contrast(population(USERS, 1), batch(gone * 9, back))
    for evidence in Evidence:
        asked = requirement(metric, scale, 1, evidence)
        reading = read(asked, broken, BESIDE)
        assert (reading.value, reading.is_broken) == (None, True)
        assert judge(asked, reading) is Verdict.ERROR
    watch = alarm(metric, scale, 1)
    assert crosses(watch, read(watch, broken, BESIDE)) is None


def test_times_that_were_not_recorded_are_no_times() -> None:
    unknown = batch([Call(1, arm, user, 0.0) for arm, user in ((CONTROL, 0), (TREATMENT, USERS)) for _ in range(900)])
    asked = requirement(Metric.LATENCY_P95, Scale.ADDED_MS, 100)
    assert read(asked, contrast(population(USERS, 1), unknown), BESIDE) == read(asked, even(), BESIDE)
    assert read(asked, contrast(unknown), BESIDE).value is None


@pytest.mark.parametrize("scale", [Scale.PERCENT, Scale.ADDED_PERCENTAGE_POINTS])
def test_errors_of_few_users_prove_less_and_are_the_same_value(scale: Scale) -> None:
    # The minimum count is of calls, whatever they are worth.
    asked = requirement(Metric.ERROR_RATE, scale, 0.5, Evidence.PROVEN, least=4 * USERS)
    # Four calls a user: 24 errors are all calls of six users.
    together = even(treatment_errors=24)
    assert together.treatment.error_design_effect > 3.9
    treatment = replace(together.treatment, error_design_effect=1.0)
    alike, apart = read(asked, together, BESIDE), read(asked, replace(together, treatment=treatment), BESIDE)
    assert alike.value == apart.value == 2.0
    assert alike.interval is not None
    assert apart.interval is not None
    assert alike.interval.low < apart.interval.low


@pytest.mark.parametrize(("metric", "scale"), BY_ARM)
def test_the_minimum_count_holds_for_each_arm_that_is_looked_at(metric: Metric, scale: Scale) -> None:
    few = 4 * USERS if MEASURES[metric].counted is Counted.REQUESTS else USERS
    assert read(requirement(metric, scale, 1, least=few), BETTER, BESIDE).value is not None
    reading = read(requirement(metric, scale, 1, least=few + 1), BETTER, BESIDE)
    assert reading.value is None
    assert str(few + 1) in reading.lack
    smaller = Contrast(even(calls=4).control, contrast(population(USERS - 1, 1)).treatment)
    assert read(requirement(metric, scale, 1, least=few), smaller, BESIDE).value is None


@pytest.mark.parametrize(
    ("beside", "verdict"),
    [
        (replace(BESIDE, vitals=None, critical_errors=None), Verdict.INSUFFICIENT),
        (replace(BESIDE, vitals=Vitals(0, 0, 0, 0)), Verdict.INSUFFICIENT),
        (replace(BESIDE, critical_errors=-1), Verdict.ERROR),
        (replace(BESIDE, critical_errors=1), Verdict.FAIL),
        (BESIDE, Verdict.PASS),
    ],
)
def test_critical_errors(beside: Beside, verdict: Verdict) -> None:
    asked = requirement(Metric.CRITICAL_ERRORS, Scale.COUNT, 1)
    assert judge(asked, read(asked, even(), beside)) is verdict


@pytest.mark.parametrize(
    ("vitals", "verdict"),
    [
        (None, Verdict.INSUFFICIENT),
        (Vitals(0, 0, 0, 0), Verdict.ERROR),
        (Vitals(1, 2, 0, 0), Verdict.ERROR),
        (Vitals(3, 1, 0, 0), Verdict.FAIL),
        (Vitals(3, 0, 0, 0), Verdict.PASS),
    ],
)
def test_health_check_failures(vitals: Vitals | None, verdict: Verdict) -> None:
    asked = requirement(Metric.HEALTH_CHECK_FAILURES, Scale.COUNT, 1)
    assert judge(asked, read(asked, even(), replace(BESIDE, vitals=vitals))) is verdict


def test_what_nobody_could_tell_is_no_number() -> None:
    power = requirement(Metric.STATISTICAL_POWER, Scale.PERCENT, 80)
    assert judge(power, read(power, even(), replace(BESIDE, power="no users"))) is Verdict.INSUFFICIENT
    assert judge(power, read(power, even(), replace(BESIDE, power=math.nan))) is Verdict.ERROR
    rails = requirement(Metric.GUARDRAILS_UNHEALTHY, Scale.COUNT, 1)
    assert judge(rails, read(rails, even(), replace(BESIDE, guardrails_unhealthy=None))) is Verdict.INSUFFICIENT


INSIDE, ACROSS, OUTSIDE = Interval(-math.inf, 0.5), Interval(0.5, math.inf), Interval(1.5, math.inf)
VERDICTS = [
    (Evidence.OBSERVED, 0.9, None, Verdict.PASS),
    (Evidence.OBSERVED, 1.0, None, Verdict.FAIL),
    (Evidence.PROVEN, 0.4, INSIDE, Verdict.PASS),
    (Evidence.PROVEN, 0.4, Interval(-math.inf, 1.0), Verdict.INSUFFICIENT),
    (Evidence.PROVEN, 0.4, None, Verdict.INSUFFICIENT),
    (Evidence.PROVEN, 1.6, ACROSS, Verdict.INSUFFICIENT),
    (Evidence.PROVEN, 1.6, OUTSIDE, Verdict.FAIL),
    (Evidence.NOT_REFUTED, 0.4, None, Verdict.PASS),
    (Evidence.NOT_REFUTED, 1.6, None, Verdict.INSUFFICIENT),
    (Evidence.NOT_REFUTED, 1.6, ACROSS, Verdict.PASS),
    (Evidence.NOT_REFUTED, 1.6, OUTSIDE, Verdict.FAIL),
]


@pytest.mark.parametrize(("evidence", "value", "interval", "verdict"), VERDICTS)
def test_verdicts(evidence: Evidence, value: float, interval: Interval | None, verdict: Verdict) -> None:
    asked = requirement(Metric.LATENCY_P95, Scale.ADDED_MS, 1, evidence)
    reading = Reading(value, interval, 1.0, 2.0, 100, 100)
    assert judge(asked, reading) is verdict
    for broken in (replace(reading, is_broken=True), replace(reading, value=math.nan)):
        assert judge(asked, broken) is Verdict.ERROR
    assert judge(asked, replace(reading, value=None)) is Verdict.INSUFFICIENT
    assert judge(asked, replace(reading, interval=Interval(math.nan, 1.0))) is Verdict.ERROR


def test_a_crossing_is_proven_by_the_whole_interval() -> None:
    watch = alarm(Metric.LATENCY_P95, Scale.ADDED_MS, 1, Evidence.PROVEN)
    reading = Reading(1.6, OUTSIDE, 1.0, 2.0, 100, 100)
    assert crosses(watch, reading) is True
    assert crosses(watch, replace(reading, interval=ACROSS)) is False
    assert crosses(watch, replace(reading, interval=None)) is None
    assert crosses(watch, replace(reading, interval=None, value=0.5)) is False
    assert crosses(watch, replace(reading, value=None)) is None
    assert crosses(watch, replace(reading, value=math.inf)) is None


def test_a_histogram_is_shared_and_never_changed() -> None:
    held = even()
    before = held.control.latency.copy()
    read(requirement(Metric.LATENCY_P95, Scale.ADDED_MS, 1, Evidence.PROVEN), held, BESIDE)
    assert np.array_equal(before, held.control.latency)
    with pytest.raises(ValueError, match="read-only"):
        held.control.latency[0] = 1
