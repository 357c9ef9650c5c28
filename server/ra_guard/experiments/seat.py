"""The seat of the one writer: takes the store's lease, keeps it, and says when it is lost.

A seat trusts its own clock, not only the store's answers: a lease that could not be renewed for its whole time counts
as lost here, since another holder may have it by then. The clock is read before the store is asked, so the seat ends
no later than the lease. Whatever the seat believes, the store refuses a term that is over.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ra_guard.experiments.control_store import LeaseLost, StoreBusy, StoreGone, WriterLease
from ra_guard.experiments.model import ExperimentError, WriterBusy

DEFAULT_TTL_S = 10.0
"""Longer than the store may take to answer: one slow renewal does not cost the seat."""


class LeaseStore(Protocol):
    """What a seat needs of a store; `control_store.ControlStore` is one."""

    def acquire(self, holder: str, ttl_s: float) -> WriterLease | None: ...
    def renew(self, lease: WriterLease, ttl_s: float) -> WriterLease: ...
    def release(self, lease: WriterLease) -> None: ...
    def writer(self) -> WriterLease | None: ...
