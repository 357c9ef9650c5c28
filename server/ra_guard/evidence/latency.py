"""Times to answer as a histogram of buckets that are at most 1/128 wide: a P95 of 320 ms is known to 2.5 ms.

Bucket b holds the integers of microseconds with the same leading eight bits; up to 255 us each has its own.
The largest time that a record can hold, 2**32 - 1 us, lies in the last bucket.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

_LEADING_BITS: Final = 8
_OCTAVE: Final = 1 << (_LEADING_BITS - 1)
BUCKETS: Final = (32 - _LEADING_BITS + 2) * _OCTAVE

Micros = npt.NDArray[np.uint32]


def bucket_of(micros: Micros) -> npt.NDArray[np.uint16]:
    """The bucket of each time. ``micros`` (n,) uint32, microseconds."""
    wide = micros.astype(np.float64)  # exact: 32 bits fit
    _, bits = np.frexp(wide)
    shift = np.maximum(bits - _LEADING_BITS, 0)
    buckets: npt.NDArray[np.uint16] = (shift * _OCTAVE + (micros.astype(np.int64) >> shift)).astype(np.uint16)
    return buckets


@cache
def upper_ms() -> npt.NDArray[np.float64]:
    """The largest time of each bucket in milliseconds, ascending. ``(BUCKETS,)``, read-only."""
    bucket = np.arange(BUCKETS, dtype=np.int64)
    shift = np.maximum(bucket // _OCTAVE - 1, 0)
    leading = bucket - shift * _OCTAVE
    edges: npt.NDArray[np.float64] = (((leading + 1) << shift) - 1) / 1_000.0
    edges.flags.writeable = False
    return edges


def quantile_ms(counts: npt.NDArray[np.int64], quantile: float) -> float | None:
    """The smallest bucket edge that at least this share of the calls does not exceed; None without calls.

    The inverse of the empirical distribution, rounded up to the bucket's end. ``counts`` ``(BUCKETS,)``.
    """
    total = int(counts.sum())
    if total <= 0:
        return None
    rank = max(1, int(np.ceil(quantile * total)))
    return float(upper_ms()[int(np.searchsorted(np.cumsum(counts), rank))])
