"""Whether an experiment may be launched: every line of its checklist, then the go/no-go criteria.

A line passes, fails, or needs a person. A check that raises or takes too long fails; whatever cannot be told does not
pass, and it is GO only if every criterion holds.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from ra_guard.errors import RaGuardError
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.people import ChecklistLine
from ra_guard.experiments.definition.vocabulary import GoNoGo, Proof, Role
from ra_guard.launch.criteria import lines_of
from ra_guard.launch.ledger import Signature, as_whom, roles_to_sign, signed_as

DRILLED_LINE: Final = "rollback_tested"
"""The line that a rollback drill proves better than a signature."""


class Result(StrEnum):
    """What a line of the checklist comes to."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    NEEDS_A_PERSON = "needs a person"
    """The software cannot tell, and nobody has vouched for it."""


@dataclass(frozen=True)
class Found:
    """What a check found, and the evidence in one line."""

    result: Result
    evidence: str


Check = Callable[[], Found]
"""Measures one line of the checklist. It may raise: that is a failure, with the error as evidence."""


def passed(evidence: str) -> Found:
    """The line holds."""
    return Found(Result.PASS, evidence)


def failed(evidence: str) -> Found:
    """The line does not hold; the evidence says found, wanted and the cure."""
    return Found(Result.FAIL, evidence)


def needs_a_person(evidence: str) -> Found:
    """The software cannot tell."""
    return Found(Result.NEEDS_A_PERSON, evidence)


@dataclass(frozen=True)
class Measured:
    """One line of the checklist, and what was found of it."""

    line: ChecklistLine
    found: Found
    seconds: float

    @property
    def holds(self) -> bool:
        """Only a pass passes."""
        return self.found.result is Result.PASS


@dataclass(frozen=True)
class Criterion:
    """One go/no-go criterion; ``missing`` are the lines on which it fails."""

    criterion: GoNoGo
    missing: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Every line that it rests on passed."""
        return not self.missing


@dataclass(frozen=True)
class Readiness:
    """The whole checklist at one moment, and what it decides."""

    key: str
    revision: int
    epoch: int
    at: datetime
    lines: tuple[Measured, ...]
    criteria: tuple[Criterion, ...]

    @property
    def is_go(self) -> bool:
        """Every criterion holds."""
        return all(each.holds for each in self.criteria)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "key": self.key,
            "revision": self.revision,
            "epoch": self.epoch,
            "at": self.at.isoformat(),
            "decision": "GO" if self.is_go else "NO-GO",
            "criteria": [{**asdict(each), "holds": each.holds} for each in self.criteria],
            "lines": [
                {**each.line.model_dump(mode="json"), **asdict(each.found), "seconds": round(each.seconds, 3)}
                for each in self.lines
            ],
        }


def checklist(
    definition: Definition, epoch: int, checks: Mapping[str, Check], signatures: Mapping[str, Signature], limit_s: float
) -> tuple[Measured, ...]:
    """Every line in the order of the definition; a check that takes longer than ``limit_s`` fails."""
    return tuple(_measured(line, definition, epoch, checks, signatures, limit_s) for line in definition.checklist)


def decide(definition: Definition, lines: Sequence[Measured]) -> tuple[Criterion, ...]:
    """The criteria of the definition, in its order. A criterion that rests on no line does not hold."""
    passing = {each.line.id for each in lines if each.holds}
    criteria = []
    for criterion in definition.launch.criteria:
        needed = lines_of(criterion, definition)
        missing = tuple(line for line in needed if line not in passing)
        criteria.append(Criterion(criterion, missing if needed else ("no line of the checklist",)))
    return tuple(criteria)


def _measured(
    line: ChecklistLine,
    definition: Definition,
    epoch: int,
    checks: Mapping[str, Check],
    signatures: Mapping[str, Signature],
    limit_s: float,
) -> Measured:
    started = time.monotonic()
    is_measured = line.id in checks and (line.proof is not Proof.SIGNATURE or line.id == DRILLED_LINE)
    found = _within(checks[line.id], limit_s) if is_measured else None
    if line.proof is Proof.SIGNATURE and (found is None or found.result is Result.NEEDS_A_PERSON):
        otherwise = f", or {found.evidence}" if found else ""
        found = _signed(line.id, roles_to_sign(definition, line.id), epoch, signatures, otherwise)
    elif line.proof is Proof.CHECK_AND_SIGNATURE and found and found.result is Result.PASS:
        signed = _signed(line.id, roles_to_sign(definition, line.id), epoch, signatures)
        found = Found(signed.result, f"{found.evidence}; {signed.evidence}")
    if found is None:
        found = needs_a_person(f"this release has no check {line.id}; declare proof = 'signature' and have it signed")
    return Measured(line, found, time.monotonic() - started)


def _signed(
    item: str, roles: Sequence[Role], epoch: int, signatures: Mapping[str, Signature], otherwise: str = ""
) -> Found:
    """Passes once it is signed: in every role, or by anybody where there is none."""
    found = {role: signatures.get(signed_as(item, role)) for role in (roles or (None,))}
    told = [
        f"signed{as_whom(role)} by {each.who} on {each.at:%Y-%m-%d}: {one_line(each.why)}"
        for role, each in found.items()
        if each is not None
    ]
    missing = [as_whom(role) for role, each in found.items() if each is None]
    if not missing:
        return passed("; ".join(told))
    return needs_a_person(
        "; ".join((*told, f"nobody has signed it{','.join(missing)} in epoch {epoch}; sign it{otherwise}"))
    )


def _within(check: Check, limit_s: float) -> Found:
    """What a check finds, in a thread of its own: one that hangs is left behind and costs its line."""
    answers: queue.SimpleQueue[Found] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_found(check)), name="check", daemon=True).start()
    try:
        return answers.get(timeout=limit_s)
    except queue.Empty:
        return failed(f"found no answer after {limit_s:g} s; see what hangs, or allow more with --limit-s")


def _found(check: Check) -> Found:
    try:
        found = check()
    except RaGuardError as error:
        return failed(one_line(str(error)))
    except BaseException as error:  # noqa: BLE001 (a panic of the core is no Exception; whatever it is, it is no pass)
        return failed(one_line(f"{type(error).__name__}: {error}"))
    return Found(found.result, one_line(found.evidence))


def counted(number: int, noun: str) -> str:
    """``1 replica``, ``1,200 replicas``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """Text of others in one line."""
    return " ".join(text.split())
