"""Whether two runs differ by more than chance, by flipping signs of their differences.

Null hypothesis: for each query it is chance which run got which value, so each difference could as well have the other
sign. The p-value is the share of sign patterns whose mean is at least as far from 0 as the one found. Guarantee: level
alpha without any assumption about how differences are distributed. All patterns where there are at most
``MOST_PATTERNS``, else a seeded sample, counted with the pattern found itself, so that p is never 0 and the level still
holds. References: Fisher, *The Design of Experiments*, 1935; Smucker, Allan and Carterette, CIKM 2007.
"""

from typing import Final

import numpy as np

from ra_guard.stats.inputs import Floats, Values, vector

MOST_PATTERNS: Final = 2**14
"""The standard error of a sampled p of 0.05 is then 0.0017."""
_CHUNK: Final = 1 << 20
"""Signs held at once."""
_ROUNDING: Final = 1e-12
"""Relative to the sum of sizes: two sums of the same numbers in another order count as equal."""


def randomisation_p(differences: Values, *, seed: int) -> float:
    """Two-sided, of ``differences`` (n,), one a query. 1 where all are 0. Raises NotFinite, WrongShape."""
    values = vector("differences", differences)
    moved = values[values != 0]
    if moved.size == 0:
        return 1.0
    least = abs(moved.sum()) - _ROUNDING * np.abs(moved).sum()
    if 2**moved.size <= MOST_PATTERNS:
        patterns = np.arange(2**moved.size)[:, np.newaxis] >> np.arange(moved.size) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ moved) >= least))
    as_far = sum(int(np.count_nonzero(np.abs(sums) >= least)) for sums in _sampled_sums(moved, seed))
    return (as_far + 1) / (MOST_PATTERNS + 1)


def _sampled_sums(moved: Floats, seed: int) -> list[Floats]:
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK // moved.size)
    starts = range(0, MOST_PATTERNS, rows)
    return [
        (1.0 - 2.0 * random.integers(0, 2, (min(rows, MOST_PATTERNS - start), moved.size), np.int8)) @ moved
        for start in starts
    ]
