"""How an experiment came to where it stands: one `Hour` for each hour of its epoch.

Calls add exactly and in any order, as tallies do: a call that arrives late, or is taken back, counts in its own hour.
An hour holds a histogram of fixed size for each arm, 27 kB together: two weeks are 9 MB, whatever the traffic. Hours
go when the logs that they were counted from go, so that a history made anew from the logs is the same.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from ra_guard.evidence.contrast import Evidence
from ra_guard.evidence.latency import BUCKETS, quantile_ms
from ra_guard.evidence.tally import CONTROL, TREATMENT, Batch, Calls
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.monitor.outcomes import Assessment
from ra_guard.reports.content import ArmHour, Hour
from ra_guard.stats.outcome import Effect, Insufficient, Lack
from ra_guard.stats.srm import SampleRatio

_ARMS: Final = (CONTROL, TREATMENT)
_UNKNOWN_BUCKET: Final = 0
"""Of records that say no time; no answer takes less than a microsecond."""


@dataclass(frozen=True)
class _Standing:
    """What the last assessment of an hour said."""

    as_of: int
    ramp_bp: int
    control_users: int
    treatment_users: int
    primary: Effect | Insufficient
    sample_ratio_p: float | None
    power_percent: float | None


@dataclass
class _Sums:
    """The calls of one hour: ``latency`` (arms, `BUCKETS`), ``errors`` (arms,)."""

    latency: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros((len(_ARMS), BUCKETS), np.int32))
    errors: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_ARMS), np.int64))


class History:
    """The hours of one epoch of one experiment. Not safe for several threads."""

    def __init__(self, definition: Definition) -> None:
        self._kept_hours = 24 * definition.retention_days
        self._sums: dict[int, _Sums] = {}
        self._standings: dict[int, _Standing] = {}

    def add(self, batch: Batch) -> None:
        """Counts a batch's calls, each in the hour of its answer."""
        hours = batch.calls.minute // 60
        for hour in np.unique(hours).tolist():
            _add(self._sums.setdefault(hour, _Sums()), batch.calls, hours == hour)

    def step(self, evidence: Evidence, assessment: Assessment, ramp_bp: int) -> None:
        """Notes where the experiment stands; the latest of an hour is kept."""
        split = assessment.sample_ratio
        self._standings[evidence.as_of // 60] = _Standing(
            as_of=evidence.as_of,
            ramp_bp=ramp_bp,
            control_users=evidence.exposure.control_users,
            treatment_users=evidence.exposure.treatment_users,
            primary=assessment.primary,
            sample_ratio_p=split.p_value if isinstance(split, SampleRatio) else None,
            power_percent=assessment.power_percent,
        )
        self._forget(before=evidence.as_of // 60 - self._kept_hours)

    def hours(self) -> tuple[Hour, ...]:
        """Every hour from the first to the last with a call or an assessment.

        An hour without an assessment of its own has the ramp and the users of the one before, and no effect.
        """
        known = self._sums.keys() | self._standings.keys()
        if not known:
            return ()
        made: list[Hour] = []
        for hour in range(max(min(known), max(known) - self._kept_hours), max(known) + 1):
            standing = self._standings.get(hour) or _unassessed(hour, made[-1] if made else None)
            sums = self._sums.get(hour) or _Sums()
            control, treatment = (_arm_hour(sums, row) for row in range(len(_ARMS)))
            made.append(
                Hour(
                    at_unix_s=(standing.as_of + 1) * 60,
                    ramp_bp=standing.ramp_bp,
                    control=control,
                    treatment=treatment,
                    control_users=standing.control_users,
                    treatment_users=standing.treatment_users,
                    primary=standing.primary,
                    sample_ratio_p=standing.sample_ratio_p,
                    power_percent=standing.power_percent,
                )
            )
        return tuple(made)

    def _forget(self, *, before: int) -> None:
        for kept in (self._sums, self._standings):
            for hour in [hour for hour in kept if hour < before]:
                del kept[hour]


def _add(sums: _Sums, calls: Calls, chosen: npt.NDArray[np.bool_]) -> None:
    for row, arm in enumerate(_ARMS):
        mine = chosen & (calls.arm == arm)
        weight = calls.weight[mine].astype(np.int32)
        np.add.at(sums.latency[row], calls.bucket[mine], weight)
        sums.errors[row] += int(weight[calls.error[mine]].sum())


def _arm_hour(sums: _Sums, row: int) -> ArmHour:
    timed = sums.latency[row].astype(np.int64)
    calls = int(timed.sum())
    timed[_UNKNOWN_BUCKET] = 0
    return ArmHour(
        calls=calls,
        errors=int(sums.errors[row]),
        p50_ms=quantile_ms(timed, 0.50),
        p95_ms=quantile_ms(timed, 0.95),
        p99_ms=quantile_ms(timed, 0.99),
    )


def _unassessed(hour: int, before: Hour | None) -> _Standing:
    return _Standing(
        as_of=hour * 60 + 59,
        ramp_bp=before.ramp_bp if before else 0,
        control_users=before.control_users if before else 0,
        treatment_users=before.treatment_users if before else 0,
        primary=Insufficient(Lack.TOO_FEW, "no assessment in this hour", "one or more"),
        sample_ratio_p=None,
        power_percent=None,
    )
