"""Where one epoch stands, from nothing but the ledger and the logs: for commands that decide or report on demand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ra_guard.errors import Code, RaGuardError
from ra_guard.experiments.monitor.decision import decide
from ra_guard.reports.content import Content, QueryLine
from ra_guard.watch.epoch import Epoch, minute_of, moment_of
from ra_guard.watch.logs import Logs
from ra_guard.watch.seen import Seen

TOP_QUERIES = 20


class NothingYet(RaGuardError):
    """An epoch without a single complete minute of evidence."""

    status_code = Code.FAILED_PRECONDITION


@dataclass(frozen=True)
class Replayed:
    """An epoch that was played up to a minute."""

    seen: Seen
    epoch: Epoch
    logs: Logs
    refused: tuple[str, ...]
    """Files that could not be read."""


@contextmanager
def replayed(seen: Seen, logs: Logs, now: datetime, lag: timedelta) -> Iterator[Replayed]:
    """Plays an epoch from its first user to the last complete minute. Raises NothingYet, and as `Logs.look` does."""
    launched, as_of = seen.launched_at, minute_of(now - lag) - 1
    try:
        if launched is None or minute_of(launched) > as_of:
            found = "with nobody enrolled" if launched is None else f"launched at {launched:%H:%M:%S} UTC"
            raise NothingYet(
                f"found epoch {seen.experiment.epoch} of {seen.experiment.key} {found}, wanted a minute that ended "
                f"{lag.total_seconds():g} s ago; ramp it to its first stage, and wait"
            )
        news, epoch = logs.look(as_of, now), Epoch(seen)
        epoch.play(seen, news.batch, news.exposure, as_of)
        yield Replayed(seen, epoch, logs, news.refused)
    finally:
        logs.close()


def content_of(seen: Seen, epoch: Epoch, logs: Logs, source: str) -> Content:
    """All that a report is made from."""
    experiment, assessment, looks = seen.experiment, epoch.assess(), seen.looks()
    names, left_out = logs.follower.domains, logs.left_out()
    return Content(
        definition=experiment.definition,
        epoch=experiment.epoch,
        revision=experiment.revision,
        state=state_of(seen),
        launched_at=seen.launched_at,
        as_of=moment_of(epoch.as_of),
        assessment=assessment,
        evidence=replace(epoch.evidence(), late=left_out.late, not_relevant=left_out.not_relevant),
        decision=decide(experiment.definition, looks, assessment),
        looks=looks,
        hours=epoch.hours(),
        domains={names[number] or "no domain": contrast for number, contrast in epoch.domains().items()},
        queries=tuple(
            QueryLine(each.query, each.calls, each.control_ndcg, each.treatment_ndcg)
            for each in logs.follower.top_queries(TOP_QUERIES)
        ),
        ledger=seen.epoch_ledger,
        source=source,
    )


def state_of(seen: Seen) -> str:
    """In words."""
    experiment = seen.experiment
    if experiment.rolled_back:
        return "rolled back"
    if experiment.killed:
        return "killed"
    if experiment.ramp_bp == 0:
        return "not started" if seen.launched_at is None else "paused at 0 %"
    return f"live at {experiment.ramp_bp / 100:g} %"
