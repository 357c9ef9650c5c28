"""The threads that answer unary calls, and the express lane for those that cannot be served in time.

grpcio hands every call to an executor. This one stamps the moment of submission, so that the handler knows how long
its call waited, and sends calls that arrive while the queue is already too old to a lane of their own, where they
are answered with the baseline at once instead of waiting to be refused.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

_Work = tuple[Future[Any], int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]

EXPRESS_THREADS = 2
"""More than one, because a thread is held while the bytes of its call are still arriving."""

_NEVER_NS = 1 << 62


class Turn(threading.local):
    """What the executor knows about the call that the current thread answers."""

    queued_ns: int = 0
    """How long it waited for a thread."""
    shed: bool = False
    """It must be answered with the baseline, at once."""


class HandlerPool(ThreadPoolExecutor):
    """A fixed set of threads over one queue, and two express threads. Started at once, stopped by `shutdown`.

    A ThreadPoolExecutor by type, because grpcio asks for one; its own queue and threads are never started.
    """

    def __init__(self, threads: int, shed_after_ns: int) -> None:
        super().__init__(max_workers=threads)
        self.turn = Turn()
        self._shed_after_ns = shed_after_ns
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._express: SimpleQueue[_Work | None] = SimpleQueue()
        self._waiting_since: deque[int] = deque()
        self._open = threading.Event()
        self._open.set()
        self._threads_of: list[tuple[threading.Thread, SimpleQueue[_Work | None]]] = []
        for index in range(threads):
            self._start(f"handler-{index}", self._queue, self._serve)
        for index in range(EXPRESS_THREADS):
            self._start(f"express-{index}", self._express, self._shed)

    @property
    def depth(self) -> int:
        """Calls waiting for a thread."""
        return len(self._waiting_since)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queues a call, or sends it to the express lane when the head of the queue has waited too long."""
        now_ns = time.monotonic_ns()
        future: Future[Any] = Future()
        try:
            too_late = now_ns - self._waiting_since[0] > self._shed_after_ns
        except IndexError:
            too_late = False
        if too_late:
            self._express.put((future, now_ns, fn, args, kwargs))
        else:
            self._waiting_since.append(now_ns)
            self._queue.put((future, now_ns, fn, args, kwargs))
        return future

    def hold(self) -> None:
        """Lets calls come in without answering them, until `resume`. None of them is shed for it."""
        self._shed_after_ns = _NEVER_NS
        self._open.clear()

    def resume(self) -> None:
        """Answers what came in."""
        self._open.set()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 (inherited)
        """Ends the threads once what is queued has been answered."""
        for _, queue in self._threads_of:
            queue.put(None)
        if wait:
            for thread, _ in self._threads_of:
                thread.join()
        super().shutdown(wait=wait, cancel_futures=cancel_futures)

    def _start(self, name: str, queue: SimpleQueue[_Work | None], body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads_of.append((thread, queue))
        thread.start()

    def _serve(self) -> None:
        turn = self.turn
        while (work := self._queue.get()) is not None:
            self._open.wait()
            self._waiting_since.popleft()
            turn.queued_ns = time.monotonic_ns() - work[1]
            turn.shed = turn.queued_ns > self._shed_after_ns
            _run(work)
            del work

    def _shed(self) -> None:
        turn = self.turn
        turn.shed = True
        while (work := self._express.get()) is not None:
            turn.queued_ns = time.monotonic_ns() - work[1]
            _run(work)
            del work


def _run(work: _Work) -> None:
    future, _, fn, args, kwargs = work
    try:
        future.set_result(fn(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 (a thread of the pool outlives whatever a call does)
        future.set_exception(error)
