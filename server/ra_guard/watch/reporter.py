"""Writes the reports that are due and tells their readers, beside the turns of the watch.

What was made is read from the folder of reports, so a new watch makes nothing twice. A report that cannot be written is
told of and tried again with the next turn, as long as it is due.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime
from pathlib import Path

from ra_guard.alerts.message import Links, Message
from ra_guard.alerts.notices import Notices
from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.reports.content import Content
from ra_guard.reports.kinds import opening
from ra_guard.reports.schedule import Life, due
from ra_guard.reports.write import latest_made, write
from ra_guard.watch.epoch import Epoch
from ra_guard.watch.logs import Logs
from ra_guard.watch.replay import content_of
from ra_guard.watch.seen import Seen


class Reporter:
    """The reports of one experiment, a folder an epoch under ``folder``."""

    def __init__(
        self,
        folder: Path,
        source: str,
        *,
        hour_utc: int,
        offer: Callable[[Message], None],
        beside: Executor,
        links: Links,
        report: Callable[[BaseException], None],
    ) -> None:
        """``source``: where the numbers come from, in words. ``report`` is told of what could not be written."""
        self._folder = folder
        self._source = source
        self._hour_utc = hour_utc
        self._offer = offer
        self._beside = beside
        self._links = links
        self._report = report
        self._writing: Future[None] | None = None

    def look(self, seen: Seen, epoch: Epoch, logs: Logs, now: datetime) -> None:
        """Has the reports written that are due, one after the other, unless those of an earlier turn still are."""
        launched, experiment = seen.launched_at, seen.experiment
        if launched is None or (self._writing is not None and not self._writing.done()):
            return
        life = Life(launched, seen.looks(), seen.closed_at)
        made = latest_made(self._folder, experiment.epoch)
        reports = [each.report for each in due(experiment.definition, life, made, now, hour_utc=self._hour_utc)]
        if reports:
            content = content_of(seen, epoch, logs, self._source)
            kinds = tuple(dict.fromkeys(report.kind for report in reports))
            self._writing = self._beside.submit(self._write_all, content, kinds, now)

    def _write_all(self, content: Content, kinds: Sequence[ReportKind], now: datetime) -> None:
        for kind in kinds:
            self._write(content, kind, now)

    def _write(self, content: Content, kind: ReportKind, now: datetime) -> None:
        try:
            written = write(self._folder, content, kind)
        except Exception as error:  # noqa: BLE001 (whatever it is, the watch goes on, and tries again)
            self._report(error)
            return
        notices = Notices(content.definition, self._links)
        lead, headline = opening(content, kind)
        self._offer(notices.report_ready(kind, f"{lead.word} {headline}", (written.html, written.markdown), now))
