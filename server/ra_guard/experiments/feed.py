"""A replica's side of the control plane: words out, plans in, and a lease that runs from the replica's own words.

One thread speaks to one address at a time. It holds a stream, on which a new plan comes unasked; where a stream
breaks or falls silent it polls, goes on to the next address, and tries a stream again. Nothing here is on the path
of a call, and nothing on the path of a call waits for it: without answers the lease runs out by itself.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ra_guard.errors import Code
from ra_guard.experiments.condition import Condition
from ra_guard.experiments.errors import ExperimentError
from ra_guard.experiments.plan_files import PlanFiles
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import plan_pb2

DEFAULT_FEEDBACK_WINDOW_S = 86_400
"""Of plans that name none, as plan.proto says."""
SHORTEST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
"""Between two tries of a stream. Polls in between keep a lease alive when only streams are held back."""


class SilentControlPlane(ExperimentError):
    """A stream that is open and brings no answers."""

    status_code = Code.UNAVAILABLE


class PlanSink(Protocol):
    """What the feed needs of an engine; `ra_guard._core.Engine` is one."""

    def publish_plan(self, sealed: bytes, contact_ns: int | None = None) -> int: ...
    def restore_plan(self, sealed: bytes) -> int: ...
    def renew_lease(self, revision: int, contact_ns: int | None = None) -> bool: ...
    def revoke_lease(self) -> None: ...
    def plan_revision(self) -> int: ...


class Exchange(Protocol):
    """An open stream."""

    def answers(self) -> Iterator[wire.WatchResponse]: ...
    def cancel(self) -> None: ...


class PlanSource(Protocol):
    """One address of the control plane. Both raise when it cannot be reached or refuses."""

    def watch(self, words: Iterator[wire.WatchRequest]) -> Exchange: ...
    def poll(self, word: wire.WatchRequest, timeout_s: float) -> wire.WatchResponse: ...


@dataclass(slots=True)
class _Stream:
    """One stream and what belongs to it alone: words of one that ended may still be waiting for theirs."""

    opened_ns: int
    swapped: queue.SimpleQueue[None] = field(default_factory=queue.SimpleQueue)
    exchange: Exchange | None = None

    def cut(self) -> None:
        """Ends it, once it is open."""
        if self.exchange is not None:
            self.exchange.cancel()


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a replica speaks, and how long it waits for an answer before it takes the stream for dead."""

    heartbeat_s: float
    silence_s: float
    start_wait_s: float
    """Failures before the first answer are told only after this long: both sides may be starting."""


class PlanFeed:
    """Keeps one engine on the plan in force. ``sources`` are tried in turn, starting with the first."""

    def __init__(
        self,
        sources: Sequence[PlanSource],
        engine: PlanSink,
        *,
        key: str,
        replica: str,
        pace: Pace,
        plans: PlanFiles,
        report: Callable[[BaseException], None],
        condition: Callable[[], Condition] = Condition,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._sources = sources
        self._engine = engine
        self._key = key
        self._replica = replica
        self._pace = pace
        self._plans = plans
        self._report = report
        self._condition = condition
        self._clock_ns = clock_ns
        self._turn = 0
        self._checksum = 0
        self._plan = plan_pb2.Plan()
        self._started_ns = 0
        self._stopping = threading.Event()
        self._heard = threading.Event()
        self._answered_ns = 0
        self._stream: _Stream | None = None
        self._thread = threading.Thread(target=self._run, name="plan-feed", daemon=True)

    def start(self) -> None:
        """Restores the plan of an earlier life, which grants no lease, and starts to speak."""
        try:
            sealed = self._plans.latest(self._key)
            if sealed is not None:
                self._engine.restore_plan(sealed)
                self._hold(plan_pb2.SealedPlan.FromString(sealed))
        except BaseException as error:  # noqa: BLE001 (a file that does not hold costs only what it would have told)
            self._report(error)
        self._started_ns = self._clock_ns()
        self._thread.start()

    def wait_for_answer(self) -> bool:
        """Blocks until the control plane has answered, for ``start_wait_s`` at most; whether it has."""
        return self._heard.wait(self._pace.start_wait_s)

    def stop(self) -> None:
        """Says goodbye, so that nobody waits for this replica, and ends."""
        self._stopping.set()
        stream = self._stream
        if stream is not None:
            stream.cut()
        self._thread.join()
        farewell = self._word()
        farewell.leaving = True
        try:
            self._source.poll(farewell, self._pace.silence_s)
        except BaseException as error:  # noqa: BLE001 (the control plane finds out by the lease)
            self._report(error)

    @property
    def feedback_window_s(self) -> int:
        """Of the plan that this replica holds."""
        return self._plan.feedback_window_s or DEFAULT_FEEDBACK_WINDOW_S

    @property
    def _source(self) -> PlanSource:
        return self._sources[self._turn % len(self._sources)]

    def _run(self) -> None:
        pause_s = SHORTEST_PAUSE_S
        while not self._stopping.is_set():
            before_ns = self._answered_ns
            self._try(self._watch)
            if self._stopping.is_set():
                return
            heard = self._answered_ns != before_ns
            pause_s = SHORTEST_PAUSE_S if heard else min(2 * pause_s, LONGEST_PAUSE_S)
            if not self._try(self._poll):
                self._turn += 1
            # Spread, so that replicas do not all come back in one moment.
            self._stopping.wait(pause_s * random.uniform(0.5, 1.0))

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the next try must happen)
            if self._stopping.is_set():
                return False  # the stream was cut by `stop`
            if self._heard.is_set() or self._clock_ns() - self._started_ns > self._pace.start_wait_s * 1e9:
                self._report(error)
            return False
        return True

    def _watch(self) -> None:
        stream = _Stream(self._clock_ns())
        stream.exchange = exchange = self._source.watch(self._words(stream))
        self._stream = stream
        try:
            # `stop` may have looked for a stream before this one was there to be cut.
            if self._stopping.is_set():
                return
            for answer in exchange.answers():
                self._take(answer)
                if self._stopping.is_set():
                    return
        finally:
            self._stream = None
            exchange.cancel()

    def _words(self, stream: _Stream) -> Iterator[wire.WatchRequest]:
        """A word at once, each heartbeat, and whenever a plan was swapped in. Runs on a thread of the stream."""
        while not self._stopping.is_set():
            yield self._word()
            try:
                stream.swapped.get(timeout=self._pace.heartbeat_s)
            except queue.Empty:
                self._cut_if_silent(stream)

    def _cut_if_silent(self, stream: _Stream) -> None:
        silent_s = (self._clock_ns() - max(stream.opened_ns, self._answered_ns)) / 1e9
        if silent_s > self._pace.silence_s and self._stream is stream:
            self._report(
                SilentControlPlane(
                    found=f"no answer on an open stream for {silent_s:.1f} s",
                    wanted=f"one every {self._pace.heartbeat_s:g} s",
                    cure="polling instead; look at what stands between replica and control plane",
                )
            )
            stream.cut()

    def _poll(self) -> None:
        self._take(self._source.poll(self._word(), self._pace.silence_s))

    def _word(self) -> wire.WatchRequest:
        condition = self._condition()
        return wire.WatchRequest(
            key=self._key,
            replica=self._replica,
            acked_revision=self._engine.plan_revision(),
            acked_checksum=self._checksum,
            clock_ns=self._clock_ns(),
            failing=condition.failing,
            critical_errors=condition.critical_errors,
            started_unix_ns=condition.started_unix_ns,
        )

    def _take(self, answer: wire.WatchResponse) -> None:
        self._answered_ns = self._clock_ns()
        self._heard.set()
        if answer.halt:
            self._engine.revoke_lease()
            return
        if answer.HasField("plan"):
            # Refused by the engine when it is older than what is held: a control plane restored from an old copy
            # grants no lease, and its next change carries a higher number than any it has heard of.
            sealed = answer.plan.SerializeToString()
            self._engine.publish_plan(sealed, answer.echoed_clock_ns)
            self._hold(answer.plan)
            if self._stream is not None:
                self._stream.swapped.put(None)
            self._keep(sealed, answer.revision)
        else:
            self._engine.renew_lease(answer.revision, answer.echoed_clock_ns)

    def _hold(self, sealed: plan_pb2.SealedPlan) -> None:
        self._checksum = sealed.checksum
        self._plan = plan_pb2.Plan.FromString(sealed.plan)

    def _keep(self, sealed: bytes, revision: int) -> None:
        try:
            self._plans.keep(self._key, revision, sealed)
        except OSError as error:  # the plan is in force; what lacks is its copy beside the logs
            self._report(error)
