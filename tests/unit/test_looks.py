"""Planned looks: when one is due, what it sees, and the boundary that it meets."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.tally import Quantity
from ra_guard.experiments.monitor import looks
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Insufficient, Sides
from ra_guard.stats.sequential import crossing_probabilities
from scipy.stats import norm

from tests.stand_ins.assessments import look
from tests.stand_ins.contrasts import arm, contrast
from tests.stand_ins.definitions import definition

PLAN = definition()
LAUNCH = 1_767_323_045
DAY = looks.DAY_S


def at(day: float) -> int:
    return LAUNCH + round(day * DAY)


@pytest.mark.parametrize(
    ("now", "taken", "day"),
    [
        (0, (), None),
        (2.999, (), None),
        (3, (), 3),
        (3.5, (3,), None),
        (7, (3,), 7),
        (9.9, (), 7),  # the watch was down on day 3
        (9.9, (3,), 7),
        (9.9, (7,), None),
        (30, (), 14),
        (30, (3, 7, 10), 14),
        (30, (14,), None),
    ],
)
def test_the_latest_day_that_is_due_is_looked_at_once(now: float, taken: tuple[int, ...], day: int | None) -> None:
    assert looks.due(PLAN, LAUNCH, [look(day, 1.0) for day in taken], at(now)) == day


@pytest.mark.parametrize("mode", ["shadow", "interleaving", "rollout"])
def test_where_both_arms_are_served_alike_no_look_is_due(mode: str) -> None:
    assert looks.due(definition(('mode = "ab"', f'mode = "{mode}"')), LAUNCH, [], at(30)) is None


def test_after_the_last_look_none_is_due_though_days_are_left() -> None:
    for early in (look(7, 1.0, is_last=True), look(7, 1.0, information=1.3)):
        assert looks.due(PLAN, LAUNCH, [early], at(30)) is None


def test_a_look_sees_the_difference_in_points_and_its_share_of_the_planned_information() -> None:
    rng = np.random.default_rng(5)
    control, treatment = rng.beta(0.6, 0.5, 400), rng.beta(0.6, 0.45, 1_000)
    seen = looks.take(PLAN, 7, at(7.2), contrast(control, treatment))
    assert isinstance(seen, Look)
    assert (seen.day, seen.at_unix_s) == (7, at(7.2))
    assert (seen.control_users, seen.treatment_users) == (400, 1_000)
    assert seen.estimate == pytest.approx(100 * (treatment.mean() - control.mean()))
    error = 100 * math.sqrt(control.var(ddof=1) / 400 + treatment.var(ddof=1) / 1_000)
    assert seen.standard_error == pytest.approx(error)
    assert seen.information == pytest.approx(2 / (1 / 400 + 1 / 1_000) / 2_500)
    assert not seen.is_last


@pytest.mark.parametrize(
    ("day", "users", "last"), [(7, 2_499, "no"), (7, 2_500, "yes"), (10, 4_000, "yes"), (14, 9, "yes")]
)
def test_the_last_look_is_at_the_end_or_when_all_information_has_come(day: int, users: int, last: str) -> None:
    values = np.tile([0.2, 0.9, 0.4], users)[:users]
    seen = looks.take(PLAN, day, at(day), contrast(values, values))
    assert isinstance(seen, Look)
    assert seen.is_last is (last == "yes")


@pytest.mark.parametrize(
    "lacking",
    [
        contrast([], []),
        contrast([0.5], [0.5, 0.7]),
        contrast([0.5, 0.7], [0.1]),
        contrast([0.5] * 9, [0.6] * 9),
        replace(contrast([0.5, 0.6], [0.1, 0.3]), control=replace(arm([0.5, 0.6]), broken=frozenset({Quantity.NDCG}))),
        Contrast(ArmStatistics(0, 0, 0, np.zeros(1, np.int64), 1.0, 1.0, {}), arm([0.1, 0.2])),
        Contrast(
            arm([0.1, 0.2]),
            ArmStatistics(3, 3, 0, np.zeros(1, np.int64), 1.0, 1.0, {Quantity.RATING: Moments.of([3.0])}),
        ),
    ],
)
def test_no_look_is_made_up_from_too_little(lacking: Contrast) -> None:
    assert isinstance(looks.take(PLAN, 3, at(3), lacking), Insufficient)


def at_information(*information: float) -> list[Look]:
    """Looks of the plan's days, the last of which is the last look."""
    last = len(information) - 1
    return [
        look(day, 1.0, information=share, is_last=number == last)
        for number, (day, share) in enumerate(zip((3, 7, 10, 14), information, strict=False))
    ]


def test_boundaries_at_the_planned_shares_are_the_published_ones() -> None:
    found = looks.boundaries(PLAN, at_information(3 / 14, 7 / 14, 10 / 14, 1.0))
    assert found.z == pytest.approx([4.702, 2.963, 2.432, 2.005], abs=2e-3)
    assert found.sides is Sides.TWO


def test_boundaries_do_not_depend_on_looks_to_come() -> None:
    taken = at_information(0.2, 0.5, 0.8, 1.0)
    so_far = [looks.boundaries(PLAN, taken[:count]).z for count in range(1, 5)]
    assert looks.boundaries(PLAN, ()).z == ()
    for before, after in pairwise(so_far):
        assert after[: len(before)] == pytest.approx(before)


@pytest.mark.parametrize(
    "information",
    [
        (0.2, 0.5, 0.7, 1.0),
        (0.1, 0.2, 0.3, 0.4),  # the end comes with less than was planned
        (0.3, 0.6, 1.7),  # more than was planned
        (1.2,),
        (0.001, 0.002, 0.4, 0.9),
    ],
)
def test_all_of_alpha_is_spent_by_the_last_look_and_no_more(information: tuple[float, ...]) -> None:
    found = looks.boundaries(PLAN, at_information(*information))
    assert found.information == pytest.approx(information)
    assert sum(crossing_probabilities(information, found.z, sides=Sides.TWO)) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.9999])
def test_looks_without_news_cost_nothing_and_give_nothing_away(share: float) -> None:
    """All looks see the same data, so that they reject when the lowest boundary is reached."""
    found = looks.boundaries(PLAN, at_information(share, share, share, share))
    size = 2 * norm.sf(min(found.z))
    assert 0.0495 < size <= 0.05 + 1e-9


def test_fewer_users_than_at_the_look_before_are_no_error() -> None:
    found = looks.boundaries(PLAN, at_information(0.5, 0.45, 0.3, 0.2))
    assert len(found.z) == 4
    assert found.spent[-1] == pytest.approx(0.05)


def test_what_comes_after_the_last_look_does_not_count() -> None:
    overrun = [look(7, 1.0, information=1.1, is_last=True), look(10, 1.0, information=1.2), look(14, 1.0)]
    assert looks.boundaries(PLAN, overrun).z == pytest.approx([1.959964], abs=1e-6)
    assert looks.in_order(overrun[::-1]) == (overrun[0],)
