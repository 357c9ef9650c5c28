"""`ra-guard experiment decide`, `report` and `acknowledge`: what the evidence says, and that somebody has seen it."""

import json as encoding
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ra_guard import _core
from ra_guard.cli.experiment import Signature, control_addresses
from ra_guard.cli.experiment_decide import plain, print_decision
from ra_guard.cli.terminal import result_console
from ra_guard.client import ExperimentClient
from ra_guard.config import Settings, load
from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.logs.objects import StoredObjects
from ra_guard.logs.parquet import LogReader
from ra_guard.reports import standing
from ra_guard.reports.write import write
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.watch.logs import Logs
from ra_guard.watch.loop import ACKNOWLEDGED
from ra_guard.watch.replay import Replayed, content_of, replayed
from ra_guard.watch.seen import seen_from

Control = Annotated[
    str | None, Parameter(help="Addresses of the control plane; by default those of the configuration.")
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")]


def decide(key: str, *, control: Control = None, config: Path | None = None, as_json: Json = False) -> None:
    """Say what follows from the evidence so far, with every number behind it: deploy, iterate, roll back, keep running.

    Decides nothing by itself: a person ramps, rolls back or deploys. Plays the epoch anew from the logs.
    """
    with _replayed(key, control, load(config)) as played:
        content = content_of(played.seen, played.epoch, played.logs, "")
    if as_json:
        known = {"key": key, "epoch": content.epoch, "state": content.state}
        print(encoding.dumps({**known, **plain(content.decision, content.assessment)}))
    else:
        if standing.is_closed(content):
            print(f"{standing.state(content).word} {standing.in_a_sentence(content)} The looks before it say:\n")
        print_decision(result_console(), content.decision, content.assessment)


def report(
    key: str,
    kind: Annotated[ReportKind, Parameter(help="Which report.")] = ReportKind.SUMMARY,
    *,
    out: Annotated[Path | None, Parameter(help="Folder to write to; watch.reports by default.")] = None,
    control: Control = None,
    config: Path | None = None,
    as_json: Json = False,
) -> None:
    """Write a report of the epoch so far as HTML and Markdown, from the logs."""
    settings = load(config)
    with _replayed(key, control, settings) as played:
        content = content_of(played.seen, played.epoch, played.logs, f"the logs under {settings.objects_url}")
    written = write(out or settings.reports_dir / key, content, kind)
    if as_json:
        print(encoding.dumps({"html": str(written.html), "markdown": str(written.markdown)}))
    else:
        print(f"wrote {written.html}\nwrote {written.markdown}")


def acknowledge(
    key: str,
    alert: Annotated[str, Parameter(help="Its id, as the message about it says.")],
    *,
    signature: Signature,
    control: Control = None,
) -> None:
    """Take up an alert: it climbs no further, and its recovery is still told."""
    settings = load()
    with ExperimentClient(control or control_addresses(settings), token=settings.control.token) as client:
        client.note(key, what=f"{ACKNOWLEDGED}{alert}", who=signature.name, why=signature.why)
    print(f"{key}: {alert} acknowledged by {signature.name}")


@contextmanager
def _replayed(key: str, control: str | None, settings: Settings) -> Iterator[Replayed]:
    with ExperimentClient(control or control_addresses(settings), token=settings.control.token) as client:
        found = client.get(wire.GetRequest(key=key)).experiment
        seen = seen_from(found, client.get_ledger(wire.GetLedgerRequest(key=key)).changes)
    reader = LogReader(_core.read_log_columns, _core.read_feedback, _core.read_counts)
    logs = Logs(StoredObjects.open(settings.objects_url), settings.evidence_dir, reader, seen.experiment)
    with replayed(seen, logs, datetime.now(UTC), timedelta(seconds=settings.watch.lag_s)) as played:
        yield played
