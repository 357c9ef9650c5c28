"""How replicas say they are: whether they serve, and what went badly wrong with them, by experiment.

A replica counts its critical errors from its own start. What is new since its last word is added up here until
somebody takes it, so that a count that starts over with a process loses nothing and counts nothing twice.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """What a replica says of itself."""

    failing: bool = False
    """Its health check says that it does not serve."""
    critical_errors: int = 0
    """Since its process started."""
    started_unix_ns: int = 0


class Conditions:
    """The latest condition of every replica. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, Condition]] = defaultdict(dict)
        self._new: dict[str, int] = defaultdict(int)

    def hear(self, key: str, replica: str, now: Condition) -> None:
        """A replica's word. A first word tells what is; only the next ones tell what is new."""
        with self._lock:
            before = self._latest[key].get(replica)
            self._latest[key][replica] = now
            if before is None:
                return
            if before.started_unix_ns != now.started_unix_ns:
                self._new[key] += 1 + now.critical_errors  # it left without a farewell: a crash
            else:
                self._new[key] += max(0, now.critical_errors - before.critical_errors)

    def leave(self, key: str, replica: str) -> None:
        """A replica said goodbye."""
        with self._lock:
            self._latest[key].pop(replica, None)

    def keep(self, key: str, replicas: frozenset[str]) -> None:
        """Forgets all others: their names were forgotten elsewhere."""
        with self._lock:
            self._latest[key] = {name: each for name, each in self._latest[key].items() if name in replicas}

    def failing(self, key: str) -> frozenset[str]:
        """Names of those that say they do not serve."""
        with self._lock:
            return frozenset(name for name, condition in self._latest[key].items() if condition.failing)

    def new_critical_errors(self, key: str) -> int:
        """Heard of and not yet taken."""
        with self._lock:
            return self._new[key]

    def took(self, key: str, count: int) -> None:
        """So many of them stand in the ledger now."""
        with self._lock:
            self._new[key] -= count
