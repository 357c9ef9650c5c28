"""Assignment: the published vectors, and what must hold for every key, salt, unit and ramp.

The statistics run over a million fixed ids, so each has one outcome; the limits are chi-square quantiles at p = 1e-6.
"""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard import _core
from ra_guard.experiments.allocation import BUCKETS, CONTROL_ORIGIN, MAX_RAMP_BP, Arm, arm_of, hash_seed
from ra_guard.experiments.definition import parse_definition, template

VECTORS = Path(__file__).parents[1] / "vectors" / "growthbook_hash.json"
KEY = "ra_guard_enhancement"
STAGES_BP = tuple(stage.ramp_bp for stage in parse_definition(template()).stages)
MANY = 1_000_000
IDS: dict[str, Callable[[int], str]] = {
    "words": lambda n: f"user-{n}",
    "numbers": str,
    "scattered": lambda n: f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}",
}
CHI_SQUARE_LIMIT = {1: 23.93, 4: 33.38, 99: 180.79}
"""Degrees of freedom to the quantile that chance exceeds once in a million."""

units = st.text(min_size=1, max_size=32)
keys = st.from_regex(r"[A-Za-z0-9_.-]{1,32}", fullmatch=True)
salts = st.text(max_size=16)
ramps = st.integers(0, MAX_RAMP_BP)


def cases() -> list[tuple[str, str, int, float]]:
    return [tuple(case) for case in json.loads(VECTORS.read_text())["cases"]]


def fnv1a32(text: str) -> int:
    """Fowler-Noll-Vo 1a, 32 bits, over UTF-8."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def bucket_in_plain_python(seed: str, unit: str) -> int:
    """GrowthBook's hash, version 2, written from its description."""
    return fnv1a32(str(fnv1a32(seed + unit))) % BUCKETS


@cache
def buckets(seed: str, ids: str = "words") -> npt.NDArray[np.int64]:
    name = IDS[ids]
    return np.fromiter((_core.bucket(seed, name(n)) for n in range(MANY)), np.int64, MANY)


def chi_square(observed: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    seen, wanted = np.asarray(observed, float).ravel(), np.asarray(expected, float).ravel()
    return float(((seen - wanted) ** 2 / wanted).sum())


def independence(table: npt.NDArray[np.int64]) -> float:
    """Chi-square of a contingency table against the product of its margins."""
    return chi_square(table, np.outer(table.sum(1), table.sum(0)) / table.sum())


@pytest.mark.parametrize(("seed", "unit", "version", "wanted"), cases())
def test_published_vectors(seed: str, unit: str, version: int, wanted: float) -> None:
    assert version == 2
    assert _core.bucket(seed, unit) / BUCKETS == wanted
    assert bucket_in_plain_python(seed, unit) / BUCKETS == wanted


@given(units, keys, salts)
def test_both_languages_give_one_bucket(unit: str, key: str, salt: str) -> None:
    seed = hash_seed(key, salt)
    assert 0 <= _core.bucket(seed, unit) == bucket_in_plain_python(seed, unit) < BUCKETS


@given(units, keys, salts, ramps, ramps)
def test_no_ramp_moves_a_unit_between_arms(unit: str, key: str, salt: str, one: int, other: int) -> None:
    bucket = _core.bucket(hash_seed(key, salt), unit)
    lower, higher = arm_of(bucket, min(one, other)), arm_of(bucket, max(one, other))
    assert lower in {Arm.NOT_ENROLLED, higher}


@given(st.integers(0, BUCKETS - 1))
def test_the_stages_enrol_and_never_release(bucket: int) -> None:
    for lower, higher in pairwise(arm_of(bucket, ramp_bp) for ramp_bp in STAGES_BP):
        assert lower in {Arm.NOT_ENROLLED, higher}


@given(ramps)
def test_arms_are_of_equal_size_and_disjoint(ramp_bp: int) -> None:
    sizes = Counter(arm_of(bucket, ramp_bp) for bucket in range(BUCKETS))
    assert sizes[Arm.TREATMENT] == sizes[Arm.CONTROL] == ramp_bp


@pytest.mark.parametrize("ids", IDS)
def test_buckets_are_uniform(ids: str) -> None:
    cells = np.bincount(buckets(KEY, ids) // 100, minlength=100)
    assert chi_square(cells, np.full(100, MANY / 100)) < CHI_SQUARE_LIMIT[99]


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("ramp_bp", STAGES_BP)
def test_every_stage_allocates_what_it_says(ramp_bp: int, ids: str) -> None:
    arms = Counter(dict.fromkeys(Arm, 0))
    for bucket, count in enumerate(np.bincount(buckets(KEY, ids), minlength=BUCKETS)):
        arms[arm_of(bucket, ramp_bp)] += int(count)
    enrolled = arms[Arm.TREATMENT] + arms[Arm.CONTROL]
    share = 2 * ramp_bp / BUCKETS
    assert chi_square([arms[Arm.TREATMENT], arms[Arm.CONTROL]], [enrolled / 2] * 2) < CHI_SQUARE_LIMIT[1]
    # At the last stage everyone is enrolled, and there is no other side to compare with.
    if share < 1:
        sides = [enrolled, arms[Arm.NOT_ENROLLED]]
        assert chi_square(sides, [MANY * share, MANY * (1 - share)]) < CHI_SQUARE_LIMIT[1]
    else:
        assert enrolled == MANY


@pytest.mark.parametrize("ids", IDS)
def test_at_one_percent_inclusion_says_nothing_about_the_arm(ids: str) -> None:
    """One hash decides both. A unit's half says which arm it is or would be in, its place there whether it is in."""
    half, place = np.divmod(buckets(KEY, ids), CONTROL_ORIGIN)
    included = (place < 100).astype(np.int64)
    table = np.bincount(2 * half + included, minlength=4).reshape(2, 2)
    assert independence(table) < CHI_SQUARE_LIMIT[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((KEY, ""), ("another_experiment", "")),
        ((KEY, ""), (KEY, "epoch-2")),
        ((KEY, "epoch-2"), (KEY, "epoch-3")),
    ],
)
def test_arms_of_two_experiments_or_epochs_are_independent(one: tuple[str, str], other: tuple[str, str]) -> None:
    number = {arm: index for index, arm in enumerate(Arm)}
    arms = np.array([number[arm_of(bucket, 2500)] for bucket in range(BUCKETS)])
    first, second = arms[buckets(hash_seed(*one))], arms[buckets(hash_seed(*other))]
    assert independence(np.bincount(3 * first + second, minlength=9).reshape(3, 3)) < CHI_SQUARE_LIMIT[4]
