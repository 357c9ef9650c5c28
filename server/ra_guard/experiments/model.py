"""What an experiment is and how it may change: frozen values and pure transitions.

A transition takes the experiment in force and returns the next one, a revision later; where there is nothing to
change it returns the same object, which is how a repeated kill or ramp is answered without a new revision.
No I/O, no clock: the moment of a change comes in as ``at``, who and why stand beside it as an `Author`.

    live, ramp 0 --ramp--> a stage --ramp--> next stage        apply: any time; what changes treatment or analysis
      ^   ^                   |  ^               |                    only while nobody is enrolled, or killed
      |   +------ramp 0-------+--+---------------+
      |                       | kill, roll_back
      +--resume (new epoch)-- killed
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import Annotated, Final

from pydantic import AwareDatetime, Strict, ValidationError

from ra_guard.experiments.allocation import KEY_RULE, MAX_RAMP_BP, is_key, percent
from ra_guard.experiments.definition.diff import differences
from ra_guard.experiments.definition.read import parse_definition
from ra_guard.experiments.definition.table import Count, Positive, Table
from ra_guard.experiments.definition.treatment import Stage
from ra_guard.experiments.definition.vocabulary import Approval
from ra_guard.experiments.definition.whole import Definition
from ra_guard.experiments.errors import (
    AlreadyKilled,
    AlreadyLive,
    ApprovalMissing,
    ApprovalNotNeeded,
    BadKey,
    BadNote,
    KeyChanged,
    NotAStage,
    RampOutOfRange,
    RolledBack,
    SaltInUse,
    StageInForce,
    StageSkipped,
    StateCorrupt,
    UsersEnrolled,
    WhoMissing,
    WhyMissing,
)

MAX_WHO_BYTES = 128
MAX_WHY_BYTES = 512
MAX_WHAT_BYTES = 256
MAX_NUMBERS = 256
MAX_TOLD = 20
"""Fields that a ledger line names; the definitions themselves are kept with their revisions."""

FROZEN_WHILE_ENROLLED = (
    "unit",
    "mode",
    "spaces",
    "feedback_window_s",
    "arms",
    "weights",
    "metrics.primary",
    "sample",
    "analysis",
)
"""What changes treatment or analysis: an epoch compares like with like only if these stay as they are. Stages, gates,
guardrails, triggers and alerts are not among them: safety may be tightened at any time, and the ledger says so."""


class Pace(Enum):
    """How the ramp may move up. Down it may go to any stage."""

    BY_STAGE = "by_stage"
    SKIPPING_STAGES = "skipping_stages"


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for a change, why, and on which numbers; all are kept with the revision."""

    who: str
    why: str
    numbers: Mapping[str, float] = field(default_factory=dict)

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
        require_numbers(self.numbers)


@dataclass(frozen=True, slots=True)
class Experiment:
    """The full state at one revision. An epoch is one analysis: a resume starts a new one with a salt of its own."""

    definition: Definition
    salt: str
    stage_since: datetime
    """When the ramp came to where it stands."""
    revision: int = 1
    epoch: int = 1
    ramp_bp: int = 0
    widest_bp: int = 0
    """The highest ramp of this epoch: above 0, users have seen its treatment and belong to its analysis."""
    killed: bool = False
    rolled_back: bool = False
    """Killed, and the epoch is closed. Implies ``killed``."""
    approved_bp: frozenset[int] = frozenset()
    """Stages that a person has allowed in this epoch."""

    @property
    def key(self) -> str:
        """The experiment's name, which no change touches."""
        return self.definition.key

    @property
    def lease_s(self) -> int:
        """How long a replica may serve treatment after its last contact."""
        return self.definition.lease_s

    def apply(self, definition: Definition) -> "Experiment":
        """Puts another definition in force. Ramp and epoch stay; a stage that changes loses its approval.

        Raises KeyChanged, SaltInUse, UsersEnrolled, StageInForce.
        """
        if definition.key != self.key:
            raise KeyChanged(
                found=f"key {definition.key!r}", wanted=f"{self.key!r}", cure="apply it as an experiment of its own"
            )
        changed = differences(self.definition, definition)
        if not changed:
            return self
        if definition.salt != self.definition.salt and (self.epoch > 1 or self.widest_bp > 0):
            raise SaltInUse(
                found=f"salt {definition.salt!r} in epoch {self.epoch}",
                wanted=f"{self.definition.salt!r}, with which users were drawn first",
                cure="leave it; to draw users anew, kill and resume: the next epoch has a salt of its own",
            )
        if self.widest_bp > 0 and not self.killed:
            self._require_same_treatment(definition)
        if self.ramp_bp and definition.stage(self.ramp_bp) is None:
            raise StageInForce(
                found=f"a definition without the stage {percent(self.ramp_bp)}, on which the ramp stands",
                wanted="a definition that has it",
                cure="ramp to 0 or to another stage, or roll back, then apply",
            )
        return self._next(
            definition=definition,
            salt=definition.salt if self.epoch == 1 else self.salt,
            approved_bp=frozenset(
                stage.ramp_bp
                for stage in definition.stages
                if stage.ramp_bp in self.approved_bp and stage == self.definition.stage(stage.ramp_bp)
            ),
        )

    def ramp(self, ramp_bp: int, pace: Pace, at: datetime) -> "Experiment":
        """Sets the share of units in each arm, in hundredths of a percent, to a stage or 0. No unit changes arms.

        Raises RampOutOfRange, RolledBack, AlreadyKilled, NotAStage, StageSkipped, ApprovalMissing.
        """
        if not 0 <= ramp_bp <= MAX_RAMP_BP:
            raise RampOutOfRange(
                found=f"ramp {percent(ramp_bp)}", wanted="0..50 %", cure="each arm holds at most half of the users"
            )
        self._require_live()
        if ramp_bp:
            self._require_stage(ramp_bp)
        if ramp_bp == self.ramp_bp:
            return self
        climbed = [stage for stage in self.definition.stages if self.ramp_bp < stage.ramp_bp <= ramp_bp]
        if len(climbed) > 1 and pace is Pace.BY_STAGE:
            raise StageSkipped(
                found=f"a ramp from {percent(self.ramp_bp)} to {percent(ramp_bp)}",
                wanted=f"{percent(climbed[0].ramp_bp)}, the next stage",
                cure="ramp to that first, or pass over stages openly with --skip-stages",
            )
        # Skipping over a stage is no way around its approval.
        for stage in climbed:
            if stage.approval is Approval.REQUIRED and stage.ramp_bp not in self.approved_bp:
                raise ApprovalMissing(
                    found=f"stage {percent(stage.ramp_bp)} not approved in epoch {self.epoch}",
                    wanted="an approval",
                    cure=f"ra-guard experiment approve {self.key} {stage.percent:g}%",
                )
        return self._next(ramp_bp=ramp_bp, widest_bp=max(self.widest_bp, ramp_bp), stage_since=at)

    def approve(self, ramp_bp: int) -> "Experiment":
        """Allows the ramp to reach a stage, in this epoch.

        Raises RolledBack, AlreadyKilled, NotAStage, ApprovalNotNeeded.
        """
        self._require_live()
        if self._require_stage(ramp_bp).approval is not Approval.REQUIRED:
            raise ApprovalNotNeeded(
                found=f"stage {percent(ramp_bp)}, which asks for no approval",
                wanted="a stage with approval = 'required'",
                cure="ramp to it",
            )
        return self if ramp_bp in self.approved_bp else self._next(approved_bp=self.approved_bp | {ramp_bp})

    def kill(self) -> "Experiment":
        """Serves the baseline to everyone. Ramp and salt stay, so that the ledger shows what was running."""
        return self if self.killed else self._next(killed=True)

    def roll_back(self, at: datetime) -> "Experiment":
        """A kill that also closes the epoch and returns the ramp to 0. Only a resume leads on."""
        if self.rolled_back:
            return self
        return self._next(killed=True, rolled_back=True, ramp_bp=0, stage_since=at)

    def resume(self, at: datetime) -> "Experiment":
        """Ends a kill or a rollback with a new epoch and salt, at ramp 0, with no approvals. Users are drawn anew.

        Raises AlreadyLive.
        """
        if not self.killed:
            raise AlreadyLive(
                found=f"{self.key} live at revision {self.revision}",
                wanted="a killed experiment",
                cure="nothing to resume",
            )
        epoch = self.epoch + 1
        return self._next(
            killed=False,
            rolled_back=False,
            epoch=epoch,
            salt=f"epoch-{epoch}",
            ramp_bp=0,
            widest_bp=0,
            approved_bp=frozenset(),
            stage_since=at,
        )

    def _next(self, **changed: object) -> "Experiment":
        return replace(self, revision=self.revision + 1, **changed)  # type: ignore[arg-type]

    def _require_live(self) -> None:
        if self.rolled_back:
            raise RolledBack(
                found=f"{self.key} rolled back in epoch {self.epoch}", wanted="an open epoch", cure="resume it first"
            )
        if self.killed:
            raise AlreadyKilled(
                found=f"{self.key} killed at revision {self.revision}",
                wanted="a live experiment",
                cure="resume it first",
            )

    def _require_stage(self, ramp_bp: int) -> Stage:
        stage = self.definition.stage(ramp_bp)
        if stage is None:
            stages = ", ".join(percent(stage.ramp_bp) for stage in self.definition.stages)
            raise NotAStage(
                found=f"{percent(ramp_bp)}",
                wanted=f"a stage of the definition: {stages}",
                cure="choose one, or declare it and apply the definition",
            )
        return stage

    def _require_same_treatment(self, definition: Definition) -> None:
        changed = [
            word for word in FROZEN_WHILE_ENROLLED if attrgetter(word)(definition) != attrgetter(word)(self.definition)
        ]
        if changed:
            raise UsersEnrolled(
                found=f"other {', '.join(changed)} while epoch {self.epoch} has enrolled users",
                wanted="the same treatment and analysis for all of an epoch",
                cure="kill, apply, resume: a new epoch starts",
            )


def require_key(key: str) -> None:
    """Refuses a key that the wire does not allow or that a folder cannot safely carry. Raises BadKey."""
    if not is_key(key):
        raise BadKey(found=f"key {key!r}", wanted=KEY_RULE, cure="choose another key")


def require_note(what: str, numbers: Mapping[str, float]) -> None:
    """Refuses a ledger line that says nothing, or too much. Raises BadNote."""
    if not 1 <= len(what.strip().encode()) <= MAX_WHAT_BYTES:
        raise BadNote(
            found=f"what of {len(what.encode())} bytes", wanted=f"1..{MAX_WHAT_BYTES}", cure="say what happened"
        )
    require_numbers(numbers)


def require_numbers(numbers: Mapping[str, float]) -> None:
    """Refuses numbers that a ledger line cannot keep. Raises BadNote."""
    if len(numbers) > MAX_NUMBERS:
        raise BadNote(found=f"{len(numbers)} numbers", wanted=f"at most {MAX_NUMBERS}", cure="keep what was decided on")
    for name, number in numbers.items():
        if not name.strip() or not math.isfinite(number):
            raise BadNote(found=f"{name!r} = {number}", wanted="a name and a finite number", cure="leave it out")


def first(definition: Definition, at: datetime) -> Experiment:
    """A new experiment at revision 1 of epoch 1, ramp 0: nobody is treated."""
    return Experiment(definition=definition, salt=definition.salt, stage_since=at)


# What the store keeps


class _State(Table):
    revision: Positive
    epoch: Positive
    salt: str
    ramp_bp: Count
    widest_bp: Count
    killed: Annotated[bool, Strict()]
    rolled_back: Annotated[bool, Strict()]
    approved_bp: tuple[Count, ...]
    stage_since: AwareDatetime


def state_of(experiment: Experiment) -> dict[str, object]:
    """All of an experiment but its definition, as plain JSON values."""
    return {
        "revision": experiment.revision,
        "epoch": experiment.epoch,
        "salt": experiment.salt,
        "ramp_bp": experiment.ramp_bp,
        "widest_bp": experiment.widest_bp,
        "killed": experiment.killed,
        "rolled_back": experiment.rolled_back,
        "approved_bp": sorted(experiment.approved_bp),
        "stage_since": experiment.stage_since.isoformat(),
    }


def experiment_from(definition_text: str, state: Mapping[str, object]) -> Experiment:
    """The experiment whose definition was this text and whose `state_of` is ``state``.

    Raises StateCorrupt, and what `parse_definition` raises.
    """
    definition = parse_definition(definition_text)
    try:
        kept = dict(_State.model_validate(state))
    except ValidationError as cause:
        raise StateCorrupt(
            found=f"a state of {definition.key} with {cause.error_count()} mistakes ({cause.errors()[0]['msg']})",
            wanted="a state as this version writes it",
            cure="restore the store from a copy",
        ) from cause
    experiment = Experiment(definition=definition, **{**kept, "approved_bp": frozenset(kept["approved_bp"])})
    if wrong := _impossible(experiment):
        raise StateCorrupt(
            found=f"a state of {definition.key} with {wrong}",
            wanted="a state that transitions lead to",
            cure="restore the store from a copy",
        )
    return experiment


def _impossible(experiment: Experiment) -> str | None:
    """What no transition leads to, in words."""
    stages = {stage.ramp_bp for stage in experiment.definition.stages}
    if experiment.ramp_bp not in {0, *stages}:
        return f"ramp_bp = {experiment.ramp_bp}, no stage of its definition"
    if experiment.ramp_bp > experiment.widest_bp:
        return f"ramp_bp = {experiment.ramp_bp} above widest_bp = {experiment.widest_bp}"
    if experiment.rolled_back and not (experiment.killed and experiment.ramp_bp == 0):
        return "rolled_back, and not killed at ramp 0"
    if not experiment.approved_bp <= stages:
        return f"approved_bp = {sorted(experiment.approved_bp)}, not all of them stages"
    return None


# What the ledger says

ROLLED_BACK: Final = "roll back"
KILLED: Final = "kill"
"""What a line begins with that ended an epoch."""


def describe(before: Experiment | None, after: Experiment) -> str:
    """What changed, in the words that the ledger keeps."""
    if before is None:
        return f"create at ramp {percent(after.ramp_bp)}{', killed' if after.killed else ''}"
    if after.definition != before.definition:
        changed = differences(before.definition, after.definition)
        more = f"; and {len(changed) - MAX_TOLD} more" if len(changed) > MAX_TOLD else ""
        return f"apply: {'; '.join(changed[:MAX_TOLD])}{more}"
    if after.epoch != before.epoch:
        return f"resume as epoch {after.epoch}, salt {after.salt}, ramp {percent(after.ramp_bp)}"
    if after.rolled_back != before.rolled_back:
        return f"{ROLLED_BACK} from ramp {percent(before.ramp_bp)}, close epoch {before.epoch}"
    if after.killed != before.killed:
        return f"{KILLED} at ramp {percent(before.ramp_bp)}"
    told = []
    if approved := after.approved_bp - before.approved_bp:
        told.append(f"approve {', '.join(percent(ramp_bp) for ramp_bp in sorted(approved))}")
    if after.ramp_bp != before.ramp_bp:
        told.append(f"ramp {percent(before.ramp_bp)} to {percent(after.ramp_bp)}")
    between = (stage.ramp_bp for stage in after.definition.stages if before.ramp_bp < stage.ramp_bp < after.ramp_bp)
    if skipped := [percent(ramp_bp) for ramp_bp in between]:
        told.append(f"skipping {', '.join(skipped)}")
    return ", ".join(told)


def numbers_of(before: Experiment | None, after: Experiment, now: datetime) -> dict[str, float]:
    """The numbers of a change, for the ledger: where the ramp stood and for how long, and where it stands."""
    numbers = {"epoch": float(after.epoch), "ramp_percent": after.ramp_bp / 100}
    if before is not None:
        numbers["ramp_percent_before"] = before.ramp_bp / 100
        numbers["held_s"] = max(0.0, (now - before.stage_since).total_seconds())
    return numbers
