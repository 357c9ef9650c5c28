"""Boundaries of planned looks against gsDesign's and others' published numbers, and what is refused."""

import math

import numpy as np
import pytest
from ra_guard.stats.errors import AlphaSpent, NotFinite, OutOfOrder, OutOfRange, WrongShape
from ra_guard.stats.outcome import Sides
from ra_guard.stats.sequential import HIGHEST_Z, Family, bounds, crossing_probabilities, spending

DAYS = [3 / 14, 7 / 14, 10 / 14, 1.0]
THIRDS = [1 / 3, 2 / 3, 1.0]


@pytest.mark.parametrize(
    ("family", "gamma", "alpha", "sides", "information", "z", "tolerance"),
    [
        # gsDesign numerical-integration fixtures
        (
            Family.OBRIEN_FLEMING,
            None,
            0.025,
            1,
            [0.2, 0.4, 0.6, 0.8, 1.0],
            [4.876884948776, 3.357010992883, 2.680279581382, 2.289816682347, 2.031032215060],
            2e-6,
        ),
        (Family.HWANG_SHIH_DECANI, -4, 0.025, 1, THIRDS, [3.010739485386, 2.546530561277, 1.999226370748], 2e-6),
        # checked by Monte Carlo, size 5.01 % and 5.03 %
        (Family.OBRIEN_FLEMING, None, 0.05, 2, DAYS, [4.702, 2.963, 2.432, 2.005], 2e-3),
        (Family.OBRIEN_FLEMING, None, 0.05, 2, [0.3, 0.7, 1.0], [3.929, 2.439, 2.000], 2e-3),
        # Spotify Confidence's default
        (Family.POWER, 2, 0.05, 2, DAYS, [3.049, 2.545, 2.347, 2.081], 1e-3),
        # gsDesign, sfLDPocock and sfLDOF
        (Family.POCOCK, None, 0.025, 1, THIRDS, [2.279428, 2.294910, 2.295939], 2e-6),
        (
            Family.POCOCK,
            None,
            0.025,
            1,
            [0.2, 0.4, 0.6, 0.8, 1.0],
            [2.437977, 2.426814, 2.410194, 2.396649, 2.386000],
            2e-6,
        ),
        (Family.OBRIEN_FLEMING, None, 0.025, 1, THIRDS, [3.710303, 2.511427, 1.993048], 2e-6),
        (Family.OBRIEN_FLEMING, None, 0.025, 1, [0.25, 0.5, 0.75, 1], [4.332634, 2.963131, 2.359044, 2.014090], 2e-6),
        (Family.OBRIEN_FLEMING, None, 0.05, 1, THIRDS, [3.200102, 2.140815, 1.694812], 2e-6),
    ],
)
def test_boundaries_are_the_published_ones(
    family: Family,
    gamma: float | None,
    alpha: float,
    sides: int,
    information: list[float],
    z: list[float],
    tolerance: float,
) -> None:
    found = bounds(information, family=family, alpha=alpha, sides=Sides(sides), gamma=gamma)
    assert found.z == pytest.approx(z, abs=tolerance)
    assert sum(crossing_probabilities(information, found.z, sides=found.sides)) == pytest.approx(alpha, abs=1e-9)


def test_unadjusted_looks_reject_too_often() -> None:
    size = sum(crossing_probabilities(DAYS, [1.959964] * 4, sides=Sides.TWO))
    assert size == pytest.approx(0.129, abs=5e-4)


def test_one_look_is_the_fixed_test() -> None:
    for family in Family:
        assert bounds([1.0], family=family, alpha=0.05, sides=Sides.TWO).z == pytest.approx([1.959964], abs=1e-6)


def test_overrun_spends_what_is_left_and_uses_the_information_that_came() -> None:
    planned = bounds([0.3, 0.7, 1.0], family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO)
    overrun = bounds([0.3, 0.7, 1.2], family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO)
    assert overrun.z[:2] == planned.z[:2]
    assert overrun.z[2] > planned.z[2]
    assert overrun.spent[2] == pytest.approx(0.05)
    size = sum(crossing_probabilities(overrun.information, overrun.z, sides=Sides.TWO))
    assert size == pytest.approx(0.05, abs=1e-9)
    with pytest.raises(AlphaSpent):
        bounds([0.3, 1.0, 1.2], family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO)


def test_an_early_end_spends_what_is_left() -> None:
    early = bounds([0.3, 0.7], family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO, spending_time=[0.3, 1.0])
    assert sum(crossing_probabilities(early.information, early.z, sides=Sides.TWO)) == pytest.approx(0.05, abs=1e-9)
    assert bounds([0.3, 0.7], family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO).spent[-1] < 0.02


def test_a_very_early_look_is_finite_and_spends_nothing() -> None:
    found = bounds([0.001, 0.01, 1.0], family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO)
    assert found.z[0] == HIGHEST_Z
    assert found.z[1] == pytest.approx(22.38, abs=0.01)
    assert found.z[2] == pytest.approx(1.959964, abs=1e-4)


def test_looks_close_to_each_other_keep_the_size() -> None:
    looks = [0.5, 0.501, 0.8, 0.801, 1.0]
    found = bounds(looks, family=Family.POCOCK, alpha=0.05, sides=Sides.ONE)
    assert sum(crossing_probabilities(looks, found.z, sides=Sides.ONE)) == pytest.approx(0.05, abs=1e-9)


def test_power_grows_with_the_drift_and_matches_one_look() -> None:
    assert crossing_probabilities([1.0], [1.959964], sides=Sides.ONE, drift=2.801585) == pytest.approx([0.8], abs=1e-5)
    found = bounds(DAYS, family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO)
    power = [sum(crossing_probabilities(DAYS, found.z, sides=Sides.TWO, drift=each)) for each in (0, 1, 2, 2.8, 6)]
    assert power == sorted(power)
    assert 0.78 < power[3] < 0.8
    assert power[4] == pytest.approx(1, abs=1e-4)


def test_the_first_crossing_is_found_and_the_repeated_interval_agrees() -> None:
    two = bounds(DAYS, family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.TWO)
    one = bounds(DAYS, family=Family.OBRIEN_FLEMING, alpha=0.05, sides=Sides.ONE)
    assert two.first_crossing([4.0, -3.1]) == 1
    assert one.first_crossing([4.0, -3.1]) is None
    assert two.first_crossing([]) is None
    assert 0 not in two.repeated_interval(1, -3.1, 1.0)
    assert 0 in two.repeated_interval(0, 4.0, 1.0)
    assert one.repeated_interval(1, 3.1, 1.0).high == math.inf
    for look in (-1, 4):
        with pytest.raises(OutOfRange):
            two.repeated_interval(look, 0.0, 1.0)
    with pytest.raises(WrongShape):
        two.first_crossing([0.0] * 5)
    with pytest.raises(NotFinite):
        two.first_crossing([math.nan])


def test_gamma_zero_is_linear_and_defaults_are_stated() -> None:
    linear = spending(Family.HWANG_SHIH_DECANI, [0.25, 1], alpha=0.04, sides=Sides.TWO, gamma=0)
    assert linear == pytest.approx([0.01, 0.04])
    found = bounds(THIRDS, family=Family.HWANG_SHIH_DECANI, alpha=0.05, sides=Sides.TWO)
    assert found.gamma == -4
    assert bounds(THIRDS, family=Family.POCOCK, alpha=0.05, sides=Sides.TWO).gamma is None


def test_what_makes_no_sense_is_refused() -> None:
    def of(information: list[float], family: Family = Family.POWER, **more: float) -> None:
        bounds(
            information, family=family, alpha=more.pop("alpha", 0.05), sides=Sides.TWO, gamma=more.pop("gamma", None)
        )

    for information in ([], [0.0, 1.0], [-0.5, 1.0]):
        with pytest.raises(OutOfRange):
            of(information)
    for information in ([0.7, 0.3], [0.5, 0.5], [0.5, 0.5001]):
        with pytest.raises(OutOfOrder):
            of(information)
    with pytest.raises(NotFinite):
        of([0.5, math.nan])
    with pytest.raises(OutOfRange):
        of([0.5, 1.0], alpha=1.5)
    with pytest.raises(OutOfRange):
        of([0.5, 1.0], gamma=-1)
    with pytest.raises(OutOfRange):
        of([0.5, 1.0], Family.POCOCK, gamma=1)
    with pytest.raises(OutOfRange):
        spending(Family.POCOCK, [1.2], alpha=0.05, sides=Sides.TWO)
    with pytest.raises(OutOfOrder):
        bounds([0.5, 1.0], family=Family.POCOCK, alpha=0.05, sides=Sides.TWO, spending_time=[0.9, 0.5])
    with pytest.raises(WrongShape):
        crossing_probabilities([0.5, 1.0], [2.0], sides=Sides.TWO)


def test_size_holds_by_simulation() -> None:
    looks = np.array(DAYS)
    generator = np.random.default_rng(4)
    experiments = 200_000
    steps = generator.normal(size=(experiments, 4)) * np.sqrt(np.diff(looks, prepend=0))
    z = np.cumsum(steps, axis=1) / np.sqrt(looks)
    for family in Family:
        found = bounds(DAYS, family=family, alpha=0.05, sides=Sides.TWO)
        crossed = (np.abs(z) >= found.z).any(axis=1).mean()
        assert abs(crossed - 0.05) < 4 * math.sqrt(0.05 * 0.95 / experiments), family
