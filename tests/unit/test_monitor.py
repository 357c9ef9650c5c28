"""The watch over one experiment: what fires, what holds, and over which minutes."""

from dataclasses import replace

import numpy as np
import pytest
from ra_guard.evidence.contrast import Exposure, Vitals
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Batch, Quantity
from ra_guard.evidence.window import MinuteWentBack
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.monitor.monitor import Monitor, NothingToAssess
from ra_guard.experiments.monitor.outcomes import Tick, Verdict, Watched
from ra_guard.stats.outcome import Effect, Insufficient

from tests.stand_ins.batches import Call, Change, batch, population
from tests.stand_ins.definitions import definition

START = 29_000_000
EXPOSURE = Exposure(500, 500, 0, 0, 0)
VITALS = Vitals(3, 0, 0, 0)
STAGES = [100, 500, 1_000, 2_500, 5_000]


def traffic(
    minute: int, *, calls: int = 40, errors: tuple[int, int] = (0, 0), ms: tuple[float, float] = (300, 300)
) -> Batch:
    """So many calls in each arm, from as many users, who are others every minute of ten."""
    rows = []
    for arm, failed, level in ((CONTROL, errors[0], ms[0]), (TREATMENT, errors[1], ms[1])):
        for number in range(calls):
            user = 2 * (number + calls * (minute % 10)) + arm - 1
            rows.append(Call(minute, arm, user, level + number, error=number < failed))
    return batch(rows)


FEWER = "coverage_percent = 90\nmin_requests = 200", "coverage_percent = 90\nmin_requests = 100"
"""Of the trigger on errors, for a test's traffic: enough in the third minute."""


class Run:
    """A monitor that is stepped minute by minute."""

    def __init__(self, plan: Definition | None = None, stage_bp: int = 100) -> None:
        self.monitor = Monitor(plan or definition(FEWER), epoch_since=START, stage_bp=stage_bp, stage_since=START)
        self.minute = START

    def minutes(self, number: int, vitals: Vitals | None = VITALS, **kind: object) -> Tick:
        for _ in range(number):
            self.monitor.add(traffic(self.minute, **kind))  # type: ignore[arg-type]
            tick = self.monitor.step(self.minute, EXPOSURE, vitals)
            self.minute += 1
        return tick

    def skip(self, number: int) -> None:
        self.minute += number


def trigger(tick: Tick, metric: Metric) -> Watched:
    return next(each for each in tick.triggers if each.alarm.metric is metric)


def alert(tick: Tick, metric: Metric, severity: str) -> Watched:
    return next(
        each
        for each in tick.alerts
        if each.alarm.metric is metric and each.alarm.severity == severity  # type: ignore[attr-defined]
    )


def test_a_quiet_experiment_fires_nothing() -> None:
    tick = Run().minutes(40)
    assert not any(each.is_firing for each in (*tick.triggers, *tick.alerts))
    assert [each.crossed for each in tick.triggers] == [False, False, None]  # nobody has an nDCG yet
    assert [(each.requirement.metric, each.verdict) for each in tick.guardrails] == [(Metric.ERROR_RATE, Verdict.PASS)]


def test_an_error_rate_fires_after_its_minutes_and_recovers() -> None:
    run = Run()
    run.minutes(20)
    # 2 % of the last 15 minutes, 600 calls, is crossed with the thirteenth error.
    tick = run.minutes(13, errors=(0, 1))
    assert trigger(tick, Metric.ERROR_RATE).crossed
    assert trigger(tick, Metric.ERROR_RATE).minutes_crossed == 1
    assert not trigger(tick, Metric.ERROR_RATE).is_firing
    assert not trigger(run.minutes(13, errors=(0, 1)), Metric.ERROR_RATE).is_firing
    fired = trigger(run.minutes(1, errors=(0, 1)), Metric.ERROR_RATE)
    assert (fired.is_firing, fired.minutes_crossed, fired.coverage) == (True, 15, 1.0)
    assert not fired.has_shared_cause
    assert alert(run.minutes(1, errors=(0, 1)), Metric.ERROR_RATE, "critical").is_firing
    tick = run.minutes(15)
    assert not any(each.is_firing for each in tick.triggers)
    assert [each.alarm.bound for each in tick.alerts if each.is_firing] == [1.0]  # looks back further
    tick = run.minutes(45)
    assert not any(each.is_firing for each in (*tick.triggers, *tick.alerts))


def test_minutes_without_evidence_lower_the_coverage() -> None:
    run = Run()
    run.minutes(16, errors=(0, 4))
    run.skip(1)
    tick = run.minutes(1, errors=(0, 4))
    assert trigger(tick, Metric.ERROR_RATE).coverage == pytest.approx(14 / 15)
    assert trigger(tick, Metric.ERROR_RATE).is_firing
    run.skip(2)
    tick = run.minutes(1, errors=(0, 4))
    assert trigger(tick, Metric.ERROR_RATE).coverage == pytest.approx(12 / 15)
    assert not trigger(tick, Metric.ERROR_RATE).is_firing


def test_an_overload_of_both_arms_has_a_shared_cause() -> None:
    run = Run()
    run.minutes(20)
    fired = trigger(run.minutes(30, errors=(4, 4)), Metric.ERROR_RATE)
    assert fired.is_firing
    assert fired.has_shared_cause


def test_a_slower_treatment_has_a_shared_cause_if_control_became_as_slow() -> None:
    for control_ms, is_shared in ((300, False), (560, True)):
        run = Run()
        run.minutes(18)  # so few that the first minute of the fault is more than 5 % of all calls
        fired = trigger(run.minutes(40, ms=(control_ms, control_ms + 250)), Metric.LATENCY_P95)
        assert fired.is_firing
        assert fired.has_shared_cause is is_shared
        run.minutes(16)
        assert not trigger(run.minutes(1), Metric.LATENCY_P95).has_shared_cause


def test_gates_look_at_the_stage_and_guardrails_at_the_epoch() -> None:
    run = Run(stage_bp=1_000)
    run.minutes(30, errors=(0, 4))
    assert [each.verdict for each in run.monitor.assess().gates] == [Verdict.FAIL]
    run.monitor.stage(2_500, run.minute)
    run.monitor.stage(1_000, run.minute)
    run.minutes(1)
    assert [each.verdict for each in run.monitor.assess().gates] == [Verdict.INSUFFICIENT]
    run.minutes(30)
    assessment = run.monitor.assess()
    assert [each.verdict for each in assessment.gates] == [Verdict.PASS]
    error_rate = next(each for each in assessment.guardrails if each.requirement.metric is Metric.ERROR_RATE)
    assert error_rate.verdict is Verdict.FAIL
    assert run.monitor.evidence().stage.control.calls == 31 * 40


def test_critical_errors_of_the_stage_decide_its_gate() -> None:
    run = Run(stage_bp=100)
    run.minutes(1, vitals=Vitals(3, 0, 0, 2))
    assert run.monitor.assess().gates[0].verdict is Verdict.PASS
    run.minutes(1, vitals=Vitals(3, 0, 1, 2))
    assert run.monitor.assess().gates[0].verdict is Verdict.FAIL
    run.minutes(1, vitals=None)
    assert run.monitor.assess().gates[0].verdict is Verdict.INSUFFICIENT
    assert run.monitor.evidence().vitals is None


def test_at_ramp_zero_no_gate_and_every_trigger() -> None:
    run = Run(stage_bp=0)
    tick = run.minutes(30, errors=(0, 4))
    assert trigger(tick, Metric.ERROR_RATE).is_firing
    assert run.monitor.assess().gates == ()
    assert run.monitor.assess().power_percent is None


def test_all_guardrails_healthy() -> None:
    run = Run(stage_bp=5_000)
    run.minutes(30)
    assert run.monitor.assess().gates[0].reading.value == 1  # nobody rated
    run.monitor.add(population(300, run.minute))
    run.minutes(1)
    gate = run.monitor.assess().gates[0]
    assert (gate.reading.value, gate.verdict) == (0, Verdict.PASS)


def test_another_definition_keeps_what_asks_the_same() -> None:
    run = Run()
    run.minutes(16, errors=(0, 4))
    run.monitor.redefine(definition(FEWER, ("bound_added_ms = 200", "bound_added_ms = 210")))
    tick = run.minutes(1, errors=(0, 4))
    assert trigger(tick, Metric.ERROR_RATE).is_firing
    assert trigger(tick, Metric.LATENCY_P95).coverage == pytest.approx(1 / 15)
    run.monitor.redefine(definition(FEWER, ("bound_percent = 2.0", "bound_percent = 2.5")))
    tick = run.minutes(1, errors=(0, 4))
    assert trigger(tick, Metric.ERROR_RATE).crossed
    assert not trigger(tick, Metric.ERROR_RATE).is_firing


def test_a_span_that_is_new_starts_now() -> None:
    run = Run()
    run.minutes(16)
    run.monitor.redefine(definition(("over_minutes = 15", "over_minutes = 45")))
    assert trigger(run.minutes(2), Metric.ERROR_RATE).crossed is None
    assert trigger(run.minutes(2), Metric.ERROR_RATE).reading.treatment_count == 160


def test_critical_errors_over_the_last_minutes() -> None:
    asked = (
        ('metric = "health_check_failures"', 'metric = "critical_errors"'),
        ("over_minutes = 1\n", "over_minutes = 3\n"),
    )
    run = Run(definition(*asked))
    counts = [0, 0, 2, 2, 2, 2, 5]
    read = []
    for count in counts:
        tick = run.minutes(1, vitals=Vitals(3, 0, 0, count))
        read.append(next(each for each in tick.alerts if each.alarm.metric is Metric.CRITICAL_ERRORS).reading.value)
    assert read == [0, 0, 2, 2, 2, 0, 3]
    restarted = Monitor(definition(*asked), epoch_since=START - 100, stage_bp=100, stage_since=START)
    tick = restarted.step(START, EXPOSURE, Vitals(3, 0, 0, 7))
    assert next(each for each in tick.alerts if each.alarm.metric is Metric.CRITICAL_ERRORS).reading.value is None


def test_a_minute_that_is_asked_again_and_one_that_went_back() -> None:
    run = Run()
    before = run.minutes(10, errors=(0, 4))
    assert run.monitor.step(run.minute - 1, EXPOSURE, VITALS) == before
    with pytest.raises(MinuteWentBack):
        run.monitor.step(run.minute - 2, EXPOSURE, VITALS)


def test_intervals_exist_at_any_confidence() -> None:
    run = Run(definition(("confidence_percent = 95", "confidence_percent = 40")))
    run.monitor.add(population(300, START, treatment={Quantity.NDCG: -0.05}))
    tick = run.minutes(1)
    assert trigger(tick, Metric.NDCG_AT_10).reading.interval is not None
    assert isinstance(run.monitor.assess().primary, Effect)


def test_nothing_is_said_before_the_first_step() -> None:
    run = Run()
    run.monitor.add(traffic(START))
    for ask in (run.monitor.assess, run.monitor.evidence):
        with pytest.raises(NothingToAssess):
            ask()


def test_evidence_and_assessment_are_those_of_the_latest_step() -> None:
    run = Run()
    run.minutes(20)
    evidence, assessment = run.monitor.evidence(), run.monitor.assess()
    run.monitor.add(traffic(run.minute, errors=(0, 9)))
    assert run.monitor.evidence().epoch is evidence.epoch
    assert run.monitor.assess() == assessment
    assert (evidence.as_of, evidence.exposure) == (run.minute - 1, EXPOSURE)
    assert sorted(evidence.recent) == [1, 15, 60]
    assert evidence.recent[15].control.calls == 600
    assert evidence.recent[15].control.users == 400


def test_the_sample_ratio_and_crossover_come_from_exposure() -> None:
    run = Run()
    run.minutes(1)
    run.monitor.step(run.minute, Exposure(600, 400, 10, 0, 0), VITALS)
    assessment = run.monitor.assess()
    assert not isinstance(assessment.sample_ratio, Insufficient)
    assert assessment.sample_ratio.mismatch
    assert assessment.crossover_percent == 1.0
    run.monitor.step(run.minute, Exposure(0, 0, 0, 0, 0), VITALS)
    assert run.monitor.assess().crossover_percent is None
    assert isinstance(run.monitor.assess().sample_ratio, Insufficient)


def graded(minute: int, users: range, rng: np.random.Generator, added: float = 0.0) -> Batch:
    """New users with one call and one nDCG each, alternating arms; a spread of 35 points."""
    calls, changes = [], []
    for user in users:
        arm = CONTROL if user % 2 else TREATMENT
        value = min(1.0, max(0.0, 0.5 + (0.35 if rng.random() < 0.5 else -0.35) + (added if arm == TREATMENT else 0)))
        calls.append(Call(minute, arm, user))
        changes.append(Change(minute, arm, user, Quantity.NDCG, 1, round(value * UNIT)))
    return batch(calls, changes)


def test_power_is_told_from_enrolment_and_spread_so_far() -> None:
    rng = np.random.default_rng(1)
    monitor = Monitor(definition(), epoch_since=START, stage_bp=100, stage_since=START)
    powers = []
    for hour in range(24):
        monitor.add(graded(START + 60 * hour, range(20 * hour, 20 * hour + 20), rng))
        monitor.step(START + 60 * hour + 59, EXPOSURE, VITALS)
        powers.append(monitor.assess().power_percent)
    assert powers[8] is None  # 90 users in each arm have an nDCG
    # At 10 new users an hour in each arm at 1 %, the stages to 50 % bring tens of thousands.
    assert powers[-1] == pytest.approx(100.0, abs=0.1)
    monitor.stage(5_000, START + 24 * 60)
    monitor.step(START + 24 * 60, EXPOSURE, VITALS)
    assert monitor.assess().power_percent is None  # nobody was enrolled at this stage yet
    end = START + 14 * 24 * 60
    monitor.step(end, EXPOSURE, VITALS)
    # 240 users in each arm are all that there will be: a standard error of 3.2 points, and 1.96 of them are 6.3.
    power = monitor.assess().power_percent
    assert power == pytest.approx(25.5, abs=1)
    watched = next(
        each for each in monitor.step(end, EXPOSURE, VITALS).alerts if each.alarm.metric is Metric.STATISTICAL_POWER
    )
    assert watched.is_firing
    assert watched.reading.value == power


def test_a_harm_is_proven_and_the_primary_effect_is_in_points() -> None:
    rng = np.random.default_rng(2)
    run = Run(stage_bp=5_000)
    for minute in range(150):
        run.monitor.add(graded(run.minute, range(minute * 40, minute * 40 + 40), rng, added=-0.12))
        tick = run.monitor.step(run.minute, EXPOSURE, VITALS)
        run.minute += 1
    assert trigger(tick, Metric.NDCG_AT_10).is_firing
    assert not trigger(tick, Metric.NDCG_AT_10).has_shared_cause
    primary = run.monitor.assess().primary
    assert isinstance(primary, Effect)
    assert -20 < primary.estimate < -8
    assert primary.interval.high < 0
    assert replace(primary, estimate=0.0) != primary
