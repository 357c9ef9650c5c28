"""A process of its own that uses a store: ``python -m tests.stand_ins.store_process ACTION URL ...``.

Says one JSON line for each thing that happened, and waits for a line on standard input where the test is to act first.
"""

import json
import os
import sys
import threading
from collections.abc import Callable

from ra_guard.errors import RaGuardError
from ra_guard.experiments.control_store import ControlStore, WriterLease
from ra_guard.experiments.errors import StaleRevision
from ra_guard.experiments.seat import WriterSeat

from tests.stand_ins.control_stores import KEY, acquired, entry, record, stored


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


def wait() -> None:
    sys.stdin.readline()


def race(store: ControlStore, holder: str, term: str, rounds: str) -> None:
    """Records as many revisions as it can under a lease that others use too, each on what is in force then."""
    lease = WriterLease(holder, int(term))
    say(ready=True)
    wait()
    won = 0
    while won < int(rounds):
        in_force = store.current(KEY)
        before = in_force.revision if in_force else 0
        try:
            store.record(before, stored(before + 1), entry(before + 1, who=str(os.getpid())), lease)
        except StaleRevision:
            continue
        won += 1
        say(won=before + 1)


def contend(store: ControlStore, holder: str) -> None:
    """Asks once for the lease, when told to."""
    say(ready=True)
    wait()
    lease = store.acquire(holder, 600.0)
    say(term=lease.term if lease else None)


def write_on(store: ControlStore, holder: str, ttl_s: str) -> None:
    """Takes the lease and records one revision after another, as fast as the store is, until it is ended."""
    lease = acquired(store, holder, float(ttl_s))
    say(term=lease.term)
    revision = 0
    while True:
        revision += 1
        record(store, revision, lease)
        say(recorded=revision)


def write_late(store: ControlStore, holder: str, ttl_s: str) -> None:
    """Takes the lease, records once, then sleeps through whatever the test does, and tries to record again."""
    lease = acquired(store, holder, float(ttl_s))
    record(store, 1, lease)
    say(recorded=1, term=lease.term)
    wait()
    try:
        record(store, 2, lease)
        say(recorded=2)
    except RaGuardError as error:
        say(refused=error.variant)


def sit(store: ControlStore, holder: str, ttl_s: str) -> None:
    """Keeps the writer's seat, and says each change, until it is ended."""

    def told(lease: WriterLease | None) -> None:
        say(term=lease.term if lease else None)

    WriterSeat(store, holder, wait=threading.Event().wait, told=told, ttl_s=float(ttl_s)).run()


def fill(store: ControlStore) -> None:
    """Records until there is no room, and once more when the test has made some."""
    lease = acquired(store)
    revision = 0
    try:
        while True:
            text = f"# {revision}\n" * 20_000
            store.record(revision, stored(revision + 1, definition=text), entry(revision + 1), lease)
            revision += 1
    except RaGuardError as error:
        current = store.current(KEY)
        say(refused=error.variant, lost=revision - (current.revision if current else 0))
    wait()
    record(store, revision + 1, lease)
    store.verify()
    say(recorded=True)


def check(store: ControlStore) -> None:
    """Says whether the store would take a change."""
    try:
        store.check()
        say(checked=True)
    except RaGuardError as error:
        say(refused=error.variant)


ACTIONS: dict[str, Callable[..., None]] = {
    "race": race,
    "contend": contend,
    "write_on": write_on,
    "write_late": write_late,
    "sit": sit,
    "fill": fill,
    "check": check,
}


def main() -> None:
    action, url, *arguments = sys.argv[1:]
    try:
        store = ControlStore.open(url)
    except RaGuardError as error:
        say(refused=error.variant)
        return
    ACTIONS[action](store, *arguments)
    store.close()


if __name__ == "__main__":
    main()
