"""What the logs say of one epoch: shipped segments to Parquet, Parquet to a batch of what is new.

Raises what the object store raises; the next look takes up where this one ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ra_guard.errors import Code, RaGuardError
from ra_guard.evidence.contrast import Exposure
from ra_guard.evidence.join import Follower
from ra_guard.evidence.left_out import LeftOut
from ra_guard.evidence.tally import Batch
from ra_guard.experiments.model import Experiment
from ra_guard.logs.layout import LIVE_COUNTS_PREFIX
from ra_guard.logs.objects import Objects
from ra_guard.logs.parquet import LogReader, Progress, Span, export

LOOK_BACK: Final = timedelta(days=2)
"""A segment lies under the day of its first record; none is shipped later than this in good order, and a machine that
was away longer is seen when the watch starts anew."""
NS_PER_S: Final = 1_000_000_000


class EvidenceRefused(RaGuardError):
    """A file of the logs that could not be read; the others were."""

    status_code = Code.DATA_LOSS


@dataclass(frozen=True)
class News:
    """What one look at the logs brought."""

    batch: Batch
    exposure: Exposure
    sign_of_life: datetime | None
    """The newest: a logged call, or a shipper that showed the counts of a living worker. None so far."""
    refused: tuple[str, ...]
    """What could not be read; the rest was."""


class Pulse:
    """Whether somebody still logs, told from one look to the next.

    A worker's counts are a sign of life where nobody calls. Where they grow and no record comes (its disk is full, or
    what it writes cannot be read), they are the opposite.
    """

    def __init__(self) -> None:
        self._newest_ns: int | None = None
        self._on_their_way = 0

    def sign(self, newest_ns: int | None, missing: int, counted: Sequence[datetime], now: datetime) -> datetime | None:
        """The newest sign, none so far, by the newest record, the records that are missing, and when counts came."""
        if newest_ns != self._newest_ns:
            self._newest_ns, self._on_their_way = newest_ns, missing
        signs = list(counted) if missing <= self._on_their_way else []
        if newest_ns is not None:
            signs.append(datetime.fromtimestamp(newest_ns / NS_PER_S, UTC))
        return min(now, max(signs)) if signs else None


class Logs:
    """Follows the logs of one epoch. Not thread-safe."""

    def __init__(
        self,
        objects: Objects,
        folder: Path,
        reader: LogReader,
        experiment: Experiment,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """``folder`` holds the Parquet."""
        self._objects = objects
        self._folder = folder
        self._reader = reader
        self._tell = tell
        self._exported: frozenset[str] = frozenset()
        self._pulse = Pulse()
        asked = experiment.definition.metrics.primary
        self.follower = Follower(experiment.key, experiment.epoch, asked.labels, folder / ".duckdb", asked.propensity)

    def look(self, as_of: int, now: datetime) -> News:
        """Everything that is new, with what has settled by the end of a minute."""
        # Asked before anything is followed: what was followed once is never said again.
        shown = [listed.modified for listed in self._objects.under(LIVE_COUNTS_PREFIX) if listed.modified is not None]
        span = Span((now - LOOK_BACK).date()) if self._exported else Span()
        report = export(self._objects, self._folder, span, self._reader, self._tell, known=self._exported)
        self._exported |= report.keys
        news = self.follower.follow(self._folder, as_of)
        exposure, follower = self.follower.exposure(), self.follower
        sign = self._pulse.sign(follower.newest_sign_of_life_unix_ns, follower.unsettled, shown, now)
        return News(news.batch, exposure, sign, (*report.refused, *news.refused))

    def left_out(self) -> LeftOut:
        """What was read and not used."""
        return self.follower.left_out()

    def close(self) -> None:
        """Gives the memory back."""
        self.follower.close()
