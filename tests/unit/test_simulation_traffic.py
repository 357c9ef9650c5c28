"""Simulated evidence: whole columns come to what its rows come to one by one, and a fault touches only what it is."""

from collections import defaultdict

import numpy as np
import pytest
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Batch, Quantity
from ra_guard.evidence.window import Window
from ra_guard.experiments.allocation import Arm, arm_of
from ra_guard.simulation.calls import Chances, draw_calls
from ra_guard.simulation.people import Allocation, People, draw_people
from ra_guard.simulation.scenario import Errors, Fault, FaultKind, Ndcg, Scenario, Visits
from ra_guard.simulation.traffic import Traffic

LAUNCH = 29_000_000
ALL_HOURS = 4
RAMP_BP = 5_000


def drawn(scenario: Scenario, seed: int = 5) -> tuple[People, Chances]:
    people = draw_people(scenario, seed, Allocation.DRAWN, "key")
    return people, draw_calls(scenario, people, seed)


def scenario_of(*faults: Fault, visitors: float = 1_500.0) -> Scenario:
    return Scenario(
        hours=ALL_HOURS,
        visits=Visits(visitors_per_day=visitors, hourly_profile=(1.0,) * 24),
        errors=Errors(control_percent=2.0, treatment_percent=2.0),
        ndcg=Ndcg(judged_percent=80.0),
        faults=faults,
    )


def batches(scenario: Scenario, people: People, calls: Chances, step: int = 1) -> list[Batch]:
    traffic = Traffic(scenario, people, calls, LAUNCH)
    taken = []
    for hour in range(scenario.hours):
        traffic.open_hour(hour, RAMP_BP)
        taken += [traffic.take(minute) for minute in range(hour * 60 + step - 1, (hour + 1) * 60, step)]
    return [*taken, traffic.take(10**9)]


def test_columns_come_to_what_rows_come_to_one_by_one() -> None:
    scenario = scenario_of()
    people, calls = drawn(scenario)
    window = Window(LAUNCH)
    for batch in batches(scenario, people, calls):
        window.add(batch)
    found = window.contrast()
    requests: dict[Arm, int] = defaultdict(int)
    values: dict[Arm, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    clicks: dict[Arm, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in range(calls.minute.size):
        visitor = int(calls.visitor[row])
        arm = arm_of(int(people.bucket[visitor]), RAMP_BP)
        requests[arm] += 1
        clicks[arm][visitor].append(float(calls.clicked[row]))
        error = calls.error_u[row] < 0.02
        level = people.reranked[visitor] if arm is Arm.TREATMENT and not error else people.baseline[visitor]
        extremes = 36 / (60 * 40 - 35**2)
        chance = calls.within_u[row]
        value = level if chance >= extremes else float(chance < extremes * level)
        if calls.judged[row]:
            values[arm][visitor].append(value)
    for arm, statistics in ((Arm.CONTROL, found.control), (Arm.TREATMENT, found.treatment)):
        assert statistics.calls == requests[arm]
        assert statistics.users == len(clicks[arm])
        for quantity, by_user in ((Quantity.NDCG, values[arm]), (Quantity.CLICK_THROUGH, clicks[arm])):
            moments = statistics.means[quantity]
            means = [np.mean(of_user) for of_user in by_user.values()]
            assert moments.n == len(means)
            assert moments.means[0] == pytest.approx(np.mean(means), abs=1e-8)
            assert moments.variance(0) == pytest.approx(np.var(means, ddof=1), rel=1e-6)


def test_the_cut_into_minutes_changes_nothing() -> None:
    scenario = scenario_of()
    people, calls = drawn(scenario)
    fine, coarse = Window(LAUNCH), Window(LAUNCH)
    for batch in batches(scenario, people, calls):
        fine.add(batch)
    for batch in batches(scenario, people, calls, step=60):
        coarse.add(batch)
    one, other = fine.contrast(), coarse.contrast()
    assert one.control.means == other.control.means
    assert one.treatment.means == other.treatment.means
    assert np.array_equal(one.treatment.latency, other.treatment.latency)


def test_nothing_is_known_before_its_call() -> None:
    scenario = scenario_of()
    people, calls = drawn(scenario)
    traffic = Traffic(scenario, people, calls, LAUNCH)
    for hour in range(ALL_HOURS):
        traffic.open_hour(hour, RAMP_BP)
        for minute in range(hour * 60, (hour + 1) * 60):
            batch = traffic.take(minute)
            assert (batch.calls.minute == LAUNCH + minute).all()
            assert (batch.changes.minute <= LAUNCH + minute).all()
            seen = traffic.exposure(minute)
            assert seen.control_users + seen.treatment_users <= people.bucket.size


def whole(scenario: Scenario) -> dict[str, np.ndarray]:
    people, calls = drawn(scenario)
    taken = batches(scenario, people, calls)
    columns = {name: [getattr(batch.calls, name) for batch in taken] for name in ("minute", "arm", "bucket", "error")}
    changes = {name: [getattr(batch.changes, name) for batch in taken] for name in ("arm", "quantity", "total")}
    return {
        name: np.concatenate(parts) for name, parts in (columns | {f"c_{k}": v for k, v in changes.items()}).items()
    }


def test_errors_leave_everything_but_errors_and_what_they_serve_alone() -> None:
    calm = whole(scenario_of())
    failing = whole(scenario_of(Fault(kind=FaultKind.ERRORS, at_hour=2.0, hours=1.0, size=50.0)))
    assert np.array_equal(calm["bucket"], failing["bucket"])
    later = (calm["minute"] >= LAUNCH + 120) & (calm["minute"] < LAUNCH + 180) & (calm["arm"] == TREATMENT)
    assert np.array_equal(calm["error"][~later], failing["error"][~later])
    assert failing["error"][later].mean() == pytest.approx(0.5, abs=0.1)
    other = (calm["c_quantity"] != Quantity.NDCG) | (calm["c_arm"] == CONTROL)
    assert np.array_equal(calm["c_total"][other], failing["c_total"][other])


def test_latency_is_added_to_treatment_alone() -> None:
    calm = whole(scenario_of())
    slow = whole(scenario_of(Fault(kind=FaultKind.LATENCY, at_hour=0.0, hours=4.0, size=250.0)))
    assert np.array_equal(calm["bucket"][calm["arm"] == CONTROL], slow["bucket"][slow["arm"] == CONTROL])
    assert (slow["bucket"][slow["arm"] == TREATMENT] > calm["bucket"][calm["arm"] == TREATMENT]).all()


def test_worse_orders_are_as_much_worse_as_they_say() -> None:
    """Treatment's mean over requests against control's, within five standard errors."""
    scenario = scenario_of(Fault(kind=FaultKind.NDCG, at_hour=0.0, hours=4.0, size=20.0), visitors=20_000.0)
    found = whole(scenario)
    ndcg = found["c_quantity"] == Quantity.NDCG
    control, treatment = (100 * found["c_total"][ndcg & (found["c_arm"] == arm)] / UNIT for arm in (CONTROL, TREATMENT))
    error = 2 * (control.var() / control.size + treatment.var() / treatment.size) ** 0.5  # about 4 requests a user
    assert treatment.mean() - control.mean() == pytest.approx(-20.0 * 0.98, abs=5 * error)


def test_the_log_of_a_replica_that_is_cut_off_comes_when_it_is_back() -> None:
    scenario = scenario_of(Fault(kind=FaultKind.PARTITION, at_hour=1.0, hours=2.0, size=1.0))
    people, calls = drawn(scenario)
    late = 0
    for minute, batch in enumerate(batches(scenario, people, calls)[: ALL_HOURS * 60]):
        late += int((batch.calls.minute < LAUNCH + minute).sum())
        assert minute == 180 or (batch.calls.minute == LAUNCH + minute).all()
    within = (calls.minute >= 60) & (calls.minute < 180) & (people.replica[calls.visitor] == 0)
    assert late == np.count_nonzero(within) > 0


def test_lost_records_are_counted_and_never_come() -> None:
    scenario = scenario_of(Fault(kind=FaultKind.LOST_EXPOSURES, at_hour=0.0, hours=4.0, size=40.0))
    people, calls = drawn(scenario)
    traffic = Traffic(scenario, people, calls, LAUNCH)
    for hour in range(ALL_HOURS):
        traffic.open_hour(hour, RAMP_BP)
    batch, seen = traffic.take(10**9), traffic.exposure(ALL_HOURS * 60)
    treated = np.count_nonzero(people.bucket[calls.visitor] < RAMP_BP)
    assert seen.treatment_lost + np.count_nonzero(batch.calls.arm == TREATMENT) == treated
    assert seen.treatment_lost == pytest.approx(0.4 * treated, rel=0.1)
    assert (seen.control_lost, seen.crossed_users) == (0, 0)
    assert seen.treatment_users == np.unique(batch.calls.user[batch.calls.arm == TREATMENT]).size


def test_hashed_buckets_are_those_of_the_replicas() -> None:
    scenario = scenario_of()
    hashed = draw_people(scenario, 5, Allocation.HASH, "key")
    again = draw_people(scenario, 5, Allocation.HASH, "key")
    other = draw_people(scenario, 5, Allocation.HASH, "another")
    assert np.array_equal(hashed.bucket, again.bucket)
    assert not np.array_equal(hashed.bucket, other.bucket)
    assert np.array_equal(hashed.baseline, drawn(scenario)[0].baseline)


def test_the_arms_of_one_experiment_are_independent() -> None:
    """The variance of their difference is the sum of theirs: within 3.5 standard errors of a chi-square of 400."""
    scenario = scenario_of(visitors=1_200.0)
    squares = []
    for seed in range(400):
        people = draw_people(scenario, seed, Allocation.DRAWN, "key")
        is_treated = people.bucket < RAMP_BP
        treated, control = people.reranked[is_treated], people.baseline[~is_treated]
        error = treated.var(ddof=1) / treated.size + control.var(ddof=1) / control.size
        squares.append((treated.mean() - control.mean() - 0.0424) ** 2 / error)
    assert np.mean(squares) == pytest.approx(1.0, abs=3.5 * (2 / 400) ** 0.5)
