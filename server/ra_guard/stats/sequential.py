"""Planned looks: boundaries for a z statistic that keep the error probability whatever the number of looks.

The error probability alpha is spent over the course of the experiment by an increasing function of the information
collected (Lan and DeMets 1983); each look's boundary is the value that a true null crosses, for the first time, with
the probability that was spent since the look before. Looks need not be equally spaced, nor known in advance.

Information is the inverse variance of the estimate; as a fraction of the plan it is close to the share of users. At
looks with information I_1 < I_2 < ... the z statistics are jointly normal with correlation sqrt(I_j / I_k) and mean
drift * sqrt(I_k), and the probability of a first crossing is found by integrating from look to look (Armitage,
McPherson and Rowe 1969; Jennison and Turnbull, "Group Sequential Methods", 2000, chapter 19).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import optimize
from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp

from ra_guard.stats.errors import AlphaSpent, OutOfOrder, OutOfRange
from ra_guard.stats.inputs import Floats, finite, positive, probability, same_length, vector
from ra_guard.stats.outcome import Interval, Sides

HIGHEST_Z = 38.0
"""No boundary is higher: beyond it a normal tail is below the smallest double, and nothing is spent."""
CLOSEST_LOOKS = 1e-3
"""The least growth of information from one look to the next, as a share of the later."""
_REACH = 9.0
"""Standard deviations around its mean in which a statistic is followed; the rest has less than 1e-18."""
_PANEL_NODES = 12
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_PANEL_NODES)


class Family(StrEnum):
    """How alpha is spent over the spending time t in (0, 1]. Each spends all of it at t = 1."""

    OBRIEN_FLEMING = "obf"
    """2 - 2 Phi(z(alpha / 2) / sqrt(t)): hardly anything early (Lan and DeMets 1983)."""
    POCOCK = "pocock"
    """alpha ln(1 + (e - 1) t): about the same boundary at each look (Lan and DeMets 1983)."""
    HWANG_SHIH_DECANI = "hsd"
    """alpha (1 - exp(-gamma t)) / (1 - exp(-gamma)), alpha t at gamma = 0 (Hwang, Shih and DeCani 1990)."""
    POWER = "power"
    """alpha t ** gamma, gamma > 0 (Kim and DeMets 1987)."""


DEFAULT_GAMMA = {Family.HWANG_SHIH_DECANI: -4.0, Family.POWER: 2.0}
"""Where a family has a parameter and none is given: both spend little early."""


@dataclass(frozen=True)
class Bounds:
    """Boundaries of z, one a look: at look k a z of ``z[k]`` or more (in absolute value if two-sided) ends the test."""

    family: Family
    gamma: float | None
    alpha: float
    sides: Sides
    information: tuple[float, ...]
    z: tuple[float, ...]
    spent: tuple[float, ...]
    """Of alpha, up to and including each look."""

    @property
    def nominal_p(self) -> tuple[float, ...]:
        """The p-value, one- or two-sided as the test is, that z reaches at each boundary."""
        return tuple((self.sides * ndtr(-np.array(self.z))).tolist())

    def first_crossing(self, z: Sequence[float]) -> int | None:
        """The first look, from 0, whose statistic reached its boundary; None so far. ``z`` may be shorter than looks.

        Raises NotFinite, WrongShape for more statistics than looks.
        """
        seen = vector("z", z)
        same_length("z", min(seen.size, len(self.z)), seen.size)
        reached = (np.abs(seen) if self.sides is Sides.TWO else seen) >= np.array(self.z[: seen.size])
        return int(np.argmax(reached)) if reached.any() else None

    def repeated_interval(self, look: int, estimate: float, standard_error: float) -> Interval:
        """The interval of the effect at a look (from 0) that holds at all looks together.

        Guarantee: with probability 1 - alpha the true effect lies in the intervals of all looks, whether or not the
        test stops; it excludes 0 exactly when the boundary is crossed. One-sided tests bound it from below. Reference:
        Jennison and Turnbull 1989. Raises OutOfRange, NotFinite, IndexError for a look that is not planned.
        """
        width = self.z[look] * positive("standard_error", standard_error)
        low = finite("estimate", estimate) - width
        return Interval(low, math.inf if self.sides is Sides.ONE else estimate + width)


def spending(
    family: Family, time: Sequence[float], *, alpha: float, sides: Sides, gamma: float | None = None
) -> tuple[float, ...]:
    """Of alpha, how much is spent at each spending time in [0, 1]. Two-sided tests spend alpha / 2 on either side.

    Raises OutOfRange for a time outside, for a gamma where the family has none or with the wrong sign.
    """
    one_side = probability("alpha", alpha) / sides
    shape = _gamma(family, gamma)
    t = vector("time", time)
    if ((t < 0) | (t > 1)).any():
        raise OutOfRange(found=f"spending times {t.tolist()}", wanted="0 to 1", cure="divide by what was planned")
    if family is Family.OBRIEN_FLEMING:
        with np.errstate(divide="ignore"):
            spent = 2 * ndtr(ndtri(one_side / 2) / np.sqrt(t))
    elif family is Family.POCOCK:
        spent = one_side * np.log1p(math.expm1(1.0) * t)
    elif family is Family.POWER:
        spent = one_side * t**shape
    else:
        spent = one_side * (np.expm1(-shape * t) / math.expm1(-shape) if shape else t)
    return tuple((sides * spent).tolist())


def bounds(
    information: Sequence[float],
    *,
    family: Family,
    alpha: float,
    sides: Sides,
    gamma: float | None = None,
    spending_time: Sequence[float] | None = None,
) -> Bounds:
    """Boundaries for looks at ``information``, fractions of what was planned for the last one, ascending.

    Null hypothesis: no effect; z has mean 0. Guarantee: the probability that z reaches a boundary at any of the looks
    is ``spent[-1]``, which is alpha when the last spending time is 1. References: the module's.

    ``spending_time`` says at which time each look spends where that differs from its information: the default is
    min(information, 1), so a last look with more information than planned spends what is left and its boundary uses
    the information that it has. An experiment that must end early spends the rest by a last time of 1.

    Raises OutOfOrder for looks that do not grow by `CLOSEST_LOOKS`, AlphaSpent for a look after spending time 1,
    OutOfRange, NotFinite, WrongShape.
    """
    looks = _looks(information)
    times = np.minimum(looks, 1.0) if spending_time is None else vector("spending_time", spending_time)
    same_length("spending_time", times.size, looks.size)
    if (np.diff(times) < 0).any():
        raise OutOfOrder(found=f"spending times {times.tolist()}", wanted="an ascending order", cure="sort the looks")
    if (times[:-1] >= 1).any():
        raise AlphaSpent(
            found=f"a look after spending time {float(times[int(np.argmax(times >= 1))]):g}",
            wanted="nothing left to decide after time 1",
            cure="stop at the look that spends the last of alpha",
        )
    spent = spending(family, times.tolist(), alpha=alpha, sides=sides, gamma=gamma)
    walk = _Walk(sides, 0.0)
    z = []
    for now, more in zip(looks.tolist(), np.diff(spent, prepend=0.0).tolist(), strict=True):
        z.append(walk.boundary(now, more / sides))
        walk.step(now, z[-1])
    parameter = _gamma(family, gamma) if family in DEFAULT_GAMMA else None
    return Bounds(family, parameter, alpha, sides, tuple(looks.tolist()), tuple(z), spent)


def crossing_probabilities(
    information: Sequence[float], z: Sequence[float], *, sides: Sides, drift: float = 0.0
) -> tuple[float, ...]:
    """The probability of reaching a boundary for the first time at each look; their sum is the size, or the power.

    ``drift`` is the mean of z at information 1; 0 under the null, and effect / standard error at the planned end under
    an alternative. One-sided boundaries are crossed from below. Raises as `bounds` does.
    """
    looks = _looks(information)
    walls = vector("z", z)
    same_length("z", walls.size, looks.size)
    walk = _Walk(sides, finite("drift", drift))
    crossed = []
    for now, wall in zip(looks.tolist(), walls.tolist(), strict=True):
        crossed.append(sum(math.exp(each) for each in walk.log_crossing(now, wall)))
        walk.step(now, wall)
    return tuple(crossed)


class _Walk:
    """The density of z among the experiments that have not crossed yet, as nodes and masses, from look to look."""

    def __init__(self, sides: Sides, drift: float) -> None:
        self._sides = sides
        self._drift = drift
        self._information = 0.0
        self._z = np.zeros(1)
        self._log_mass = np.zeros(1)

    def _step_to(self, now: float) -> tuple[Floats, float]:
        """Mean of z at ``now`` from each node, and its standard deviation."""
        more = now - self._information
        mean = self._z * math.sqrt(self._information / now) + self._drift * more / math.sqrt(now)
        return mean, math.sqrt(more / now)

    def log_crossing(self, now: float, wall: float) -> tuple[float, ...]:
        """Log probability of being beyond the wall at ``now``: above, and below too where there are two sides."""
        mean, deviation = self._step_to(now)
        tails = [(mean - wall) / deviation]
        if self._sides is Sides.TWO:
            tails.append((-wall - mean) / deviation)
        # Summed as logarithms: O'Brien-Fleming spends less than 1e-100 at a very early look.
        return tuple(float(np.logaddexp.reduce(self._log_mass + log_ndtr(tail))) for tail in tails)

    def boundary(self, now: float, spend: float) -> float:
        """The wall that is crossed with probability ``spend`` on the upper side (by symmetry, on each side)."""
        if spend <= 0:
            return HIGHEST_Z
        target = math.log(spend)
        if self._information == 0:
            return min(float(-ndtri_exp(target)), HIGHEST_Z)

        def excess(wall: float) -> float:
            return self.log_crossing(now, wall)[0] - target

        if excess(HIGHEST_Z) >= 0:
            return HIGHEST_Z
        low = -_REACH
        if excess(low) <= 0:
            raise OutOfRange(
                found=f"{spend:.3g} to spend at information {now:g}",
                wanted="less than what is left",
                cure="lower alpha",
            )
        return float(optimize.brentq(excess, low, HIGHEST_Z, xtol=1e-13, rtol=1e-14))

    def step(self, now: float, wall: float) -> None:
        """Go on to ``now`` without those who are beyond the wall."""
        mean, deviation = self._step_to(now)
        centre = self._drift * math.sqrt(now)
        low, high = max(centre - _REACH, -wall if self._sides is Sides.TWO else -math.inf), min(centre + _REACH, wall)
        if high <= low:
            # Everything has crossed; a node without mass keeps the shapes.
            self._z, self._log_mass, self._information = np.zeros(1), np.full(1, -np.inf), now
            return
        # Gauss-Legendre panels no wider than the step's standard deviation: the density is smooth on that scale.
        panels = max(4, math.ceil((high - low) / min(deviation, 1.0)))
        edges = np.linspace(low, high, panels + 1)
        half = (edges[1] - edges[0]) / 2
        z = (((edges[:-1] + edges[1:]) / 2)[:, np.newaxis] + half * _NODES).ravel()
        weights = np.tile(half * _WEIGHTS, panels)
        distance = (z[:, np.newaxis] - mean) / deviation
        density = np.exp(-0.5 * distance**2) @ np.exp(self._log_mass) / (deviation * math.sqrt(2 * math.pi))
        with np.errstate(divide="ignore"):
            self._log_mass = np.log(weights * density)
        self._z, self._information = z, now


def _gamma(family: Family, gamma: float | None) -> float:
    if family not in DEFAULT_GAMMA:
        if gamma is not None:
            raise OutOfRange(
                found=f"gamma = {gamma} for {family}", wanted="none: the family has no parameter", cure="leave it out"
            )
        return 0.0
    shape = DEFAULT_GAMMA[family] if gamma is None else finite("gamma", gamma)
    if family is Family.POWER and shape <= 0:
        raise OutOfRange(found=f"gamma = {shape} for {family}", wanted="a number above 0", cure="2 is usual")
    if abs(shape) > 50:
        raise OutOfRange(found=f"gamma = {shape} for {family}", wanted="-50 to 50", cure="-4 is usual for hsd")
    return shape


def _looks(information: Sequence[float]) -> Floats:
    looks = vector("information", information)
    if looks.size == 0 or looks[0] <= 0:
        raise OutOfRange(
            found=f"information {looks.tolist()}", wanted="looks above 0", cure="give fractions of what is planned"
        )
    if (np.diff(looks) < CLOSEST_LOOKS * looks[1:]).any():
        raise OutOfOrder(
            found=f"information {looks.tolist()}",
            wanted=f"an ascending order with steps of {CLOSEST_LOOKS:.1%} or more",
            cure="information never falls: leave out looks that brought none",
        )
    return looks
