"""How fast evidence follows a log: ``python -m bench.evidence [--calls 1000000] [--users 20000]``.

Writes an export of made-up calls, clicks, ratings and judgments, has it followed at once, and then in small pieces
whose feedback is about calls of the whole history. Prints rows a second of the first, and how long the pieces take.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ra_guard.evidence.join import Follower
from ra_guard.experiments.definition.vocabulary import Labels
from ra_guard.logs.columns import COUNTS_SCHEMA, FEEDBACK_SCHEMA, plans_table
from ra_guard.v1 import plan_pb2
from rich.console import Console
from rich.table import Table

KEY = "bench"
NS: Final = 1_000_000_000
START_NS: Final = 1_772_582_400 * NS
SEGMENT_CALLS = 1_000
PIECE_CALLS = 200
PIECES = 5
IMAGES: Final = pa.array([f"image-{number:018}" for number in range(100_000)])
CANDIDATES = 50


@dataclass
class World:
    """What is written so far; calls come one a fifth of a second."""

    folder: Path
    users: int
    rng: np.random.Generator
    calls: int = 0
    events: int = 0
    segments: int = 0

    def at_ns(self, numbers: Any) -> Any:
        """When calls were answered."""
        return START_NS + np.asarray(numbers, np.int64) * (NS // 5)

    def more_calls(self, count: int) -> Path:
        """A segment of calls, half of the users in each arm."""
        numbers = np.arange(self.calls, self.calls + count)
        self.calls += count
        users = self.rng.integers(0, self.users, count)
        arm = (users % 2 + 1).astype(np.uint8)
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * CANDIDATES)
        columns = {
            "unix_ns": pa.array(self.at_ns(numbers).astype(np.uint64)),
            "request_id": pa.array([f"request-{number:024}" for number in numbers]),
            "user_id": pa.array([f"user-{user:012}" for user in users]),
            "query_text": pa.array([f"query {number}" for number in self.rng.zipf(1.5, count) % 10_000]),
            "domain": pa.array(["flowers"] * count),
            "assigned_arm": pa.array(arm),
            "served_arm": pa.array(arm),
            "reason": pa.array(np.where(arm == 1, 1, 0).astype(np.uint8)),
            "experiment_key": pa.array([KEY] * count),
            "plan_revision": pa.array(np.ones(count, np.uint64)),
            "elapsed_us": pa.array(self.rng.lognormal(8, 1, count).astype(np.uint32)),
            "top_k": pa.array(np.zeros(count, np.uint32)),
            "candidate_ids": pa.ListArray.from_arrays(offsets, IMAGES.take(pa.array(self._images(numbers).ravel()))),
            "ranking": pa.ListArray.from_arrays(
                offsets, pa.array(np.tile(np.arange(CANDIDATES, dtype=np.uint16), count))
            ),
        }
        return self._write("candidates", pa.table(columns))

    def more_events(self, numbers: Any, kinds: Any) -> Path:
        """A segment of events, each a minute after its call, about one of its first candidates."""
        at_ns = self.at_ns(numbers) + 60 * NS
        first = self._images(numbers)[:, :5]
        images = first[np.arange(len(numbers)), self.rng.integers(0, 5, len(numbers))]
        table = pa.table(
            {
                "received_unix_ns": pa.array(at_ns.astype(np.uint64)),
                "occurred_unix_ns": pa.array(at_ns),
                "event_id": pa.array([f"event-{self.events + each:026}" for each in range(len(numbers))]),
                "request_id": pa.array([f"request-{number:024}" for number in numbers]),
                "kind": pa.array(kinds),
                "candidate_id": IMAGES.take(pa.array(images)),
                "depth": pa.nulls(len(numbers), pa.uint32()),
                "stars": pa.array(self.rng.integers(1, 6, len(numbers)).astype(np.uint32)),
                "grade": pa.array(self.rng.integers(0, 4, len(numbers)).astype(np.uint32)),
                "text": pa.nulls(len(numbers), pa.string()),
            },
            schema=FEEDBACK_SCHEMA,
        )
        self.events += len(numbers)
        return self._write("feedback", table)

    def _images(self, numbers: Any) -> Any:
        return (np.asarray(numbers)[:, None] * 7_919 + np.arange(CANDIDATES) * 104_729) % len(IMAGES)

    def _write(self, kind: str, table: Any) -> Path:
        rows = table.num_rows
        for name, column in {
            "writer": pa.array(["0"] * rows),
            "run": pa.array(np.full(rows, START_NS, np.uint64)),
            "sequence": pa.array(np.full(rows, self.segments, np.uint32)),
            "record": pa.array(np.arange(rows, dtype=np.uint32)),
        }.items():
            table = table.append_column(name, column)
        path = self.folder / kind / "day=2026-03-04" / f"0-{START_NS:020}-{self.segments:06}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd")
        self.segments += 1
        return path


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    asked = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World(folder, asked.users, np.random.default_rng(1))
        pq.write_table(plans_table([plan_pb2.Plan(experiment_key=KEY, revision=1, epoch=1)]), folder / "plans.parquet")
        pq.write_table(pa.Table.from_pylist([], schema=COUNTS_SCHEMA), folder / "counts.parquet")
        for start in range(0, asked.calls, SEGMENT_CALLS):
            world.more_calls(min(SEGMENT_CALLS, asked.calls - start))
            spread = world.rng.integers(start, world.calls, SEGMENT_CALLS // 2)
            world.more_events(spread, world.rng.choice(["click", "judgment", "rating"], len(spread)))
        table = Table("what", "rows", "seconds", "of a CPU", "rows/s")
        follower = Follower(KEY, 1, Labels.JUDGMENTS, folder / ".duckdb")
        rows = world.calls + world.events
        table.add_row("all at once", *timed(follower, world, None, rows))
        for _ in range(PIECES):
            before = world.calls + world.events
            about = world.rng.integers(0, world.calls, PIECE_CALLS)
            pieces = [
                world.more_calls(PIECE_CALLS),
                world.more_events(about, world.rng.choice(["click", "judgment"], PIECE_CALLS)),
            ]
            rows = world.calls + world.events - before
            table.add_row("a minute, about any call", *timed(follower, world, pieces, rows))
        for what, ask in (("exposure", follower.exposure), ("left_out", follower.left_out)):
            started = time.perf_counter()
            ask()
            table.add_row(what, "", f"{time.perf_counter() - started:.2f}")
        console.print(table)
        console.print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def timed(follower: Follower, world: World, pieces: Sequence[Path] | None, rows: int) -> tuple[str, ...]:
    """One update with all of the folder, or with some files: rows, seconds, seconds of a CPU, rows a second."""
    as_of = int(world.at_ns([world.calls])[0]) // (60 * NS)
    started, worked = time.perf_counter(), time.process_time()
    news = follower.follow(world.folder, as_of) if pieces is None else follower.tell(pieces, as_of)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - worked
    if news.refused:
        raise SystemExit(news.refused[0])
    return f"{rows:,}", f"{seconds:.2f}", f"{cpu_s:.2f}", f"{rows / seconds:,.0f}"


if __name__ == "__main__":
    main()
