"""The control plane's view of its replicas: what each holds, when it last spoke, and who still has to hear.

A replica's lease runs from its own question to the control plane, and the answer grants it for the plan in force: one
that the replica holds, or one that comes with the answer. So the last word before a change bounds every lease of an
older plan from above, by a steady clock of this process alone: no clock of another machine enters.
"""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ra_guard.experiments.errors import BadReplica

FORGET_AFTER_S = 3600.0
"""A replica silent for this long is no longer listed: as long as the longest lease."""
MAX_REPLICAS = 4096
"""Names kept for one experiment, so that a client which makes up names cannot fill the memory."""
MAX_REVISION = 1 << 53
"""No experiment gets there: a replica that says so is wrong, and the next change would go above it."""

Clock = Callable[[], float]

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Replica:
    """What a replica last said. ``age_s``: since then."""

    replica: str
    revision: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a change stands among the replicas, by name. It is done when none is waiting."""

    acked: tuple[str, ...]
    """Hold the revision."""
    expired: tuple[str, ...]
    """Do not, and whatever they held before is without a lease: they serve the baseline by themselves."""
    waiting: tuple[str, ...]
    """May still serve an older plan."""

    @property
    def done(self) -> bool:
        """Nobody serves an older plan any more."""
        return not self.waiting


@dataclass(frozen=True, slots=True)
class _Seen:
    revision: int
    spoke_s: float
    in_force: int
    """When it last spoke: what the answer granted a lease for."""
    older_s: float
    """When it last spoke while an older revision than ``in_force`` was in force."""

    def lease_began_s(self, revision: int) -> float:
        """No lease of an older plan than ``revision`` began later."""
        return self.spoke_s if self.in_force < revision else self.older_s


class Replicas:
    """The replicas of every experiment. Thread-safe."""

    def __init__(self, steady: Clock) -> None:
        self._steady = steady
        self._seen: dict[str, dict[str, _Seen]] = defaultdict(dict)
        self._changed = threading.Condition()

    def hear(self, key: str, replica: str, revision: int, in_force: int) -> None:
        """A replica says which revision it holds, and is answered with the one in force.

        Raises BadReplica for a name that is none or one too many, and for a revision that nobody published.
        """
        now_s = self._steady()
        with self._changed:
            seen = self._seen[key]
            before = seen.get(replica)
            if before is None:
                _require_room(seen, replica)
            _require_published(replica, revision)
            # One that is new here may have spoken to another control plane a moment ago.
            older_s = now_s if before is None else before.lease_began_s(in_force)
            seen[replica] = _Seen(revision, now_s, in_force, older_s)
            if before is None or before.revision != revision:
                self._changed.notify_all()

    def leave(self, key: str, replica: str) -> None:
        """A replica answers no more calls."""
        with self._changed:
            self._seen[key].pop(replica, None)
            self._changed.notify_all()

    def expect(self, key: str, known: Mapping[str, int]) -> None:
        """Replicas that spoke to another control plane, perhaps a moment ago: each counts as having spoken now."""
        now_s = self._steady()
        with self._changed:
            for replica, revision in known.items():
                self._seen[key][replica] = _Seen(revision, now_s, in_force=0, older_s=now_s)

    def forget_silent(self, key: str) -> None:
        """Drops those that were silent for longer than any lease."""
        limit_s = self._steady() - FORGET_AFTER_S
        with self._changed:
            self._seen[key] = {name: seen for name, seen in self._seen[key].items() if seen.spoke_s >= limit_s}

    def listed(self, key: str) -> tuple[Replica, ...]:
        """Every replica, by name."""
        now_s = self._steady()
        with self._changed:
            found = sorted(self._seen[key].items())
        return tuple(Replica(name, seen.revision, now_s - seen.spoke_s) for name, seen in found)

    def revisions(self, key: str) -> dict[str, int]:
        """What each holds, by name."""
        with self._changed:
            return {name: seen.revision for name, seen in self._seen[key].items()}

    def rollout(self, key: str, revision: int, lease_s: float) -> Rollout:
        """Where ``revision`` stands; ``lease_s`` is the longest lease that an older plan may have granted."""
        with self._changed:
            return self._rollout(key, revision, lease_s)

    def wait(self, key: str, revision: int, lease_s: float, timeout_s: float) -> Rollout:
        """Blocks until nobody serves an older plan than ``revision``, or the time is up."""
        deadline_s = self._steady() + timeout_s
        with self._changed:
            while True:
                found = self._rollout(key, revision, lease_s)
                now_s = self._steady()
                if found.done or now_s >= deadline_s:
                    return found
                ends_s = [self._seen[key][name].lease_began_s(revision) + lease_s for name in found.waiting]
                self._changed.wait(max(0.001, min(deadline_s, *ends_s) - now_s))

    def _rollout(self, key: str, revision: int, lease_s: float) -> Rollout:
        now_s = self._steady()
        found = Rollout((), (), ())
        for name, seen in sorted(self._seen[key].items()):
            if seen.revision >= revision:
                found = replace(found, acked=(*found.acked, name))
            elif now_s - seen.lease_began_s(revision) > lease_s:
                found = replace(found, expired=(*found.expired, name))
            else:
                found = replace(found, waiting=(*found.waiting, name))
        return found


def _require_room(seen: Mapping[str, _Seen], replica: str) -> None:
    if not _NAME.fullmatch(replica):
        raise BadReplica(
            found=f"replica {replica!r}",
            wanted="1..64 of [A-Za-z0-9_.-], the first no dot",
            cure="set experiment.replica",
        )
    if len(seen) >= MAX_REPLICAS:
        raise BadReplica(
            found=f"{len(seen)} replicas listed", wanted=f"at most {MAX_REPLICAS}", cure="give replicas lasting names"
        )


def _require_published(replica: str, revision: int) -> None:
    if revision > MAX_REVISION:
        raise BadReplica(
            found=f"replica {replica} at revision {revision}",
            wanted=f"at most {MAX_REVISION}",
            cure="start it again; it holds no plan of a control plane",
        )
