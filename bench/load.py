"""Many callers at once: closed loops, and open loops that do not hide the waiting.

In a closed loop every caller asks again as soon as it has its answer: it finds the rate that a server sustains, but a
slow server slows its own load down, so its latencies describe the callers, not a service. In an open loop calls fall
due at a constant rate whatever the server does, and each latency counts from the moment the call was due: time spent
waiting for a free connection is part of it.
"""

import select
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.h2 import Caller, LoadError

SILENCE_S = 5.0
"""A server that says nothing for so long has failed."""


@dataclass(frozen=True)
class Load:
    """What a loop over several callers came to."""

    seconds: float
    latencies_ns: Sequence[int] = field(repr=False)
    degraded: int
    """Calls among them that got a shorter answer than a whole one: what an overloaded server gives."""
    client_us_per_call: float
    """Processor time of the generator itself; in an open loop it includes the polling between calls."""

    @property
    def calls_per_s(self) -> float:
        """Calls per second of wall time that got a whole answer."""
        return (len(self.latencies_ns) - self.degraded) / self.seconds


@dataclass
class Arrivals:
    """Moments at a constant rate, in nanoseconds on the clock of ``first_ns``."""

    first_ns: int
    rate: float
    count: int
    taken: int = 0

    def next_ns(self) -> int | None:
        """The next moment not yet taken; None when all are."""
        return self.first_ns + round(self.taken * 1e9 / self.rate) if self.taken < self.count else None

    def take(self, now_ns: int) -> Iterator[int]:
        """The moments that have come, each once."""
        while (due_ns := self.next_ns()) is not None and due_ns <= now_ns:
            self.taken += 1
            yield due_ns


class Callers:
    """Connections to one port, kept open between rounds; each starts at another message."""

    def __init__(
        self, port: int, path: str, messages: Sequence[bytes], count: int, *, whole_answer_bytes: int = 0
    ) -> None:
        """Connects ``count`` callers. A whole answer has at least that many bytes."""
        self._whole_answer_bytes = whole_answer_bytes
        self._degraded = 0
        step = max(1, len(messages) // count)
        rotations = ([*messages[n * step :], *messages[: n * step]] for n in range(count))
        self._callers = [Caller.connect(port, path, rotated) for rotated in rotations]
        self._by_descriptor = {caller.connection.fileno(): caller for caller in self._callers}

    def closed_loop(self, seconds: float) -> Load:
        """Every caller calls again as soon as it has its answer, until the time is over."""
        latencies: list[int] = []
        spent_s, begun_ns = time.process_time(), time.perf_counter_ns()
        deadline_ns = begun_ns + int(seconds * 1e9)
        with polling(self._by_descriptor) as poller:
            for caller in self._callers:
                caller.start(time.perf_counter_ns())
            in_flight = len(self._callers)
            while in_flight:
                for caller in self._answered(poller, SILENCE_S):
                    now_ns = time.perf_counter_ns()
                    latencies.append(now_ns - caller.started_ns)
                    if now_ns < deadline_ns:
                        caller.start(now_ns)
                    else:
                        in_flight -= 1
        return self._load(latencies, begun_ns, spent_s)

    def open_loop(self, rate: float, count: int) -> Load:
        """``count`` calls, due at ``rate`` a second; one that finds every caller busy waits for the first free one."""
        latencies: list[int] = []
        spent_s, begun_ns = time.process_time(), time.perf_counter_ns()
        arrivals = Arrivals(begun_ns, rate, count)
        idle, waiting = deque(self._callers), deque[int]()
        heard_ns = begun_ns
        with polling(self._by_descriptor) as poller:
            while len(latencies) < count:
                now_ns = time.perf_counter_ns()
                waiting.extend(arrivals.take(now_ns))
                while waiting and idle:
                    idle.popleft().start(waiting.popleft())
                # Polling without a pause: a sleep would be late by as much as a call takes.
                for caller in self._answered(poller, 0.0):
                    heard_ns = time.perf_counter_ns()
                    latencies.append(heard_ns - caller.started_ns)
                    idle.append(caller)
                if len(idle) == len(self._callers):
                    heard_ns = now_ns
                elif now_ns - heard_ns > SILENCE_S * 1e9:
                    raise LoadError(f"no answer for {SILENCE_S:.0f} s")
        return self._load(latencies, begun_ns, spent_s)

    def answers(self) -> list[bytes]:
        """The last answer of every caller."""
        return [caller.answer for caller in self._callers]

    def close(self) -> None:
        """Ends every connection."""
        for caller in self._callers:
            caller.connection.close()

    def _answered(self, poller: select.epoll, patience_s: float) -> Iterator[Caller]:
        ready = poller.poll(patience_s)
        if not ready and patience_s:
            raise LoadError(f"no answer for {patience_s:.0f} s")
        for descriptor, _ in ready:
            caller = self._by_descriptor[descriptor]
            if caller.receive():
                self._degraded += len(caller.answer) < self._whole_answer_bytes
                yield caller

    def _load(self, latencies: list[int], begun_ns: int, spent_before_s: float) -> Load:
        seconds = (time.perf_counter_ns() - begun_ns) / 1e9
        spent_s = time.process_time() - spent_before_s
        degraded, self._degraded = self._degraded, 0
        return Load(seconds, latencies, degraded, spent_s / len(latencies) * 1e6)


def polling(descriptors: Iterable[int]) -> select.epoll:
    """Waits for what arrives on any of them."""
    poller = select.epoll()
    for descriptor in descriptors:
        poller.register(descriptor, select.EPOLLIN)
    return poller
