"""The worker's side: a watcher that swaps plans into the engine, and the board on which workers report.

Contact with the control plane means, for a plan in a file, that the file could be read and holds. Each such poll
renews the engine's lease; while it fails, the lease runs out and the worker serves the baseline by itself. Ages
compare clocks of different processes, so every clock here is the machine's wall clock.
"""

import json
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from ra_guard.experiments.model import REPORT_EVERY_S, BadReplica, Replica
from ra_guard.experiments.publish import Clock, PlanFile, utc_now

POLL_S = 0.25
REPORT_EVERY = timedelta(seconds=REPORT_EVERY_S)
FORGET_AFTER = timedelta(hours=1)
"""Reports this old are of workers that died without retiring: as long as the longest lease."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


class PlanSink(Protocol):
    """What the watcher needs of an engine; `ra_guard._core.Engine` is one."""

    def publish_plan(self, sealed: bytes) -> int: ...
    def renew_lease(self, revision: int) -> bool: ...
    def plan_revision(self) -> int: ...
    def plan_age_s(self) -> float | None: ...


class ReplicaBoard:
    """Reports of all workers of one experiment, one small file each, replaced atomically and never fsynced."""

    def __init__(self, folder: Path, *, clock: Clock = utc_now) -> None:
        self._folder = folder
        self._clock = clock

    def report(self, replica: str, revision: int, at: datetime) -> None:
        """Says that ``replica`` serves ``revision`` and had contact ``at``. Raises BadReplica, OSError."""
        if not _NAME.fullmatch(replica):
            raise BadReplica(
                found=f"replica {replica!r}", wanted="1..64 of [A-Za-z0-9_.-]", cure="set experiment.replica"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{replica}.tmp"
        temporary.write_text(json.dumps({"replica": replica, "revision": revision, "at": at.isoformat()}))
        temporary.replace(self._path(replica))

    def retire(self, replica: str) -> None:
        """Withdraws a report: the worker answers no more calls."""
        self._path(replica).unlink(missing_ok=True)

    def forget_dead(self) -> None:
        """Removes reports that no lease can cover any more."""
        for seen in self.read():
            if seen.age_s > FORGET_AFTER.total_seconds():
                self.retire(seen.replica)

    def read(self) -> tuple[Replica, ...]:
        """Every report, by name. One that vanishes or cannot be read while we look is a replica not heard from."""
        now = self._clock()
        found = (self._read(path, now) for path in sorted(self._folder.glob("*.json")))
        return tuple(replica for replica in found if replica is not None)

    def _read(self, path: Path, now: datetime) -> Replica | None:
        try:
            report = json.loads(path.read_bytes())
            age_s = (now - datetime.fromisoformat(report["at"])).total_seconds()
            return Replica(str(report["replica"]), int(report["revision"]), max(0.0, age_s))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, replica: str) -> Path:
        return self._folder / f"{replica}.json"


class PlanWatcher:
    """Keeps one worker's engine on the published plan. `poll` may be called from any thread."""

    def __init__(
        self,
        plan: PlanFile,
        engine: PlanSink,
        board: ReplicaBoard,
        replica: str,
        *,
        ensure: Callable[[], object] = lambda: None,
        clock: Clock = utc_now,
    ) -> None:
        """``ensure`` is called until it succeeds once.

        Before that no plan is served: an experiment whose history does not hold is one that nobody could kill.
        """
        self._plan = plan
        self._ensure = ensure
        self._ensured = False
        self._engine = engine
        self._board = board
        self._replica = replica
        self._clock = clock
        self._turn = threading.Lock()
        self._swapped: bytes | None = None
        self._reported_at: datetime | None = None

    def poll(self) -> int:
        """Looks once: swaps a new plan in or renews the lease, reports, and returns the revision in force.

        A file that is missing is no contact. Raises what ``ensure`` raises, PlanUnreadable or `_core.PlanError` when
        the plan does not hold, OSError when the report cannot be written; the engine keeps its plan and, without
        contact, loses its lease.
        """
        with self._turn:
            if not self._ensured:
                self._ensure()
                self._ensured = True
            sealed = self._plan.read()
            if sealed is None:
                return self._engine.plan_revision()
            # The bytes are compared, not the file's times: a plan is a few hundred bytes, and two plans within
            # one tick of the file system's clock must not look like one.
            swap = sealed != self._swapped
            if swap:
                self._engine.publish_plan(sealed)
                self._swapped = sealed
            else:
                self._engine.renew_lease(self._engine.plan_revision())
            self._report_if_due(REPORT_EVERY if not swap else timedelta(0))
            return self._engine.plan_revision()

    def run(self, stop: threading.Event, on_error: Callable[[BaseException], None], poll_s: float = POLL_S) -> None:
        """Polls until ``stop`` is set, then withdraws the worker's report. Errors go to ``on_error``, once a poll."""
        while not stop.wait(poll_s):
            try:
                self.poll()
            except BaseException as error:  # noqa: BLE001  (whatever it is, the next poll must happen)
                on_error(error)
        self._board.retire(self._replica)

    def plan_age_s(self) -> float | None:
        """Seconds since the engine's last contact with the control plane."""
        return self._engine.plan_age_s()

    def _report_if_due(self, every: timedelta) -> None:
        now = self._clock()
        if self._reported_at is None:
            self._board.forget_dead()
        if self._reported_at is None or not timedelta(0) <= now - self._reported_at < every:
            self._board.report(self._replica, self._engine.plan_revision(), now)
            self._reported_at = now
