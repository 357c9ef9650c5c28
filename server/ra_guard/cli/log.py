"""`ra-guard log`: what was logged, from the workers' disks to Parquet, counts and proofs.

``ship`` runs beside the workers; the others read what it shipped, wherever that lies.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ra_guard import _core
from ra_guard.cli.log_tables import exposure_tables
from ra_guard.cli.terminal import result_console
from ra_guard.config import load
from ra_guard.logs.exposures import exposures
from ra_guard.logs.layout import SEALED, Kind, header_of, parsed_day
from ra_guard.logs.objects import StoredObjects, segments_of
from ra_guard.logs.parquet import LogReader, Span, export
from ra_guard.logs.parquet import Progress as Exported
from ra_guard.logs.plans import longest_retention_days
from ra_guard.logs.retention import ExportedDays, ObjectDays, Retention
from ra_guard.logs.verify import NOTHING, Outcome
from ra_guard.shipper import CLOCKS, serve, ship_loop, verifier_of
from ra_guard.telemetry.log import configure_logging

app = cyclopts.App(name="log", help="Ship, export, count and verify what was logged.")

BAR_WIDTH: Final = 32
FAILED: Final = 1

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]
Flag = Annotated[bool, cyclopts.Parameter(negative="")]


@app.command(name="ship")
def ship_logs(*, once: Flag = False, config: Path | None = None, as_json: Json = False) -> int:
    """Move sealed segments, plans and counts to the objects, and delete what is older than the retention.

    Parameters
    ----------
    once
        One pass instead of passes until SIGTERM; exit 1 when something could not be shipped.
    config
        A TOML file with options to override.
    as_json
        With --once: one JSON document on stdout.
    """
    settings = load(config)
    log = configure_logging(settings.log.level, process="log-ship")
    if not once:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        serve(settings, log, stop)
        return 0
    report = ship_loop(settings, log).run_once()
    if as_json:
        print(json.dumps(_plain(report)))
    else:
        for problem in (*report.refused, *([report.failure] if report.failure else [])):
            print(problem)
        print(f"shipped {report.shipped} segments, {report.shipped_bytes} bytes; {report.waiting} wait")
    return FAILED if report.failure or report.refused else 0


@app.command(name="export")
def export_logs(
    *,
    day: str | None = None,
    since: str | None = None,
    out: Path | None = None,
    config: Path | None = None,
    as_json: Json = False,
) -> int:
    """Write Parquet by day from the shipped segments; what is there already stays. Exit 1 names what is unreadable.

    Parameters
    ----------
    day
        This day alone, YYYY-MM-DD in UTC.
    since
        This day and those after it.
    out
        Folder to write to; state_dir/evidence by default.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    settings = load(config)
    span = Span(parsed_day(day), parsed_day(day)) if day else Span(parsed_day(since) if since else None)
    reader = LogReader(_core.read_log_columns, _core.read_feedback, _core.read_counts)
    folder = out or settings.evidence_dir
    with _progress(quiet=as_json) as tell:
        report = export(StoredObjects.open(settings.objects_url), folder, span, reader, tell)
    if as_json:
        print(json.dumps({name: value for name, value in _plain(report).items() if name != "keys"}))
    else:
        for problem in report.refused:
            print(problem)
        print(
            f"{folder}: exported {report.exported} segments with {report.rows} rows in {report.seconds:.1f} s, "
            f"{report.already_there} were there; {len(report.days)} days, {report.plans} plans, {report.runs} runs"
        )
    return FAILED if report.refused else 0


@app.command(name="exposures")
def count_exposures(key: str, *, out: Path | None = None, config: Path | None = None, as_json: Json = False) -> None:
    """Count who was exposed to what, crossover, losses and feedback, by epoch and arm, over an export.

    Parameters
    ----------
    key
        Of the experiment.
    out
        The export's folder; state_dir/evidence by default.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    found = exposures(out or load(config).evidence_dir, key, time.time_ns())
    if as_json:
        print(json.dumps(_plain(found)))
        return
    console = result_console()
    for table in exposure_tables(found):
        console.print(table)


@app.command
def verify(target: str, *, gallery: Path | None = None, config: Path | None = None, as_json: Json = False) -> int:
    """Compute every record again, against the plan and the generation that it names; exit 1 unless all bits agree.

    Parameters
    ----------
    target
        A segment, a folder of segments, or a shipped day as YYYY-MM-DD.
    gallery
        Folder of the generations; the configured one by default.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    settings = load(config)
    objects = StoredObjects.open(settings.objects_url)
    verifier = verifier_of(settings, gallery or settings.gallery_dir, objects)
    found = NOTHING
    for segment in _segments(target, objects):
        with segment as path:
            found += verifier.segment(path)
    if as_json:
        print(json.dumps(_plain(found)))
    else:
        for finding in found.findings:
            print(finding)
        others = ", ".join(f"{found.outcomes[each]} {each.value}" for each in Outcome if found.outcomes[each])
        print(f"{found.segments} segments, {found.records} records: {others or 'none'}")
    return 0 if found.clean else FAILED


@app.command(name="retention")
def apply_retention(
    *, delete: Flag = False, days: int | None = None, config: Path | None = None, as_json: Json = False
) -> int:
    """Show which days are older than the retention; delete them with --delete.

    Parameters
    ----------
    delete
        Delete them, from the objects and from the export.
    days
        Keep this many days; by default what the latest plans say.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    settings = load(config)
    objects = StoredObjects.open(settings.objects_url)
    keep = days if days is not None else longest_retention_days(objects)
    if keep is None:
        print("found no plan that says how long to keep, so nothing is deleted; say --days")
        return FAILED
    retention = Retention([ObjectDays(objects), ExportedDays(settings.evidence_dir)], CLOCKS)
    report = retention.run_once(keep) if delete else retention.plan(keep)
    if as_json:
        print(json.dumps(_plain(report)))
    else:
        print(report.refused or f"older than {keep} days: {', '.join(map(str, report.expired)) or 'none'}")
        for day, number in report.deleted.items():
            print(f"deleted {day}: {number} files")
    return FAILED if report.refused else 0


def _segments(target: str, objects: StoredObjects) -> Iterator[AbstractContextManager[Path]]:
    """The candidate segments that a target names, one at a time."""
    path = Path(target)
    if path.is_dir():
        sealed = sorted(path.rglob(f"*{SEALED}"))
        yield from (nullcontext(each) for each in sealed if header_of(each).kind is Kind.CANDIDATES)
    elif path.exists():
        yield nullcontext(path)
    else:
        shipped = segments_of(objects, Kind.CANDIDATES, parsed_day(target))
        yield from (objects.local_copy(listed.key) for listed in shipped)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Exported], None]]:
    """A bar with the time left, on stderr and for people only."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(BAR_WIDTH),
        DownloadColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("export", total=None)
        yield lambda at: progress.update(task, completed=at.done_bytes, total=at.total_bytes)


def _plain(value: Any) -> Any:
    """A report as JSON has it: enums by their words, days as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.name if isinstance(value, int) else value.value
    return value if value is None or isinstance(value, str | int | float) else str(value)
