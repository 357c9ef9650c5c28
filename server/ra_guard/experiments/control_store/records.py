"""What goes into the store and comes out of it: frozen values that are whole by themselves.

A value that exists can be stored by every database behind the store: no zero byte in a text (PostgreSQL has none),
no number that JSON lacks, no revision beyond a signed 64-bit integer, no time without a zone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from ra_guard.experiments.control_store.errors import BadEntry
from ra_guard.experiments.model import require_key

MAX_REVISION = 2**63 - 1
MAX_HOLDER_BYTES = 256


@dataclass(frozen=True, slots=True)
class Stored:
    """One revision of an experiment, whole: the definition in force, the state it led to, and the plan as published.

    ``definition`` is TOML, ``state`` JSON and ``sealed`` a SealedPlan; the store keeps all three as they are.
    """

    key: str
    revision: int
    epoch: int
    definition: str
    state: str
    sealed: bytes
    at: datetime

    def __post_init__(self) -> None:
        require_key(self.key)
        require_revision(self.revision)
        _require_count("epoch", self.epoch)
        require_text("definition", self.definition)
        require_text("state", self.state)
        _require_zone(self.at)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: who did what and why, and the numbers it was decided on."""

    key: str
    revision: int
    at: datetime
    who: str
    why: str
    what: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_key(self.key)
        require_revision(self.revision)
        _require_zone(self.at)
        for name in ("who", "why", "what"):
            require_text(name, getattr(self, name))
        for name, number in self.numbers.items():
            require_text("the name of a number", name)
            if not math.isfinite(number):
                raise BadEntry(found=f"{name} = {number}", wanted="a finite number", cure="leave it out")
        numbers = {name: float(self.numbers[name]) for name in sorted(self.numbers)}
        object.__setattr__(self, "numbers", MappingProxyType(numbers))


@dataclass(frozen=True, slots=True)
class WriterLease:
    """The right to write, until another holder takes it. ``term`` rises with every acquisition and is never reused."""

    holder: str
    term: int


def require_revision(revision: int) -> None:
    """Refuses what is no revision of an experiment. Raises BadEntry."""
    _require_count("revision", revision)


def require_holder(holder: str) -> None:
    """Refuses a holder without a name, or with one that the store cannot keep. Raises BadEntry."""
    require_text("holder", holder)
    if not 1 <= len(holder.encode()) <= MAX_HOLDER_BYTES:
        raise BadEntry(
            found=f"holder of {len(holder.encode())} bytes",
            wanted=f"1..{MAX_HOLDER_BYTES}",
            cure="give each process a name of its own",
        )


def require_text(name: str, text: str) -> None:
    """Refuses text that not every database holds. Raises BadEntry."""
    if "\0" in text:
        raise BadEntry(found=f"a zero byte in {name}", wanted="text", cure="remove it")
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise BadEntry(
            found=f"half a character in {name}", wanted="text that UTF-8 can write", cure="remove it"
        ) from cause


def _require_count(name: str, count: int) -> None:
    if not 1 <= count <= MAX_REVISION:
        raise BadEntry(found=f"{name} {count}", wanted=f"1..{MAX_REVISION}", cure="count from 1")


def _require_zone(at: datetime) -> None:
    if at.tzinfo is None:
        raise BadEntry(found=f"the time {at} without a zone", wanted="a time in UTC", cure="use datetime.now(UTC)")
