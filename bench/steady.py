"""Calls at a constant rate over connections whose workers are known, on a thread of its own; every answer is kept.

The rate is one that the machine takes easily: this load is there to see what callers are answered while something
happens to the service, not to find out how fast it is. It sleeps between calls, so it leaves the cores to the workers.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from ra_guard.v1 import rerank_pb2

from bench import peers
from bench.channel import UNARY
from bench.h2 import Caller, LoadError
from bench.load import SILENCE_S, Arrivals, polling
from bench.progress import Tell

LONGEST_POLL_S = 0.05
TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class Call:
    """One call and what came of it. Times are those of `time.monotonic_ns`."""

    connection: int
    request_id: str
    sent_ns: int
    answered_ns: int
    assigned_arm: int
    served_arm: int
    status: int
    reason: int
    plan_revision: int

    @property
    def treated(self) -> bool:
        """Whether the user saw treatment's order."""
        return self.served_arm == rerank_pb2.ARM_TREATMENT

    def __str__(self) -> str:
        status, reason = rerank_pb2.Status.Name(self.status), rerank_pb2.Reason.Name(self.reason)
        return f"{self.request_id} by revision {self.plan_revision}: {status} {reason}"


class SteadyLoad:
    """A load that runs while its ``with`` block does. `workers` says by connection which process answers it."""

    def __init__(
        self, port: int, messages: Sequence[bytes], workers: Sequence[int], *, per_worker: int, rate: float
    ) -> None:
        """Connects ``per_worker`` times to each of the workers that share the port."""
        self._rate = rate
        self._callers, self.workers = _connect(port, messages, workers, per_worker)
        self._calls: list[Call] = []
        self._answered = threading.Condition()
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for caller in self._callers:
            caller.connection.close()

    def stop(self) -> None:
        """Sends no more calls, and returns when those in flight are answered."""
        self._stopping.set()
        self._thread.join()

    def calls(self) -> list[Call]:
        """Every call that was answered so far, in the order of the answers."""
        with self._answered:
            return list(self._calls)

    def require_no_failure(self) -> None:
        """Raises LoadError when a call failed."""
        if self._failure is not None:
            raise LoadError(f"a call failed: {self._failure}") from self._failure

    def go_on(self, seconds: float, tell: Tell) -> None:
        """Lets the load run for a while. Raises LoadError as soon as a call fails."""
        begun_s = time.monotonic()
        with self._answered:
            while (gone_s := time.monotonic() - begun_s) < seconds:
                tell(gone_s)
                self._answered.wait_for(lambda: self._failure is not None, min(TICK_S, seconds - gone_s))
                self.require_no_failure()
        tell(seconds)

    def wait_for_each(self, such: Callable[[Call], bool], *, since_ns: int, timeout_s: float) -> bool:
        """Blocks until each connection got such an answer to a call sent since then; False when the time is up.

        Raises LoadError when a call fails.
        """
        missing = set(range(len(self._callers)))
        looked = 0

        def found() -> bool:
            nonlocal looked
            missing.difference_update(
                call.connection for call in self._calls[looked:] if call.sent_ns >= since_ns and such(call)
            )
            looked = len(self._calls)
            return not missing or self._failure is not None

        with self._answered:
            complete = self._answered.wait_for(found, timeout_s)
            self.require_no_failure()
            return complete

    def _run(self) -> None:
        try:
            self._call_until_stopped()
        except BaseException as error:  # noqa: BLE001 (told on the thread that waits)
            with self._answered:
                self._failure = error
                self._answered.notify_all()

    def _call_until_stopped(self) -> None:
        arrivals = Arrivals(time.monotonic_ns(), self._rate, sys.maxsize)
        idle, busy = deque(range(len(self._callers))), dict[int, int]()
        waiting = deque[int]()
        by_descriptor = {caller.connection.fileno(): number for number, caller in enumerate(self._callers)}
        with polling(by_descriptor) as poller:
            while busy or not self._stopping.is_set():
                now_ns = time.monotonic_ns()
                if not self._stopping.is_set():
                    waiting.extend(arrivals.take(now_ns))
                    while waiting and idle:
                        number = idle.popleft()
                        busy[number] = time.monotonic_ns()
                        self._callers[number].start(waiting.popleft())
                if busy and now_ns - min(busy.values()) > SILENCE_S * 1e9:
                    raise LoadError(f"no answer for {SILENCE_S:.0f} s")
                due_ns = arrivals.next_ns()
                pause_s = LONGEST_POLL_S if due_ns is None else min(LONGEST_POLL_S, max(0.0, (due_ns - now_ns) / 1e9))
                for descriptor, _ in poller.poll(pause_s):
                    number = by_descriptor[descriptor]
                    if self._callers[number].receive():
                        self._keep(number, busy.pop(number))
                        idle.append(number)

    def _keep(self, number: int, sent_ns: int) -> None:
        answered_ns = time.monotonic_ns()
        answer = rerank_pb2.RerankResponse.FromString(self._callers[number].answer)
        call = Call(
            number,
            answer.request_id,
            sent_ns,
            answered_ns,
            answer.assigned_arm,
            answer.served_arm,
            answer.status,
            answer.reason,
            answer.plan_revision,
        )
        with self._answered:
            self._calls.append(call)
            self._answered.notify_all()


def _connect(
    port: int, messages: Sequence[bytes], workers: Sequence[int], per_worker: int
) -> tuple[list[Caller], list[int]]:
    """Callers, and the worker behind each. The kernel chooses: a worker that has enough is hung up on."""
    room = dict.fromkeys(workers, per_worker)
    callers: list[Caller] = []
    behind: list[int] = []
    step = max(1, len(messages) // (len(workers) * per_worker))
    while any(room.values()):
        first = len(callers) * step
        caller = Caller.connect(port, UNARY, [*messages[first:], *messages[:first]])
        worker = peers.holder(caller.connection, workers)
        if room[worker] == 0:
            caller.connection.close()
            continue
        room[worker] -= 1
        callers.append(caller)
        behind.append(worker)
    return callers, behind
