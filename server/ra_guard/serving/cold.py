"""Images that arrive without features: embedded in the background, warm on one of the next calls.

Each id is in hand at most once, what was tried is left alone for a while (it is warm by then, or it cannot be
embedded), and both queues are bounded: what does not fit is dropped and counted, and comes back with a later call.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

TRIED_PER_QUEUED = 4
"""Ids remembered as tried, for each place in the queue."""


class ColdFeatures(Protocol):
    """Computes features and publishes them."""

    def embed(self, ids: Sequence[bytes]) -> object:
        """Embeds and detects what it can of ``ids`` and publishes a generation that holds them."""


class ColdQueue:
    """A bounded queue of ids and the thread that hands them to ``features`` in batches."""

    def __init__(
        self,
        features: ColdFeatures,
        *,
        capacity: int,
        batch: int,
        retry_s: float,
        report: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._features = features
        self._capacity = capacity
        self._batch = batch
        self._retry_s = retry_s
        self._report = report
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._in_hand: frozenset[str] = frozenset()
        self._tried_until: OrderedDict[str, float] = OrderedDict()
        self._closed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="cold", daemon=True)

    def start(self) -> None:
        """Starts the background thread."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Forgets what waits and lets the batch in hand finish."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def depth(self) -> int:
        """Ids waiting or in hand."""
        return len(self._waiting) + len(self._in_hand)

    def offer(self, ids: Iterable[str]) -> None:
        """Queues ids that are neither queued, nor in hand, nor tried lately. Never waits for features."""
        now = self._clock()
        with self._changed:
            if self._closed:
                return
            before = len(self._waiting)
            for image in ids:
                if image in self._waiting or image in self._in_hand or self._tried_until.get(image, now) > now:
                    continue
                if len(self._waiting) >= self._capacity:
                    self.dropped += 1
                    continue
                self._waiting[image] = None
            if len(self._waiting) > before:
                self._changed.notify_all()

    def wait(self, ids: Sequence[str], timeout_s: float) -> bool:
        """Offers ids and waits until none of them is waiting or in hand; False when the time ran out first."""
        self.offer(ids)
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not self._busy_with(ids), timeout_s)

    def _busy_with(self, ids: Sequence[str]) -> bool:
        return any(image in self._waiting or image in self._in_hand for image in ids)

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._features.embed([image.encode() for image in batch])
            except BaseException as error:  # noqa: BLE001 (whatever a model or a disk does, the next batch is tried)
                self._report(error)
            self._finish(batch)

    def _next_batch(self) -> list[str] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            batch = [self._waiting.popitem(last=False)[0] for _ in range(min(self._batch, len(self._waiting)))]
            self._in_hand = frozenset(batch)
            return batch

    def _finish(self, batch: Sequence[str]) -> None:
        until = self._clock() + self._retry_s
        with self._changed:
            for image in batch:
                self._tried_until[image] = until
                self._tried_until.move_to_end(image)
            while len(self._tried_until) > TRIED_PER_QUEUED * self._capacity:
                self._tried_until.popitem(last=False)
            self._in_hand = frozenset()
            self._changed.notify_all()
