"""Sufficient statistics of one arm: the number of users, means, and sums of squares and products about the means.

They add: the moments of two disjoint sets of users give those of their union, in any order and up to rounding, so an
arm is one small object however many days and replicas it was collected over. Deviations are kept about the means, not
as raw sums of squares, so that nothing cancels when the mean is large beside the spread (Chan, Golub and LeVeque 1983).

A user is one row. Columns by metric:

- a mean of users: (value,)
- a ratio of totals, such as errors over requests: (numerator, denominator), one total a user
- a mean with a covariate from before the experiment: (value, covariate)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ra_guard.stats.errors import OutOfRange, WrongShape
from ra_guard.stats.inputs import Floats, Labels, Values, count, labels, same_length, vector

_ROUNDING = 1e-9
"""How far below zero a sum of squares may come out, relative to the raw sum, and still be rounding."""


@dataclass(frozen=True)
class Moments:
    """Of ``k`` columns over ``n`` users. ``means`` has k entries, ``scatter`` k rows of k.

    ``scatter[i][j]`` is the sum over users of (x_i - mean_i)(x_j - mean_j). With no users all are zero, and stand for
    nothing: `effects` answers `Insufficient` before it looks at them.
    """

    n: int
    means: tuple[float, ...]
    scatter: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        count("n", self.n)
        same_length("scatter", len(self.scatter), len(self.means))
        for row in self.scatter:
            same_length("a row of scatter", len(row), len(self.means))
        vector("means", self.means)
        vector("scatter", [entry for row in self.scatter for entry in row])
        if any(self.scatter[each][each] < 0 for each in range(len(self.means))):
            raise OutOfRange(found="a negative sum of squares", wanted="0 or more", cure="compute the moments again")

    @classmethod
    def empty(cls, columns: int) -> Self:
        """Of no users: the neutral element of addition. Raises OutOfRange without a column."""
        if columns < 1:
            raise OutOfRange(found=f"{columns} columns", wanted="1 or more", cure="name what is measured")
        return cls(0, (0.0,) * columns, ((0.0,) * columns,) * columns)

    @classmethod
    def of(cls, *columns: Values) -> Self:
        """Of arrays of shape (n,), one a column, one entry a user.

        Raises NotFinite for NaN and infinities, WrongShape where the arrays differ in length.
        """
        if not columns:
            return cls.empty(0)
        first, *others = (vector(f"column {number}", values) for number, values in enumerate(columns))
        for number, other in enumerate(others, start=1):
            same_length(f"column {number}", other.size, first.size)
        if first.size == 0:
            return cls.empty(len(columns))
        rows = np.stack([first, *others])
        means = rows.mean(axis=1)
        deviations = rows - means[:, np.newaxis]
        # The mean is rounded; its error is taken out once, so that n * error**2 does not remain (Chan et al.).
        scatter = deviations @ deviations.T - np.outer(deviations.sum(axis=1), deviations.sum(axis=1)) / first.size
        return cls._rounded(first.size, means, scatter)

    @classmethod
    def of_sums(cls, n: int, sums: Sequence[float], products: Sequence[Sequence[float]]) -> Self:
        """Of raw sums, as a database gives them: ``sums`` (k,), ``products`` (k, k) with sum of x_i * x_j.

        Exact only as long as the spread is not small beside the mean: prefer `of` where users are at hand. Raises
        OutOfRange where no data can have these sums, NotFinite, WrongShape.
        """
        total = vector("sums", sums)
        raw = np.asarray(products, dtype=np.float64)
        if raw.shape != (total.size, total.size):
            raise WrongShape(found=f"products of shape {raw.shape}", wanted=f"{(total.size,) * 2}", cure="pass all")
        vector("products", raw.ravel())
        if count("n", n) == 0:
            return cls.empty(total.size)
        scatter = raw - np.outer(total, total) / n
        if (np.diag(scatter) < -_ROUNDING * np.diag(raw)).any():
            raise OutOfRange(
                found=f"sums {total.tolist()} and squares {np.diag(raw).tolist()} of {n} users",
                wanted="squares of at least sum**2 / n",
                cure="sum the same users in both",
            )
        return cls._rounded(n, total / n, scatter)

    @classmethod
    def _rounded(cls, n: int, means: Floats, scatter: Floats) -> Self:
        np.fill_diagonal(scatter, np.maximum(np.diag(scatter), 0.0))
        return cls(n, tuple(means.tolist()), tuple(map(tuple, scatter.tolist())))

    def __add__(self, other: "Moments") -> "Moments":
        """Of the users of both, who must be different users. Raises WrongShape for other columns."""
        same_length("columns", len(other.means), len(self.means))
        if not self.n or not other.n:
            return self if self.n else other
        n = self.n + other.n
        mine, theirs = np.array(self.means), np.array(other.means)
        step = theirs - mine
        scatter = np.array(self.scatter) + np.array(other.scatter) + np.outer(step, step) * (self.n * other.n / n)
        return Moments._rounded(n, mine + step * (other.n / n), scatter)

    def variance(self, column: int) -> float:
        """Sample variance of a column (divisor n - 1). Raises OutOfRange under two users."""
        return self.covariance(column, column)

    def covariance(self, one: int, other: int) -> float:
        """Sample covariance of two columns (divisor n - 1). Raises OutOfRange under two users."""
        if self.n < 2:
            raise OutOfRange(found=f"{self.n} users", wanted="2 or more for a variance", cure="collect more")
        return self.scatter[one][other] / (self.n - 1)


def per_user(users: Labels, values: Values) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Totals and counts by user, from one row a request.

    ``users`` (n,) integers, ``values`` (n,). Returns the sum of each user's values and the number of that user's rows,
    in ascending order of user. Raises NotFinite, WrongShape.
    """
    rows = vector("values", values)
    index = labels("users", users, rows.size)
    totals = np.asarray(np.bincount(index, weights=rows), dtype=np.float64)
    return totals, np.bincount(index).astype(np.int64)
