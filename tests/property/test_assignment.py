"""Assignment: the published vectors, and what must hold for every key, salt, unit and ramp.

The statistics run over fixed ids, so each has one outcome; the limits are chi-square quantiles at p = 1e-6.
"""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard import _core
from ra_guard.experiments.allocation import MAX_RAMP_BP, Arm, arm_of, hash_seed

VECTORS = Path(__file__).parents[1] / "vectors" / "growthbook_hash.json"
STAGES_BP = (100, 500, 1000, 2500, 5000)
UNITS = [f"user-{n}" for n in range(40_000)]
CHI_SQUARE_LIMIT = {1: 23.93, 4: 33.38, 99: 180.79}
"""Degrees of freedom to the quantile that chance exceeds once in a million."""

units = st.text(min_size=1, max_size=32)
keys = st.from_regex(r"[A-Za-z0-9_.-]{1,32}", fullmatch=True)
salts = st.text(max_size=16)
ramps = st.integers(0, MAX_RAMP_BP)


def cases() -> list[tuple[str, str, int, float]]:
    return [tuple(case) for case in json.loads(VECTORS.read_text())["cases"]]


def chi_square(observed: list[int], expected: list[float]) -> float:
    return sum((seen - wanted) ** 2 / wanted for seen, wanted in zip(observed, expected, strict=True))


@pytest.mark.parametrize(("seed", "unit", "version", "wanted"), cases())
def test_published_vectors(seed: str, unit: str, version: int, wanted: float) -> None:
    assert version == 2
    assert _core.bucket(seed, unit) / 10_000 == wanted


@given(units, keys, salts)
def test_bucket_is_a_pure_function_in_range(unit: str, key: str, salt: str) -> None:
    bucket = _core.bucket(hash_seed(key, salt), unit)
    assert 0 <= bucket < 10_000
    assert bucket == _core.bucket(hash_seed(key, salt), unit)


@given(units, keys, salts, ramps, ramps)
def test_no_ramp_moves_a_unit_between_arms(unit: str, key: str, salt: str, one: int, other: int) -> None:
    bucket = _core.bucket(hash_seed(key, salt), unit)
    lower, higher = arm_of(bucket, min(one, other)), arm_of(bucket, max(one, other))
    assert lower in {Arm.NOT_ENROLLED, higher}


@given(st.integers(0, 9_999))
def test_the_stages_enrol_and_never_release(bucket: int) -> None:
    for lower, higher in pairwise(arm_of(bucket, ramp_bp) for ramp_bp in STAGES_BP):
        assert lower in {Arm.NOT_ENROLLED, higher}


@given(ramps)
def test_arms_are_of_equal_size_and_disjoint(ramp_bp: int) -> None:
    sizes = Counter(arm_of(bucket, ramp_bp) for bucket in range(10_000))
    assert sizes[Arm.TREATMENT] == sizes[Arm.CONTROL] == ramp_bp


def test_buckets_are_uniform() -> None:
    for key in ("ra_guard_enhancement", "other"):
        cells = Counter(_core.bucket(key, unit) // 100 for unit in UNITS)
        observed = [cells[cell] for cell in range(100)]
        assert chi_square(observed, [len(UNITS) / 100] * 100) < CHI_SQUARE_LIMIT[99]


@pytest.mark.parametrize("ramp_bp", STAGES_BP)
def test_inclusion_says_nothing_about_the_arm(ramp_bp: int) -> None:
    arms = Counter(arm_of(_core.bucket("ra_guard_enhancement", unit), ramp_bp) for unit in UNITS)
    enrolled = arms[Arm.TREATMENT] + arms[Arm.CONTROL]
    share = 2 * ramp_bp / 10_000
    observed = [arms[Arm.TREATMENT], arms[Arm.CONTROL]]
    assert chi_square(observed, [enrolled / 2] * 2) < CHI_SQUARE_LIMIT[1]
    # At the last stage everyone is enrolled, and there is no other side to compare with.
    if share < 1:
        sides = [enrolled, len(UNITS) - enrolled]
        assert chi_square(sides, [len(UNITS) * share, len(UNITS) * (1 - share)]) < CHI_SQUARE_LIMIT[1]
    else:
        assert enrolled == len(UNITS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ra_guard_enhancement", ""), ("another_experiment", "")),
        (("ra_guard_enhancement", ""), ("ra_guard_enhancement", "epoch-2")),
        (("ra_guard_enhancement", "epoch-2"), ("ra_guard_enhancement", "epoch-3")),
    ],
)
def test_arms_of_two_experiments_or_epochs_are_independent(one: tuple[str, str], other: tuple[str, str]) -> None:
    ramp_bp = 2500
    seeds = hash_seed(*one), hash_seed(*other)
    joint = Counter(tuple(arm_of(_core.bucket(seed, unit), ramp_bp) for seed in seeds) for unit in UNITS)
    first, second = Counter[Arm](), Counter[Arm]()
    for (here, there), count in joint.items():
        first[here] += count
        second[there] += count
    cells = [(here, there) for here in Arm for there in Arm]
    observed = [joint[cell] for cell in cells]
    expected = [first[here] * second[there] / len(UNITS) for here, there in cells]
    assert chi_square(observed, expected) < CHI_SQUARE_LIMIT[4]
