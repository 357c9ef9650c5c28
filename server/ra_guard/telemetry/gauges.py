"""Values that are read when somebody looks: what is loaded, how old the plan is, what waits and what was dropped."""

import math
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any, Protocol

from ra_guard import _core
from ra_guard._core import Engine, FeedbackLog
from ra_guard.serving.admission import Admission
from ra_guard.serving.cold import ColdQueue
from ra_guard.serving.executor import HandlerPool
from ra_guard.telemetry.metrics import Metrics
from ra_guard.telemetry.records import Records


class FeedbackCounts(Protocol):
    """What the Feedback service counts."""

    accepted: int
    duplicates: int
    late: int
    failed_streams: int

    @property
    def rejected(self) -> Mapping[Any, int]: ...


def register_gauges(
    metrics: Metrics,
    core: Engine,
    records: Records,
    admission: Admission,
    pool: HandlerPool,
    cold: ColdQueue | None,
) -> None:
    """Registers all of them with ``metrics``."""
    metrics.gauge("ra_guard.kernel.info", lambda: 1, unit="1", description="SIMD kernel in use", kernel=_core.KERNEL)
    metrics.gauge("ra_guard.generation", lambda: _generation(core), unit="1", description="Generation in service")
    metrics.gauge(
        "ra_guard.gallery.resident", lambda: _resident(core), unit="1", description="Share of the gallery in memory"
    )
    metrics.gauge("ra_guard.plan.revision", core.plan_revision, unit="1", description="Plan in force")
    metrics.gauge(
        "ra_guard.plan.age", lambda: _plan_age(core), unit="s", description="Since the control plane was heard from"
    )
    metrics.gauge(
        "ra_guard.admission.in_hand", lambda: admission.in_hand, unit="{candidate}", description="Candidates in hand"
    )
    metrics.gauge("ra_guard.queue.depth", lambda: pool.depth, unit="{call}", description="Calls waiting for a thread")
    metrics.counter(
        "ra_guard.telemetry.dropped", lambda: records.dropped, unit="{record}", description="Call records dropped"
    )
    for what, arm in product(("offered", "dropped"), ("unassigned", "control", "treatment", "not_enrolled")):
        metrics.counter(
            f"ra_guard.candidate_log.{what}",
            partial(_log_counter, core, f"{what}_{arm}"),
            unit="{record}",
            description=f"Candidate log records {what}",
            arm=arm,
        )
    for key in ("written", "bytes", "write_errors"):
        metrics.counter(
            f"ra_guard.candidate_log.{key}",
            partial(_log_counter, core, key),
            unit="1",
            description=f"Candidate log: {key.replace('_', ' ')}",
        )
    if cold is not None:
        metrics.gauge(
            "ra_guard.cold.depth", lambda: cold.depth, unit="{image}", description="Images waiting to be embedded"
        )
        metrics.counter(
            "ra_guard.cold.dropped",
            lambda: cold.dropped,
            unit="{image}",
            description="Images not queued, for want of room",
        )


def _log_counter(core: Engine, key: str) -> int:
    return core.log_counters()[key]


def _generation(core: Engine) -> int:
    generation = core.generation()
    return 0 if generation is None else generation.number


def _resident(core: Engine) -> float:
    generation = core.generation()
    return math.nan if generation is None else generation.resident()


def _plan_age(core: Engine) -> float:
    age_s = core.plan_age_s()
    return math.nan if age_s is None else age_s


def register_feedback(metrics: Metrics, counters: FeedbackCounts, log: FeedbackLog) -> None:
    """Registers what the Feedback service took in, and what became of it."""
    for name in ("accepted", "duplicates", "late"):
        metrics.counter(
            f"ra_guard.feedback.{name}",
            partial(getattr, counters, name),
            unit="{event}",
            description=f"Feedback events: {name}",
        )
    metrics.counter(
        "ra_guard.feedback.rejected",
        lambda: sum(counters.rejected.values()),
        unit="{event}",
        description="Feedback events that break a bound",
    )
    metrics.counter(
        "ra_guard.feedback.failed_streams",
        lambda: counters.failed_streams,
        unit="{stream}",
        description="Feedback streams that the log failed",
    )
    metrics.counter(
        "ra_guard.feedback.write_errors",
        lambda: log.counters()["write_errors"],
        unit="1",
        description="Feedback log: write errors",
    )
