"""What goes into a measuring section, and what comes out of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.machine import Pinning
from bench.targets import DTYPES, Reached


@dataclass(frozen=True)
class Setting:
    """The size of a run. Sections read it; nothing in them depends on anything else."""

    state: Path
    """Folder of kept galleries and of what servers write."""
    pinning: Pinning
    rows: int
    small_rows: int
    large_rows: int
    rounds: int
    calls: int
    """Calls of one variant in one round."""
    load_seconds: float
    """Length of one round under load."""
    kills: int
    """Turns of the killswitch."""
    dtypes: tuple[str, ...] = DTYPES

    @classmethod
    def full(cls, state: Path, pinning: Pinning) -> "Setting":
        """The reference workload: a million rows, and ten million for what depends on size."""
        return cls(
            state,
            pinning,
            rows=1_000_000,
            small_rows=10_000,
            large_rows=10_000_000,
            rounds=40,
            calls=300,
            load_seconds=2.0,
            kills=100,
        )

    @classmethod
    def quick(cls, state: Path, pinning: Pinning) -> "Setting":
        """Small enough to see in two minutes that everything works; its numbers do not stand for the reference."""
        return cls(
            state,
            pinning,
            rows=100_000,
            small_rows=10_000,
            large_rows=200_000,
            rounds=4,
            calls=100,
            load_seconds=0.5,
            kills=20,
        )

    def say(self, what: str) -> None:
        """Tells the person who waits what is being measured."""
        print(f"  {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Findings:
    """Quantities by the keys of the table, details under names of the section's own, and why anything was skipped."""

    values: Mapping[str, Reached | Mapping[str, Reached]] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
