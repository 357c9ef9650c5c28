"""The control plane without a process: a store opened by a command, for the hour when no control plane answers.

The writer lease makes it safe: while a control plane lives, it is the writer, and a command is told to ask it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ra_guard.experiments.control_store import ControlStore
from ra_guard.experiments.errors import WriterBusy
from ra_guard.experiments.plane import ControlPlane
from ra_guard.experiments.seat import WriterSeat

_LONGEST_PAUSE_S = 0.2


@contextmanager
def offline_plane(store_url: str, *, holder: str, writer_lease_s: float) -> Iterator[ControlPlane]:
    """A plane over the store, once the lease of a writer that is gone has run out. Raises WriterBusy, StoreGone."""
    store = ControlStore.open(store_url)
    try:
        seat = WriterSeat(store, holder, wait=lambda _: True, told=lambda _: None, ttl_s=writer_lease_s)
        _take(seat, time.monotonic() + writer_lease_s + 1.0)
        try:
            plane = ControlPlane(store, seat)
            plane.take_over()
            yield plane
        finally:
            seat.leave()
    finally:
        store.close()


def _take(seat: WriterSeat, deadline_s: float) -> None:
    while True:
        pause_s = seat.step()
        try:
            seat.lease()
        except WriterBusy:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(min(pause_s, _LONGEST_PAUSE_S))
        else:
            return
