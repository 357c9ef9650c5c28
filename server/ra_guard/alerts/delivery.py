"""Messages on their way out: a thread and a bounded line for each receiver, so that nobody waits for another.

Whoever offers a message goes on at once. A receiver that fails is tried again with pauses that double, in the order of
the messages, until a message is too old to help; one that hangs or refuses holds up its own line alone. What does
not fit a line is dropped, the oldest first, and counted. Messages may arrive twice: a receiver whose answer is lost is
tried again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ra_guard.alerts.addresses import Address
from ra_guard.alerts.errors import MessageDropped, NotDelivered
from ra_guard.alerts.message import Message
from ra_guard.alerts.receivers import DELIVERED, Receiver
from ra_guard.experiments.definition.vocabulary import Route

Report = Callable[[BaseException], None]
"""Told of every message that a receiver did not take at its first try, and of every one given up or dropped."""


@dataclass(frozen=True)
class Limits:
    """How much waits, and for how long."""

    queue: int = 256
    """Messages that wait for one receiver."""
    answer_s: float = 30.0
    """For one try."""
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    keep_s: float = 3600.0
    """From the offer of a message to the last try."""


@dataclass(frozen=True)
class Counts:
    """What became of the messages for one receiver."""

    receiver: str
    waiting: int
    delivered: int
    given_up: int
    dropped: int


@dataclass(frozen=True)
class Delivered:
    """What one receiver did with a message."""

    route: Route
    receiver: str
    readers: str
    """Who is told there, in words."""
    why_not: str
    """Empty: it took the message."""


class Delivery:
    """All receivers of all routes."""

    def __init__(self, addresses: Sequence[Address], report: Report, limits: Limits | None = None) -> None:
        self._lines = [_Line(address, report, limits or Limits()) for address in addresses]

    def start(self) -> None:
        """Starts a thread for each receiver."""
        for line in self._lines:
            line.start()

    def offer(self, message: Message) -> None:
        """Queues a message for every receiver that it is for. Never waits."""
        for line in self._lines:
            if line.address.takes(message):
                line.offer(message)

    def counts(self) -> tuple[Counts, ...]:
        """Where every receiver stands."""
        return tuple(line.counts() for line in self._lines)

    def close(self, timeout_s: float) -> None:
        """Takes no more, and gives what waits this long to get out; the rest is dropped and counted."""
        deadline = time.monotonic() + timeout_s
        for line in self._lines:
            line.close_by(deadline)
        for line in self._lines:
            line.join(deadline)


def deliver_now(addresses: Sequence[Address], message: Message, within_s: float) -> tuple[Delivered, ...]:
    """Sends a message once to each address, whomever it is for, at the same time, and says who took it."""
    if not addresses:
        return ()
    receivers = [Receiver(address.place, address.url) for address in addresses]
    with ThreadPoolExecutor(len(receivers)) as pool:
        outcomes: Sequence[str] = list(pool.map(lambda receiver: receiver.deliver(message, within_s), receivers))
    return tuple(
        Delivered(address.route, receiver.name, address.readers_in_words, why)
        for address, receiver, why in zip(addresses, receivers, outcomes, strict=True)
    )


@dataclass(frozen=True)
class _Waiting:
    message: Message
    offered_at: float


class _Line:
    """What waits for one receiver, and the thread that brings it there."""

    def __init__(self, address: Address, report: Report, limits: Limits) -> None:
        self.address: Final = address
        self.receiver: Final = Receiver(address.place, address.url)
        self._report = report
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._in_hand: _Waiting | None = None
        self._deadline: float | None = None
        """When the line is to be empty; None while it is open."""
        self._delivered = self._given_up = self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"alerts-{address.route}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, message: Message) -> None:
        full: list[_Waiting] = []
        with self._changed:
            if self._deadline is not None:
                full.append(_Waiting(message, time.monotonic()))
            else:
                self._waiting.append(_Waiting(message, time.monotonic()))
                while len(self._waiting) > self._limits.queue:
                    full.append(self._waiting.popleft())
            self._dropped += len(full)
            self._changed.notify_all()
        for each in full:
            self._tell_dropped(each.message)

    def counts(self) -> Counts:
        with self._changed:
            waiting = len(self._waiting) + (self._in_hand is not None)
            return Counts(self.receiver.name, waiting, self._delivered, self._given_up, self._dropped)

    def close_by(self, deadline: float) -> None:
        with self._changed:
            self._deadline = deadline
            self._changed.notify_all()

    def join(self, deadline: float) -> None:
        """Waits until the line is empty or its time is up, and counts what is left as dropped."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            left = [*([self._in_hand] if self._in_hand else []), *self._waiting]
            self._waiting.clear()
            self._in_hand = None
            self._dropped += len(left)
        for each in left:
            self._tell_dropped(each.message)

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            self._bring(waiting)

    def _next(self) -> _Waiting | None:
        """Takes the next message in hand; None once the line is closed and empty, or out of time."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._deadline is not None)
            if self._in_hand is None and self._waiting and not self._is_over():
                self._in_hand = self._waiting.popleft()
                return self._in_hand
            return None

    def _bring(self, waiting: _Waiting) -> None:
        """Tries until the message is taken or too old. When time runs out first, it stays in hand and the line ends."""
        pause_s, tries = self._limits.first_pause_s, 1
        while (why := self.receiver.deliver(waiting.message, self._left_s(self._limits.answer_s))) != DELIVERED:
            if time.monotonic() + pause_s > waiting.offered_at + self._limits.keep_s:
                self._tell_failed(waiting.message, why, tries, "given up")
                self._put_away(given_up=1)
                return
            if tries == 1:
                self._tell_failed(waiting.message, why, tries, "tried again")
            if not self._pause(pause_s):
                return
            pause_s, tries = min(2 * pause_s, self._limits.longest_pause_s), tries + 1
        self._put_away(delivered=1)

    def _put_away(self, *, delivered: int = 0, given_up: int = 0) -> None:
        with self._changed:
            if self._in_hand is not None:  # else the line was closed meanwhile, and has counted it
                self._delivered += delivered
                self._given_up += given_up
                self._in_hand = None

    def _pause(self, pause_s: float) -> bool:
        """Waits before the next try; False when there is no time for one. Closing does not cut the pause short."""
        until = time.monotonic() + pause_s
        with self._changed:
            while (left := until - time.monotonic()) > 0:
                if self._deadline is not None and until >= self._deadline:
                    return False
                self._changed.wait(left)
            return not self._is_over()

    def _left_s(self, wanted_s: float) -> float:
        deadline = self._deadline
        return wanted_s if deadline is None else max(0.0, min(wanted_s, deadline - time.monotonic()))

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _tell_failed(self, message: Message, why: str, tries: int, then: str) -> None:
        self._report(NotDelivered(f"{self.receiver.name}: {message.title!r} not taken at try {tries} ({why}); {then}"))

    def _tell_dropped(self, message: Message) -> None:
        cause = "the line is closed" if self._deadline is not None else f"{self._limits.queue} wait already"
        self._report(MessageDropped(f"{self.receiver.name}: {message.title!r} dropped, {cause}"))
