"""How far a revision has spread: which replicas hold it, which are waited for, which lost their lease."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

REPORT_EVERY_S = 1.0
"""Replicas report at least this often, so a report may be this much older than the contact it stands for."""

_REPLICA = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Replica:
    """What a worker last said of itself. ``age_s``: since its last contact with the control plane."""

    replica: str
    revision: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a revision has spread. It is done when nobody is waited for: acked, or no longer serving treatment."""

    acked: tuple[str, ...]
    waiting: tuple[str, ...]
    expired: tuple[str, ...]

    @property
    def done(self) -> bool:
        return not self.waiting


def rollout(replicas: Iterable[Replica], revision: int, lease_s: int) -> Rollout:
    """Sorts replicas by whether they hold ``revision``; one whose lease ran out serves the baseline by itself.

    Its last report may be older than its last contact, so a lease counts as run out only `REPORT_EVERY_S` later.
    """
    acked, waiting, expired = [], [], []
    for replica in replicas:
        if replica.age_s >= lease_s + REPORT_EVERY_S:
            expired.append(replica.replica)
        elif replica.revision >= revision:
            acked.append(replica.replica)
        else:
            waiting.append(replica.replica)
    return Rollout(tuple(acked), tuple(waiting), tuple(expired))


def is_replica_name(name: str) -> bool:
    """1..64 of ``[A-Za-z0-9_.-]``, and no dot first."""
    return _REPLICA.fullmatch(name) is not None
