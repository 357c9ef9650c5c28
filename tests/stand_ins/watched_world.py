"""An experiment that is watched: real control plane and store, a real engine that logs, real shipping, in one process.

Calls are answered now, as the engine's clock has it; what the watch is told of the time is the test's to say.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from ra_guard import _core
from ra_guard.alerts.board import State
from ra_guard.alerts.message import Kind, Links, Message
from ra_guard.experiments.allocation import Arm, arm_of, hash_seed
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.model import Author, Experiment, Pace
from ra_guard.experiments.offline import offline_plane
from ra_guard.experiments.plane import ControlPlane
from ra_guard.logs.layout import LIVE_COUNTS_PREFIX
from ra_guard.logs.objects import Objects, StoredObjects
from ra_guard.logs.parquet import LogReader
from ra_guard.logs.ship import Folders, Shipper, Workers
from ra_guard.reports.content import Content
from ra_guard.rpc.experiment_admin import ExperimentAdmin
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import feedback_pb2, rerank_pb2
from ra_guard.watch.logs import Logs
from ra_guard.watch.loop import Tools, Watch
from ra_guard.watch.replay import content_of, replayed
from ra_guard.watch.reporter import Reporter
from ra_guard.watch.seen import Seen, seen_from

from tests.stand_ins.serving_process import KEY, SPACE, publish_gallery, store_url, unit_rows

ROWS = 100
LAG = timedelta(seconds=60)
ME = Author("a test", "to see what happens")

QUICK_TRIGGER = (
    "bound_percent = 2.0\nover_minutes = 15\nfor_minutes = 15\ncoverage_percent = 90\nmin_requests = 200",
    "bound_percent = 2.0\nover_minutes = 5\nfor_minutes = 0\nmin_requests = 50",
)
"""The template's error trigger, without the wait of a quarter of an hour."""
QUICK_ALERT = (
    "bound_percent = 2.0\nover_minutes = 15\nfor_minutes = 5\ncoverage_percent = 80\nmin_requests = 200",
    "bound_percent = 2.0\nover_minutes = 15\nfor_minutes = 0\nmin_requests = 50",
)
"""Its critical alert on errors, at the first reading."""
FEW = (
    "bound_added_percentage_points = 1.0\nmin_requests = 1000",
    "bound_added_percentage_points = 1.0\nmin_requests = 50",
)
"""Its gate on errors, for a test's traffic."""


class Control(ExperimentAdmin):
    """The control plane without a wire; `note` and `attest` as `ExperimentClient` has them."""

    def note(  # type: ignore[override]
        self, key: str, *, what: str, who: str, why: str, numbers: Mapping[str, float] | None = None
    ) -> wire.NoteResponse:
        return super().note(wire.NoteRequest(key=key, what=what, who=who, why=why, numbers=numbers or {}))

    def attest(self, key: str, evidence_at: datetime) -> wire.AttestResponse:  # type: ignore[override]
        request = wire.AttestRequest(key=key)
        request.evidence_at.FromDatetime(evidence_at)
        return super().attest(request)


class AtOnce(Executor):
    """Runs what is submitted before it returns, so that a test sees what came of it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 (as an executor does)
            done.set_exception(error)
        return done


@dataclass
class World:
    """Everything under one folder."""

    state: Path
    plane: ControlPlane
    objects: Objects
    told: list[Message] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    standing: State = field(default_factory=State)
    events: int = 0
    is_full: bool = False
    """The disk, for what the watch remembers."""

    @property
    def experiment(self) -> Experiment:
        return self.plane.current(KEY)

    @property
    def ledger(self) -> tuple[Entry, ...]:
        return self.plane.ledger(KEY)

    def ramp(self, *shares_bp: int) -> None:
        """Approves the first stage and goes to each share; stages in between are passed over."""
        if 100 not in self.experiment.approved_bp:
            self.plane.approve(KEY, 100, ME)
        for share_bp in shares_bp:
            self.plane.ramp(KEY, share_bp, Pace.SKIPPING_STAGES, ME)

    def answer(self, users: range, fail: Callable[[int], bool] = lambda _: False, calls: int = 1) -> None:
        """Each user calls; of treated users those for whom ``fail`` says so get the baseline, for an inner cause."""
        (self.state / "run" / "plans").mkdir(parents=True, exist_ok=True)
        sealed = self.plane.plan(KEY, self.experiment.revision)
        (self.state / "run" / "plans" / f"{KEY}-{self.experiment.revision}.sealed").write_bytes(sealed)
        engine = _core.Engine(query_cache_entries=8, log_dir=str(self._folders.candidates))
        engine.publish_generation(_core.Generation.open(str(self.state / "gallery")))
        engine.publish_plan(sealed)
        for user in users:
            for number in range(calls):
                request = call(user, number).SerializeToString()
                if fail(user) and self.is_treated(user):
                    engine.fall_back(request, rerank_pb2.REASON_INTERNAL, wait_ns=1_000_000)
                else:
                    engine.rerank(request)
        engine.close_log()

    def is_treated(self, user: int) -> bool:
        """By the hash, at the ramp in force."""
        bucket = _core.bucket(hash_seed(KEY, self.experiment.salt), f"user-{user}")
        return arm_of(bucket, self.experiment.ramp_bp) is Arm.TREATMENT

    def judge(self, users: range, grade: Callable[[int, int], int]) -> None:
        """Each user's first call is judged: the grade of every image by user and row."""

        def judged(said: feedback_pb2.FeedbackEvent, user: int, row: int) -> None:
            said.judgment.candidate_id, said.judgment.grade = f"image-{row}", grade(user, row)

        self._say(((user, row) for user in users for row in shown(user, 0)), judged)

    def click(self, users: range, is_liked: Callable[[int], bool]) -> None:
        """Each user clicks the liked rows of the first call."""

        def clicked(said: feedback_pb2.FeedbackEvent, user: int, row: int) -> None:
            said.click.candidate_id = f"image-{row}"

        self._say(((user, row) for user in users for row in shown(user, 0) if is_liked(row)), clicked)

    def _say(
        self, results: Iterable[tuple[int, int]], what: Callable[[feedback_pb2.FeedbackEvent, int, int], None]
    ) -> None:
        """One event for each user and row."""
        events = []
        for user, row in results:
            said = feedback_pb2.FeedbackEvent(event_id=f"e-{self.events}", request_id=f"r-{user}-0")
            said.occurred_at.GetCurrentTime()
            what(said, user, row)
            events.append(said.SerializeToString())
            self.events += 1
        self._folders.feedback.mkdir(parents=True, exist_ok=True)
        log = _core.FeedbackLog(folder=str(self._folders.feedback), writer="0")
        log.append(int(datetime.now(UTC).timestamp() * 1e9), events)
        log.close()

    def ship(self) -> None:
        """Everything that is sealed."""
        workers = Workers(
            lambda folder: _core.recover_logs(str(folder)), lambda path: not _core.read_counts(str(path))["alive"]
        )
        report = Shipper(self._folders, StoredObjects.open(str(self.state / "objects")), workers).run_once()
        assert (report.failure, report.refused) == (None, ())

    def stay_alive_until(self, at: datetime) -> None:
        """As if a living worker's counts had been shipped until then."""
        ended = next((self.state / "objects" / "counts").glob("*.counts"))
        living = self.state / "objects" / LIVE_COUNTS_PREFIX / ended.name
        living.parent.mkdir(exist_ok=True)
        living.write_bytes(ended.read_bytes())
        os.utime(living, (at.timestamp(), at.timestamp()))

    def watch(self) -> Watch:
        """A watch that starts now."""

        def keep(state: State) -> None:
            if self.is_full:
                raise OSError(errno.ENOSPC, "no space left on device")
            self.standing = state

        beside = AtOnce()
        reporter = Reporter(
            self.state / "reports" / KEY,
            "a test's logs",
            hour_utc=6,
            offer=self.told.append,
            beside=beside,
            links=Links(),
            report=self.failed.append,
        )
        tools = Tools(
            control=Control(self.plane),
            follow=self._follow,
            offer=self.told.append,
            keep=keep,
            beside=beside,
            reporter=reporter,
            links=Links(),
            report=self.failed.append,
        )
        return Watch(KEY, tools, lag=LAG, standing=self.standing)

    def replay(self, now: datetime) -> Content:
        """What a report on demand is made from."""
        control = Control(self.plane)
        found = control.get(wire.GetRequest(key=KEY)).experiment
        seen = seen_from(found, control.get_ledger(wire.GetLedgerRequest(key=KEY)).changes)
        with replayed(seen, self._follow(seen), now, LAG) as played:
            return content_of(played.seen, played.epoch, played.logs, "a test's logs")

    def kinds(self) -> list[Kind]:
        """Of what people were told, in order."""
        return [message.kind for message in self.told]

    def _follow(self, seen: Seen) -> Logs:
        reader = LogReader(_core.read_log_columns, _core.read_feedback, _core.read_counts)
        return Logs(self.objects, self.state / "evidence", reader, seen.experiment)

    @property
    def _folders(self) -> Folders:
        return Folders(
            self.state / "logs" / "candidates", self.state / "logs" / "feedback", self.state / "run" / "plans"
        )


def shown(user: int, number: int) -> list[int]:
    """The rows that a call offers, in baseline order."""
    return [int(row) for row in np.random.default_rng([user, number]).permutation(ROWS)[:12]]


def call(user: int, number: int) -> rerank_pb2.RerankRequest:
    return rerank_pb2.RerankRequest(
        request_id=f"r-{user}-{number}",
        user_id=f"user-{user}",
        embedding=rerank_pb2.QueryEmbedding(values=unit_rows(1000 + user, 1).tobytes(), space=SPACE),
        candidate_ids=[f"image-{row}" for row in shown(user, number)],
        domain="pets" if user % 2 else "",
    )


def complete(at: datetime) -> datetime:
    """When the minute of a moment is known to be complete."""
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1) + LAG


@contextmanager
def world(state: Path, definition: str) -> Iterator[World]:
    """A world whose experiment has this definition, at ramp 0."""
    publish_gallery(state, rows=ROWS, objects=1)
    with offline_plane(store_url(state), holder="a test", writer_lease_s=600.0) as plane:
        plane.apply(definition, ME, 0)
        yield World(state, plane, StoredObjects.open(str(state / "objects")))
