"""Runs every section and prints the table of targets: `make bench`, or `python -m bench.run --quick`.

Each section measures in a process of its own, on one thread, started when the one before has ended: a section that
fails or is killed takes nothing else with it. The exit status is 1 when a section failed or an answer was wrong, 0
otherwise: a missed target is a finding, not a failure.
"""

import argparse
import importlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from ra_guard import _core

from bench import machine, table, targets
from bench.agreement import WrongAnswerError
from bench.findings import Findings, Setting

SECTIONS = ("kernels", "lookup", "core", "scale", "serving", "workers", "kills")
HERE = Path(__file__).parent
OUT = HERE / "out"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    chosen = _parse(arguments)
    pinning = machine.choose_cores()
    size = Setting.quick if chosen.quick else Setting.full
    setting = size(chosen.state, pinning)
    setting.state.mkdir(parents=True, exist_ok=True)
    os.environ.update(machine.ONE_THREAD)
    started, busy = time.time(), machine.others_at_work()
    found, failures = run_sections(chosen.only, setting)
    results = merge(found)
    skipped = {key: reason for findings in found for key, reason in findings.skipped.items()}
    workload = "quick" if chosen.quick else "reference"
    details = {
        **{name: detail for findings in found for name, detail in findings.details.items()},
        "skipped": skipped,
        "busy": busy,
        "failed": failures,
        "workload": workload,
        "setting": {name: value for name, value in asdict(setting).items() if name not in ("state", "pinning")},
        "kernel": _core.KERNEL,
        "machine": machine.describe(pinning),
        "finished_unix_s": round(time.time()),
        "took_s": round(time.time() - started, 1),
    }
    write(chosen.out, {**results, "details": details})
    remarks = {**skipped, **failures, **({"warning": busy} if busy else {})}
    table.show(results, remarks, f"RA-Guard, {workload} workload, {setting.rows:,} rows")
    print(f"written to {chosen.out}")
    return 1 if failures else 0


def run_sections(names: Sequence[str], setting: Setting) -> tuple[list[Findings], dict[str, str]]:
    """What the sections found, and by name why one failed."""
    found, failures = [], {}
    for name in names:
        print(name, file=sys.stderr, flush=True)
        try:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                found.append(process.submit(measure_section, name, setting).result())
        except (WrongAnswerError, BrokenProcessPool, RuntimeError, OSError, MemoryError) as failure:
            failures[name] = f"{type(failure).__name__}: {failure}"
            print(f"  failed: {failures[name]}", file=sys.stderr, flush=True)
    return found, failures


def measure_section(name: str, setting: Setting) -> Findings:
    """One section, in the process that measures it; loads numpy and the core only there."""
    section = importlib.import_module(f"bench.{name}")
    findings: Findings = section.measure(setting)
    return findings


def merge(found: Sequence[Findings]) -> dict[str, targets.Reached | dict[str, targets.Reached]]:
    """Every key of the table; None for what no section measured."""
    values = {key: value for findings in found for key, value in findings.values.items()}
    return targets.complete(values)


def write(path: Path, record: Mapping[str, object]) -> None:
    """The record as JSON, NaN refused: a quantity is a number or null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2, allow_nan=False, default=_plain) + "\n")


def _plain(value: object) -> object:
    if hasattr(value, "item"):
        plain = value.item()
        return plain if not isinstance(plain, float) or math.isfinite(plain) else None
    raise TypeError(f"{type(value).__name__} has no place in results.json")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a small gallery and short rounds: two minutes")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--state", type=Path, default=OUT / "galleries", help="where synthetic galleries are kept")
    parser.add_argument("--out", type=Path, default=OUT / "results.json", help="where the record goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
