"""What the ledger says of a launch: who signed which line of the checklist, and how the last rollback drill went.

A signature holds for the epoch in which it was given. It speaks of the world around the experiment (a rota, a review),
which another revision of the definition does not change; a new epoch means that the last one was stopped, and then
people are to look again. A drill is the exception: it begins a new epoch without having enrolled anybody, so what was
signed before it still holds. The stakeholders' approval takes a signature in the role of each decision maker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.people import ChecklistLine
from ra_guard.experiments.definition.vocabulary import Proof, Role
from ra_guard.launch.errors import NotSigned, WrongRole

SIGNED: Final = "signed "
WITHDRAWN: Final = "withdrew the signature of "
APPROVED_LINE: Final = "stakeholders_approved"
"""The line that every decision maker signs."""
DRILLED: Final = "rollback drill"
EPOCH: Final = "epoch"
EPOCH_BEFORE: Final = "epoch_before"
KILL_S: Final = "kill_s"
RESUME_S: Final = "resume_s"
REPLICAS: Final = "replicas"
WAITING: Final = "waiting"
SOFTWARE: Final = "ra-guard "
"""How the names of what acts by itself begin: nothing that software writes is a signature."""


@dataclass(frozen=True)
class Signature:
    """A line of the checklist that a person vouches for."""

    item: str
    """As `signed_as` has it."""
    who: str
    why: str
    at: datetime


@dataclass(frozen=True)
class Drill:
    """A rollback that was tried at ramp 0: kill, every replica heard, resume."""

    at: datetime
    who: str
    kill_s: float
    """From the order to the last replica."""
    resume_s: float
    replicas: int
    """That took the kill up."""
    waiting: int
    """That did not, and still had a lease."""
    epoch: int
    """That it began."""


def signed_as(item: str, role: str | None) -> str:
    """What a signature is put under: ``legal_reviewed``, ``stakeholders_approved as product_manager``."""
    return f"{item}{as_whom(role)}"


def as_whom(role: str | None) -> str:
    """`` as product_manager``; nothing without a role."""
    return "" if role is None else f" as {role}"


def roles_to_sign(definition: Definition, item: str) -> tuple[Role, ...]:
    """In which roles a line is to be signed, each once; none where anybody may sign it."""
    return tuple(dict.fromkeys(each.role for each in definition.decision_makers)) if item == APPROVED_LINE else ()


def signed(item: str) -> str:
    """What the ledger says of a signature."""
    return f"{SIGNED}{item}"


def withdrawn(item: str) -> str:
    """What the ledger says of a signature that is taken back."""
    return f"{WITHDRAWN}{item}"


def signable(definition: Definition) -> tuple[str, ...]:
    """The lines that take a signature."""
    return tuple(line.id for line in definition.checklist if line.proof is not Proof.CHECK)


def require_signable(definition: Definition, item: str, role: str | None) -> ChecklistLine:
    """The line that a person may sign in a role, or in none.

    Raises NotSigned for a line that is not there, or that the software proves, and WrongRole.
    """
    found = next((line for line in definition.checklist if line.id == item), None)
    to_sign = ", ".join(signable(definition))
    if found is None:
        raise NotSigned(found=f"no line {item!r} in the checklist", wanted=f"one of {to_sign}", cure="check the name")
    if found.proof is Proof.CHECK:
        raise NotSigned(
            found=f"{item}, which the software proves",
            wanted=f"one of {to_sign}",
            cure=f"see ra-guard experiment readiness {definition.key} for what it finds",
        )
    roles = roles_to_sign(definition, item)
    if role not in (roles or (None,)):
        raise WrongRole(
            found=f"{item} signed {'without a role' if role is None else f'as {role!r}'}",
            wanted=f"one of {', '.join(roles)}" if roles else "no role",
            cure="say with --as as which decision maker" if roles else "leave out --as",
        )
    return found


def signatures(ledger: Sequence[Entry], epoch: int) -> Mapping[str, Signature]:
    """By what they are put under (`signed_as`), those that hold in an epoch. ``ledger`` is oldest first."""
    epochs = _joined_by_drills(ledger, epoch)
    found: dict[str, Signature] = {}
    for entry in ledger:
        if entry.numbers.get(EPOCH) not in epochs or entry.who.startswith(SOFTWARE):
            continue
        if entry.what.startswith(SIGNED):
            item = entry.what.removeprefix(SIGNED)
            found[item] = Signature(item, entry.who, entry.why, entry.at)
        elif entry.what.startswith(WITHDRAWN):
            found.pop(entry.what.removeprefix(WITHDRAWN), None)
    return found


def latest_drill(ledger: Sequence[Entry]) -> Drill | None:
    """The last drill that the ledger has; None without one."""
    entry = next((entry for entry in reversed(ledger) if entry.what == DRILLED), None)
    if entry is None:
        return None
    numbers = entry.numbers
    return Drill(
        at=entry.at,
        who=entry.who,
        kill_s=numbers[KILL_S],
        resume_s=numbers[RESUME_S],
        replicas=int(numbers[REPLICAS]),
        waiting=int(numbers[WAITING]),
        epoch=int(numbers[EPOCH]),
    )


def _joined_by_drills(ledger: Sequence[Entry], epoch: int) -> set[int]:
    """An epoch, and those before it from which nothing but drills led to it."""
    joined = {epoch}
    for entry in reversed(ledger):
        if entry.what == DRILLED and entry.numbers[EPOCH] == min(joined):
            joined.add(int(entry.numbers[EPOCH_BEFORE]))
    return joined
