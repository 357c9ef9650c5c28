"""What the product promises about speed: the performance table of the design, as data, and how a number is judged.

Every target is a ratio taken inside one run, or a time on the reference workload. A quantity that was not
measured is SKIPPED: it never counts as reached.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

DTYPES = ("f32", "f16", "i8")
"""Element types of a shard, as the keys of every by-dtype result."""

Reached = float | None
"""A measured quantity; None where it could not be measured."""
Results = Mapping[str, Reached | Mapping[str, Reached]]


class Better(Enum):
    """Which way a quantity improves."""

    LOWER = "at most"
    HIGHER = "at least"


class Verdict(Enum):
    """How a measured quantity stands to its target."""

    AIM = "aim reached"
    MET = "met"
    MISSED = "missed"
    UNJUDGED = "no target"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Target:
    """One line of the table. ``floor`` is the design's "at least" column, None where it only wants the number known."""

    key: str
    what: str
    unit: str
    better: Better
    floor: float | None
    aim: float | None
    dtype: str | None = None

    def verdict(self, reached: Reached) -> Verdict:
        """Judges one quantity. NaN is a number that could not be taken, hence SKIPPED."""
        if reached is None or reached != reached:
            return Verdict.SKIPPED
        if self.floor is None or self.aim is None:
            return Verdict.UNJUDGED
        if self._reaches(reached, self.aim):
            return Verdict.AIM
        return Verdict.MET if self._reaches(reached, self.floor) else Verdict.MISSED

    def _reaches(self, reached: float, bound: float) -> bool:
        return reached <= bound if self.better is Better.LOWER else reached >= bound


def _by_dtype(
    key: str, what: str, unit: str, better: Better, bounds: Mapping[str, tuple[float, float]]
) -> Iterator[Target]:
    for dtype in DTYPES:
        floor, aim = bounds.get(dtype, (None, None))
        yield Target(key, what, unit, better, floor, aim, dtype)


TARGETS: tuple[Target, ...] = (
    *_by_dtype(
        "kernel_over_gather",
        "score kernel over a touch-only gather of the same rows",
        "x",
        Better.LOWER,
        {"f32": (1.15, 1.05), "f16": (1.4, 1.2), "i8": (1.15, 1.05)},
    ),
    *_by_dtype(
        "kernel_vs_best_library",
        "score kernel against the fastest library",
        "x",
        Better.HIGHER,
        {"f32": (1.5, 2.0), "f16": (1.5, 2.0), "i8": (2.5, 3.0)},
    ),
    Target("lookup_vs_dict", "id lookup against a Python dict", "x", Better.HIGHER, 15.0, 20.0),
    *_by_dtype(
        "core_call_us",
        "whole core call, decode to log, tight loop",
        "us",
        Better.LOWER,
        {"f16": (70.0, 50.0), "i8": (45.0, 33.0)},
    ),
    Target("core_vs_numpy", "the same against numpy + dict + upb", "x", Better.HIGHER, 8.0, 12.0),
    *_by_dtype(
        "unary_over_echo",
        "unary Rerank p50 over a raw-bytes echo",
        "x",
        Better.LOWER,
        {"f16": (1.45, 1.20), "i8": (1.35, 1.20)},
    ),
    Target("unary_vs_python", "unary Rerank p50 against protobuf + dict + numpy", "x", Better.HIGHER, 2.2, 3.0),
    Target("stream_over_unary", "stream p50 over unary", "x", Better.LOWER, 0.70, 0.55),
    Target("two_workers_over_one", "calls per second, two pinned workers over one", "x", Better.HIGHER, 1.7, 1.9),
    Target("core_10m_over_10k", "core call p50, 10 M rows over 10 k rows", "x", Better.LOWER, 3.0, 2.0),
    Target("open_10m_ms", "open of a 10 M-row generation", "ms", Better.LOWER, 100.0, 20.0),
    Target("plan_push_ms", "plan push to 10 replicas, p99", "ms", Better.LOWER, 1000.0, 100.0),
    Target("kill_all_acked_ms", "kill of 10 replicas, from call to answer, p99", "ms", Better.LOWER, 1000.0, 100.0),
)

KEYS: tuple[str, ...] = tuple(dict.fromkeys(target.key for target in TARGETS))
"""The quantities of a run, in the order of the table."""


def reached(results: Results, target: Target) -> Reached:
    """The quantity that a target judges; None when the run does not hold it."""
    value = results.get(target.key)
    if target.dtype is None:
        return value if isinstance(value, float) else None
    return value.get(target.dtype) if isinstance(value, Mapping) else None


def complete(results: Results) -> dict[str, Reached | dict[str, Reached]]:
    """Every key of the table, None for what was not measured; refuses keys that the table does not know."""
    unknown = sorted(set(results) - set(KEYS))
    if unknown:
        raise ValueError(f"results hold {', '.join(unknown)}; the table knows {', '.join(KEYS)}")
    whole: dict[str, Reached | dict[str, Reached]] = dict.fromkeys(KEYS)
    for target in TARGETS:
        value = reached(results, target)
        if target.dtype is None:
            whole[target.key] = value
        else:
            column = whole[target.key]
            whole[target.key] = {**(column if isinstance(column, dict) else {}), target.dtype: value}
    return whole
