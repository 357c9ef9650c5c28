"""What an experiment is and how it may change: frozen values and pure transitions.

A transition takes the experiment in force and returns the next one, a revision later; where there is nothing to
change it returns the same object, which is how a repeated kill or ramp is answered without a new revision.
No I/O, no clock: who, why and when come from outside as an `Author` and a `Change`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType

from ra_guard.errors import Code, RaGuardError

BUCKETS = 10_000
REPORT_EVERY_S = 1.0
"""Replicas report at least this often, so a report may be this much older than the contact it stands for."""
CONTROL_ORIGIN = 5_000
"""Treatment grows from bucket 0, control from here, so that no ramp moves a unit from one arm to the other."""
MAX_RAMP_BP = 5_000
MAX_LEASE_S = 3_600
MAX_WHO_BYTES = 128
MAX_WHY_BYTES = 512

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SPACE = re.compile(r"[0-9a-f]{32}")
_RESERVED_SALT = re.compile(r"epoch-\d+")


class ExperimentError(RaGuardError):
    """Base of what the control path refuses. Carries the three parts of its message."""

    def __init__(self, *, found: str, wanted: str, cure: str) -> None:
        super().__init__(f"found {found}, wanted {wanted}; {cure}")
        self.found = found
        self.wanted = wanted
        self.cure = cure


class InvalidInput(ExperimentError):
    """A caller's mistake, whatever the experiment's state."""

    status_code = Code.INVALID_ARGUMENT


class BadKey(InvalidInput):
    """An experiment key that is not 1..64 of ``[A-Za-z0-9_.-]``, or that would name another folder."""


class BadDefinition(InvalidInput):
    """A definition with a value of the wrong type or out of bounds."""


class UnknownOption(InvalidInput):
    """A definition with a word that means nothing here."""


class RampOutOfRange(InvalidInput):
    """A ramp outside 0..50 %."""


class WhoMissing(InvalidInput):
    """A change without a name of 1..128 bytes behind it."""


class WhyMissing(InvalidInput):
    """A change without a reason of 1..512 bytes."""


class BadReplica(InvalidInput):
    """A replica's name that is not 1..64 of ``[A-Za-z0-9_.-]``, or begins with a dot."""


class BadUnit(InvalidInput):
    """A unit of assignment that is not 1..128 bytes."""


class PlanRefused(InvalidInput):
    """The core refused the plan that a change would publish; nothing was recorded."""


class UnknownExperiment(ExperimentError):
    """No experiment of that key is stored."""

    status_code = Code.NOT_FOUND


class AlreadyKilled(ExperimentError):
    """A ramp of a killed experiment: its users would change arms' sizes without anyone being treated."""

    status_code = Code.FAILED_PRECONDITION


class AlreadyLive(ExperimentError):
    """A resume of an experiment that was not killed."""

    status_code = Code.FAILED_PRECONDITION


class StaleRevision(ExperimentError):
    """The experiment moved on since the caller read it."""

    status_code = Code.ABORTED


class WriterBusy(ExperimentError):
    """Another writer held the experiment's lock for too long."""

    status_code = Code.ABORTED


class HistoryCorrupt(ExperimentError):
    """A history line that cannot be read, other than a torn last one."""

    status_code = Code.DATA_LOSS


class PlanAhead(ExperimentError):
    """The published plan is newer than the history: the history lost lines."""

    status_code = Code.DATA_LOSS


class PlanUnreadable(ExperimentError):
    """The plan file exists and cannot be read."""

    status_code = Code.INTERNAL


class Arm(Enum):
    """Where the hash alone puts a unit at one ramp."""

    TREATMENT = "treatment"
    CONTROL = "control"
    NOT_ENROLLED = "not_enrolled"


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the four score terms, each finite and 0 or more; see rust_core/core/src/score/SCORE.md."""

    cosine: float
    consistency: float
    contradiction: float
    prior: float

    def __post_init__(self) -> None:
        for term in self.__slots__:
            weight = getattr(self, term)
            if not math.isfinite(weight) or weight < 0:
                raise BadDefinition(
                    found=f"weight {term} = {weight}",
                    wanted="a finite number of 0 or more",
                    cure="correct it in the definition",
                )


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for a change and why; both are kept with the revision."""

    who: str
    why: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.who.strip().encode()) <= MAX_WHO_BYTES:
            raise WhoMissing(
                found=f"who of {len(self.who.encode())} bytes",
                wanted=f"1..{MAX_WHO_BYTES}",
                cure="say who asks for the change",
            )
        if not 1 <= len(self.why.strip().encode()) <= MAX_WHY_BYTES:
            raise WhyMissing(
                found=f"why of {len(self.why.encode())} bytes",
                wanted=f"1..{MAX_WHY_BYTES}",
                cure="say why the change is made",
            )


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history."""

    revision: int
    at: datetime
    who: str
    why: str
    what: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """The full state at one revision. An epoch is one analysis: a resume starts a new one with a salt of its own."""

    key: str
    default_weights: Weights
    domain_weights: Mapping[str, Weights] = field(default_factory=dict)
    spaces: tuple[str, ...] = ()
    revision: int = 1
    epoch: int = 1
    salt: str = ""
    ramp_bp: int = 0
    killed: bool = False
    lease_s: int = 60

    def __post_init__(self) -> None:
        require_key(self.key)
        _require_ramp(self.ramp_bp)
        if not 1 <= self.lease_s <= MAX_LEASE_S:
            raise BadDefinition(
                found=f"lease_s = {self.lease_s}", wanted=f"1..{MAX_LEASE_S}", cure="correct it in the definition"
            )
        if self.epoch == 1 and _RESERVED_SALT.fullmatch(self.salt):
            raise BadDefinition(
                found=f"salt {self.salt!r}",
                wanted="anything but epoch-N, which later epochs carry",
                cure="choose another salt or none",
            )
        for space in self.spaces:
            if not _SPACE.fullmatch(space):
                raise BadDefinition(
                    found=f"space {space!r}",
                    wanted="32 lower-case hex digits",
                    cure="copy it from `ra-guard models list`",
                )
        object.__setattr__(self, "domain_weights", MappingProxyType(dict(sorted(self.domain_weights.items()))))

    def ramp(self, ramp_bp: int) -> "Experiment":
        """Sets the share of units in each arm, in hundredths of a percent. Up or down, no unit changes arms.

        Raises RampOutOfRange, AlreadyKilled.
        """
        _require_ramp(ramp_bp)
        if self.killed:
            raise AlreadyKilled(
                found=f"{self.key} killed at revision {self.revision}",
                wanted="a live experiment",
                cure="resume it first",
            )
        return self if ramp_bp == self.ramp_bp else self._next(ramp_bp=ramp_bp)

    def kill(self) -> "Experiment":
        """Serves the baseline to everyone. Ramp and salt stay, so that the history shows what was running."""
        return self if self.killed else self._next(killed=True)

    def resume(self) -> "Experiment":
        """Ends a kill with a new epoch and a new salt, at ramp 0: units are drawn anew, nobody is treated until a ramp.

        Raises AlreadyLive.
        """
        if not self.killed:
            raise AlreadyLive(
                found=f"{self.key} live at revision {self.revision}",
                wanted="a killed experiment",
                cure="nothing to resume",
            )
        epoch = self.epoch + 1
        return self._next(killed=False, epoch=epoch, salt=f"epoch-{epoch}", ramp_bp=0)

    def _next(self, **changed: object) -> "Experiment":
        return replace(self, revision=self.revision + 1, **changed)  # type: ignore[arg-type]


def require_key(key: str) -> None:
    """Refuses a key that the wire does not allow or that a folder cannot safely carry. Raises BadKey."""
    if not _KEY.fullmatch(key) or key in {".", ".."}:
        raise BadKey(found=f"key {key!r}", wanted="1..64 of [A-Za-z0-9_.-]", cure="choose another key")


def _require_ramp(ramp_bp: int) -> None:
    if not 0 <= ramp_bp <= MAX_RAMP_BP:
        raise RampOutOfRange(
            found=f"ramp {percent(ramp_bp)}", wanted="0..50 %", cure="each arm holds at most half of the users"
        )


def percent(ramp_bp: int) -> str:
    """``125`` as ``1.25 %``."""
    return f"{ramp_bp / 100:g} %"


def describe(before: Experiment | None, after: Experiment) -> str:
    """What changed, in the words that the history keeps."""
    if before is None:
        return f"create at ramp {percent(after.ramp_bp)}{', killed' if after.killed else ''}"
    if after.epoch != before.epoch:
        return f"resume as epoch {after.epoch}, salt {after.salt}, ramp {percent(after.ramp_bp)}"
    if after.killed != before.killed:
        return "kill"
    return f"ramp {percent(before.ramp_bp)} to {percent(after.ramp_bp)}"


def hash_seed(key: str, salt: str) -> str:
    """The seed of the assignment hash: the key, or ``key:salt`` when the salt is not empty."""
    return f"{key}:{salt}" if salt else key


def arm_of(bucket: int, ramp_bp: int) -> Arm:
    """The arm of a bucket (0..9999): treatment is [0, r), control [5000, 5000 + r)."""
    if bucket < ramp_bp:
        return Arm.TREATMENT
    if CONTROL_ORIGIN <= bucket < CONTROL_ORIGIN + ramp_bp:
        return Arm.CONTROL
    return Arm.NOT_ENROLLED


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
