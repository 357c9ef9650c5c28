"""The definition: every table of it, and what must hold between them."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, Strict, field_validator, model_validator

from ra_guard.experiments.allocation import KEY_RULE, MAX_RAMP_BP, is_key
from ra_guard.experiments.definition.analysis import Analysis, Decision, Metrics, Sample
from ra_guard.experiments.definition.people import (
    ChecklistLine,
    Dashboard,
    DecisionMaker,
    LaunchDecision,
    Report,
    Risk,
)
from ra_guard.experiments.definition.safety import Alert, EscalationLevel, Rollback, Trigger
from ra_guard.experiments.definition.table import Mistake, Table, Text
from ra_guard.experiments.definition.treatment import Arms, Stage, WeightsByDomain
from ra_guard.experiments.definition.vocabulary import Mode, Unit

FORMAT = 1
MAX_LEASE_S = 3_600
MAX_SALT_BYTES = 64
RESERVED_SALT = re.compile(r"epoch-\d+")

Space = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Definition(Table):
    """All that people decide about an experiment before it runs."""

    format: Literal[1]
    key: str
    description: Text
    unit: Unit
    mode: Mode
    salt: str
    lease_s: Annotated[int, Strict(), Field(ge=1, le=MAX_LEASE_S)]
    spaces: tuple[Space, ...]
    feedback_window_s: Annotated[int, Strict(), Field(ge=1, le=90 * 86_400)]
    retention_days: Annotated[int, Strict(), Field(ge=1, le=3650)]
    launch_date: Annotated[date, Strict()] | None = None
    arms: Arms
    weights: WeightsByDomain
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    metrics: Metrics
    sample: Sample
    analysis: Analysis
    decision: Decision
    triggers: Annotated[tuple[Trigger, ...], Field(min_length=1)]
    rollback: Rollback
    alerts: tuple[Alert, ...]
    escalation: tuple[EscalationLevel, ...]
    dashboard: Dashboard
    reports: tuple[Report, ...]
    decision_makers: Annotated[tuple[DecisionMaker, ...], Field(min_length=1)]
    launch: LaunchDecision
    checklist: tuple[ChecklistLine, ...]
    risks: tuple[Risk, ...]

    _text: str = PrivateAttr()

    @classmethod
    def of(cls, table: Mapping[str, object], text: str) -> "Definition":
        """The definition of a TOML table; ``text`` is what the table was read from. Raises ValidationError."""
        definition = cls.model_validate(table)
        definition._text = text
        return definition

    @property
    def text(self) -> str:
        """The TOML that it was read from, comments and all."""
        return self._text

    @field_validator("key")
    @classmethod
    def _key_of_the_wire(cls, key: str) -> str:
        if not is_key(key):
            raise Mistake(found=repr(key), wanted=KEY_RULE, cure="choose another key")
        return key

    @field_validator("salt")
    @classmethod
    def _salt_of_a_first_epoch(cls, salt: str) -> str:
        if RESERVED_SALT.fullmatch(salt):
            raise Mistake(
                found=repr(salt),
                wanted="anything but epoch-N, which later epochs carry",
                cure="choose another salt or none",
            )
        if len(salt.encode()) > MAX_SALT_BYTES:
            raise Mistake(
                found=f"{len(salt.encode())} bytes", wanted=f"at most {MAX_SALT_BYTES}", cure="choose a shorter one"
            )
        return salt

    @field_validator("stages")
    @classmethod
    def _ascending(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        for stage in stages:
            if abs(stage.percent * 100 - stage.ramp_bp) > 1e-6 or stage.ramp_bp < 1:
                raise Mistake(found=f"{stage.percent:g} %", wanted="0.01 or more in steps of 0.01", cure="round it")
            if stage.ramp_bp > MAX_RAMP_BP:
                raise Mistake(
                    found=f"{stage.percent:g} % in each arm",
                    wanted=f"at most {MAX_RAMP_BP / 100:g} %, or the arms overlap",
                    cure="lower it",
                )
        for before, after in pairwise(stages):
            if after.ramp_bp <= before.ramp_bp:
                raise Mistake(
                    found=f"{after.percent:g} % after {before.percent:g} %",
                    wanted="stages that ascend",
                    cure="order them; a ramp down needs no stage of its own",
                )
        return stages

    @model_validator(mode="after")
    def _only_the_last_stage_lasts(self) -> "Definition":
        *held, last = self.stages
        if last.hold_hours is not None or any(stage.hold_hours is None for stage in held):
            raise Mistake(
                found="stages with hold_hours "
                + ", ".join("absent" if stage.hold_hours is None else str(stage.hold_hours) for stage in self.stages),
                wanted="hold_hours at every stage but the last",
                cure="the last stage is held until the analysis ends",
            )
        return self

    @model_validator(mode="after")
    def _the_ramp_ends_before_the_analysis(self) -> "Definition":
        ramp_hours = sum(stage.hold_hours or 0 for stage in self.stages)
        if ramp_hours >= 24 * self.analysis.end_day:
            raise Mistake(
                found=f"{ramp_hours} hours of ramp and an analysis that ends on day {self.analysis.end_day}",
                wanted="time at the last stage",
                cure="hold the stages for less, or end later",
            )
        return self

    @model_validator(mode="after")
    def _alerts_climb_a_path_that_exists(self) -> "Definition":
        levels = [step.level for step in self.escalation]
        if levels != list(range(1, len(levels) + 1)):
            raise Mistake(
                found=f"escalation levels {', '.join(map(str, levels))}",
                wanted="1, 2, 3, ... in this order",
                cure="number them so",
            )
        for number, alert in enumerate(self.alerts):
            if alert.escalates_to_level > len(levels):
                raise Mistake(
                    found=f"alerts[{number}].escalates_to_level = {alert.escalates_to_level}",
                    wanted=f"at most {len(levels)}, the last level of the escalation path",
                    cure="declare the level, or stop below it",
                )
        return self

    @model_validator(mode="after")
    def _checklist_lines_have_names_of_their_own(self) -> "Definition":
        names = Counter(line.id for line in self.checklist)
        if twice := [name for name, count in names.items() if count > 1]:
            raise Mistake(
                found=f"checklist id {twice[0]!r} twice", wanted="one line for each id", cure="rename one of them"
            )
        return self

    def stage(self, ramp_bp: int) -> Stage | None:
        """The stage of exactly this share."""
        return next((stage for stage in self.stages if stage.ramp_bp == ramp_bp), None)
