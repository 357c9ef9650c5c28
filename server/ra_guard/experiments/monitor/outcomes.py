"""What monitoring comes to: the values that readings, verdicts, triggers, rollout, decision and reports hand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ra_guard.experiments.definition.measures import Alarm, Requirement
from ra_guard.experiments.definition.vocabulary import Finding, Outcome
from ra_guard.stats.outcome import Effect, Insufficient, Interval
from ra_guard.stats.srm import SampleRatio

BY_ITSELF: Final = "ra-guard watch"
"""Who the ledger says it was, where no person acted."""


class Verdict(StrEnum):
    """What a reading says of a requirement. Only PASS passes."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    INSUFFICIENT = "insufficient"
    """It cannot be told yet."""
    ERROR = "error"
    """It could not be measured: a value that is missing, no number, or impossible."""


@dataclass(frozen=True)
class Reading:
    """What a bound's metric was, on the bound's scale, from the window that the bound looks at."""

    value: float | None
    """None: there is none, and ``lack`` says why."""
    interval: Interval | None
    """Anytime-valid, where the bound's evidence asks for one and the data give one."""
    control: float | None
    treatment: float | None
    """The levels of the arms, in the metric's unit; None for what is not measured by arm."""
    control_count: int
    treatment_count: int
    """Of what the metric counts: requests or users."""
    lack: str = ""
    is_broken: bool = False
    """Evidence that cannot be true (a count that went back, NaN), rather than too little of it."""


@dataclass(frozen=True)
class Judged:
    """A requirement and what the evidence says of it."""

    requirement: Requirement
    reading: Reading
    verdict: Verdict


@dataclass(frozen=True)
class Watched:
    """An alarm (trigger or alert) and where it stands."""

    alarm: Alarm
    reading: Reading
    crossed: bool | None
    """This minute's reading; None where it cannot be told."""
    minutes_crossed: int
    """How many minutes in a row, up to now, have crossed; gaps that coverage allows are bridged."""
    coverage: float
    """Share of the last ``for_minutes`` that have a reading, 0..1; 1 where ``for_minutes`` is 0."""
    is_firing: bool
    has_shared_cause: bool
    """Control alone would cross the same bound, or is as far from its own past: both arms fail."""


@dataclass(frozen=True)
class Tick:
    """What is asked every minute, in every state of the experiment: what may have to stop it, and who must be told."""

    as_of: int
    """Minutes since the Unix epoch."""
    triggers: tuple[Watched, ...]
    guardrails: tuple[Judged, ...]
    """Those whose breach rolls back."""
    alerts: tuple[Watched, ...]


@dataclass(frozen=True)
class Assessment:
    """Everything that is said about an experiment at one minute. Dearer than a `Tick`: the live loop makes both."""

    tick: Tick
    guardrails: tuple[Judged, ...]
    gates: tuple[Judged, ...]
    """Of the stage in force; none at ramp 0."""
    sample_ratio: SampleRatio | Insufficient
    crossover_percent: float | None
    primary: Effect | Insufficient
    """Anytime-valid, two-sided, at the confidence of the primary metric, in points."""
    power_percent: float | None
    """Of the test at its planned end, as `Metric.STATISTICAL_POWER` says; None where it cannot be told."""
    corrected: Effect | Insufficient | None = None
    """As ``primary``, with clicks corrected for position; decides nothing. None where labels are no clicks."""


@dataclass(frozen=True)
class Look:
    """A planned look at the primary metric, as it was when its day came. Small enough for a ledger line."""

    day: int
    at_unix_s: int
    control_users: int
    treatment_users: int
    estimate: float
    """Treatment less control, in points."""
    standard_error: float
    information: float
    """Share of the planned information: the harmonic mean of the arms' users over the planned users of an arm."""
    is_last: bool
    """The end has come, or all of the planned information has: what is left of alpha is spent here."""


@dataclass(frozen=True)
class Found:
    """One finding: whether it holds, and on which numbers."""

    finding: Finding
    holds: bool | None
    """None: it cannot be told, which counts as not holding."""
    why: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Decision:
    """What follows from an analysis, and all that it rests on, in the order in which it was asked."""

    outcome: Outcome
    findings: tuple[Found, ...]
    look: Look | None
    """The latest one; None before the first."""
    boundary_z: float | None
    interval: Interval | None
    """Of the primary metric at that look, adjusted for the looks before."""
    why: str
    """One sentence for a product manager."""


# What the rollout does next


@dataclass(frozen=True)
class RollBack:
    """Close the epoch, now."""

    why: str
    """For the ledger: the trigger or guardrail, its bound and what was found."""
    numbers: Mapping[str, float]
    has_shared_cause: bool


@dataclass(frozen=True)
class Advance:
    """Ramp to the next stage."""

    ramp_bp: int
    why: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Hold:
    """Stay. Each reason is one condition that does not hold."""

    reasons: tuple[str, ...]


Move = Advance | Hold
"""Of the ramp. Rolling back is no move of the ramp: it is asked first, of every tick, and by itself."""
