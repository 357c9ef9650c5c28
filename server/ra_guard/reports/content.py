"""What a report is made from: frozen values that the watch and a simulation fill in alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ra_guard.evidence.contrast import Contrast, Evidence
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.monitor.outcomes import Assessment, Decision, Look
from ra_guard.stats.outcome import Effect, Insufficient


@dataclass(frozen=True)
class ArmHour:
    """One arm in one hour."""

    calls: int
    errors: int
    p50_ms: float | None
    """None without calls."""
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Hour:
    """Where an experiment stood at the end of one hour."""

    at_unix_s: int
    ramp_bp: int
    control: ArmHour
    treatment: ArmHour
    control_users: int
    """In the epoch so far."""
    treatment_users: int
    primary: Effect | Insufficient
    """Anytime-valid, over the epoch so far, in points."""
    sample_ratio_p: float | None
    power_percent: float | None


@dataclass(frozen=True)
class QueryLine:
    """One query text in the epoch."""

    query: str
    calls: int
    control_ndcg: float | None
    """Mean over requests, times 100; None where none was judged."""
    treatment_ndcg: float | None


@dataclass(frozen=True)
class Content:
    """One experiment in one epoch, as far as it is known."""

    definition: Definition
    epoch: int
    revision: int
    state: str
    """In words: "live at 10 %", "killed", "rolled back", "not started"."""
    launched_at: datetime | None
    """When users were first enrolled in this epoch."""
    as_of: datetime
    assessment: Assessment
    evidence: Evidence
    decision: Decision
    looks: tuple[Look, ...]
    hours: tuple[Hour, ...]
    domains: Mapping[str, Contrast]
    """Of the epoch, by gallery domain."""
    queries: tuple[QueryLine, ...]
    """The most frequent ones; none where the source has no texts."""
    ledger: tuple[Entry, ...]
    source: str
    """Where the numbers come from, in words: the logs under an address, or a simulation with its seed."""
