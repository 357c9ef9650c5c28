"""The deployment package: all that people need to launch an experiment, from its definition alone.

Nothing in it is typed in twice: dates follow from the launch date, power from the sample, commands from the key, the
words of bounds from the bounds. What the definition does not say is not in it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Alarm, Requirement
from ra_guard.experiments.definition.words import evidence_in_words, in_words, spoken
from ra_guard.launch.criteria import lines_of
from ra_guard.launch.errors import NoLaunchDate
from ra_guard.launch.ledger import APPROVED_LINE, Drill, signable
from ra_guard.launch.timeline import Timeline, timeline
from ra_guard.logs.durable import appearing
from ra_guard.stats.power import minimum_detectable_effect, power_of, sample_size

FORMAT: Final = 1
"""Of the JSON: it rises when a key is renamed or goes."""


@dataclass(frozen=True)
class Origin:
    """Where the definition comes from."""

    place: str
    """A file, or the addresses of a control plane."""
    revision: int | None
    """In force there; None for a file."""


@dataclass(frozen=True)
class Power:
    """What the planned sample can show, at one look; planned looks need slightly more users."""

    alpha: float
    """Two-sided, from the confidence of the primary metric."""
    minimum_detectable_points: float
    """With the planned users and power."""
    users_per_arm_for_expected: int
    users_per_arm_for_success: int
    """For an effect as large as the success threshold."""
    power_percent_for_expected: float
    power_percent_for_success: float


@dataclass(frozen=True)
class Step:
    """One command of a procedure, and what it does."""

    command: str
    does: str


@dataclass(frozen=True)
class Package:
    """One experiment before its launch."""

    definition: Definition
    origin: Origin
    timeline: Timeline
    power: Power
    rollback: tuple[Step, ...]
    """In order."""
    last_drill: Drill | None
    """None: the ledger has none, or was not asked."""
    approvals: tuple[Step, ...]
    """One by each decision maker."""
    written_at: datetime

    @property
    def deployment_id(self) -> str:
        """The key and the day of the launch."""
        return f"{self.definition.key}_{self.timeline.launch:%Y%m%d}"


@dataclass(frozen=True)
class Written:
    """The two files of a package."""

    data: Path
    pages: Path


def assemble(
    definition: Definition, launch: date | None, origin: Origin, last_drill: Drill | None, now: datetime
) -> Package:
    """The package for a launch on a date; the definition's own where None is given.

    Raises NoLaunchDate, BeyondTheCalendar, and StatsError for a sample that no power can be stated for.
    """
    day = launch or definition.launch_date
    if day is None:
        raise NoLaunchDate(
            found=f"{definition.key} without a launch_date",
            wanted="the day of the launch",
            cure="say --launch-date YYYY-MM-DD, or put launch_date into the definition",
        )
    return Package(
        definition=definition,
        origin=origin,
        timeline=timeline(definition, day),
        power=planned_power(definition),
        rollback=rollback_steps(definition),
        last_drill=last_drill,
        approvals=approval_steps(definition),
        written_at=now,
    )


def planned_power(definition: Definition) -> Power:
    """What the sample of the definition can show."""
    sample, primary = definition.sample, definition.metrics.primary
    alpha = round(1 - primary.confidence_percent / 100, 12)
    users, deviation, power = sample.users_per_arm, sample.sd_points, sample.power_percent / 100

    def needed(points: float) -> int:
        return sample_size(points, deviation=deviation, power=power, alpha=alpha)

    def power_percent(points: float) -> float:
        return 100 * power_of(points, users, users, deviation=deviation, alpha=alpha)

    return Power(
        alpha=alpha,
        minimum_detectable_points=minimum_detectable_effect(
            users, users, deviation=deviation, power=power, alpha=alpha
        ),
        users_per_arm_for_expected=needed(primary.expected_points),
        users_per_arm_for_success=needed(primary.success_points),
        power_percent_for_expected=power_percent(primary.expected_points),
        power_percent_for_success=power_percent(primary.success_points),
    )


def rollback_steps(definition: Definition) -> tuple[Step, ...]:
    """How a person rolls back, and how the experiment goes on afterwards."""
    key = definition.key
    return (
        Step(
            f'ra-guard experiment kill {key} --why "..."',
            "Serves the baseline to everyone; returns when every replica has acknowledged or lost its lease.",
        ),
        Step(f"ra-guard experiment status {key}", "Shows every replica, what it holds, and how long the kill took."),
        Step(
            f'ra-guard experiment rollback {key} --why "..."',
            "Closes the epoch and returns the ramp to 0 %: its analysis is over.",
        ),
        Step(
            f'ra-guard experiment resume {key} --why "..."',
            "Once the cause is mended: a new epoch at ramp 0 %, users drawn anew, stages to be approved again.",
        ),
    )


def approval_steps(definition: Definition) -> tuple[Step, ...]:
    """How each decision maker approves of the launch; none where the checklist does not ask for it."""
    return tuple(
        Step(
            f'ra-guard experiment sign {definition.key} {APPROVED_LINE} --as {each.role.value} --why "..."',
            f"The {spoken(each.role)} approves: {spoken(each.approves)}.",
        )
        for each in definition.decision_makers
        if APPROVED_LINE in signable(definition)
    )


def write(package: Package, pages: str, folder: Path) -> Written:
    """Puts both files in place, each as a whole or not at all."""
    stem = f"{package.deployment_id}_deployment_package"
    written = Written(folder / f"{stem}.json", folder / f"{stem}.md")
    for path, text in ((written.data, as_json(package)), (written.pages, pages.encode())):
        with appearing(path) as temporary:
            temporary.write_bytes(text)
    return written


def as_json(package: Package) -> bytes:
    """The package as JSON, indented; its keys are those of `plain`."""
    return orjson.dumps(plain(package), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def plain(package: Package) -> dict[str, Any]:
    """The package as plain values. Dates and times are ISO 8601, a missing value is null."""
    definition = package.definition
    whole = definition.model_dump(mode="json")
    return {
        "format": FORMAT,
        "deployment_id": package.deployment_id,
        "written_at": package.written_at,
        "origin": asdict(package.origin),
        "experiment": {word: whole[word] for word in ("key", "description", "unit", "mode", "arms")},
        "timeline": asdict(package.timeline),
        "stages": [
            {**line, "gates": _told(stage.gates, line["gates"])}
            for stage, line in zip(definition.stages, whole["stages"], strict=True)
        ],
        "sample": {**whole["sample"], **asdict(package.power)},
        "success": whole["metrics"]["primary"],
        "analysis": whole["analysis"],
        "decision": whole["decision"],
        "guardrails": _told(definition.metrics.guardrails, whole["metrics"]["guardrails"]),
        "indicators": whole["metrics"]["indicators"],
        "rollback": {
            "triggers": _told(definition.triggers, whole["triggers"]),
            "procedure": [asdict(step) for step in package.rollback],
            **whole["rollback"],
            "last_drill": None if package.last_drill is None else asdict(package.last_drill),
        },
        "alerts": _told(definition.alerts, whole["alerts"]),
        "escalation": whole["escalation"],
        "communication": {"dashboard": whole["dashboard"], "reports": whole["reports"]},
        "risks": whole["risks"],
        "checklist": whole["checklist"],
        "decision_makers": whole["decision_makers"],
        "go_no_go": {
            "decided_by": whole["launch"]["decided_by"],
            "decided_on": package.timeline.go_no_go,
            "criteria": [
                {"criterion": criterion.value, "lines": list(lines_of(criterion, definition))}
                for criterion in definition.launch.criteria
            ],
            "approvals": [asdict(step) for step in package.approvals],
        },
        "definition": whole,
    }


def _told(bounds: Sequence[Requirement | Alarm], lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bounds with their words; of the fields that may be absent, only those that are there."""
    return [
        {
            "in_words": in_words(bound),
            "evidence_in_words": evidence_in_words(bound),
            **{name: value for name, value in line.items() if value is not None},
        }
        for bound, line in zip(bounds, lines, strict=True)
    ]
