"""Which minutes of an hour must be played one by one, and which cannot roll anything back and may be passed over.

For many replications alone. The calls of an hour are known before it is played, so the readings of triggers that look
back over minutes can be bounded ahead: a minute that might cross is played, and all that its trigger remembers before
it. The reading itself is made by the monitor. A guardrail that rolls back is played where it might fail.

A trigger that looks at the whole epoch is played every minute as long as its value lies beyond the bound; it asks for a
proof that lasts longer than an hour, and none begins and ends between two full hours.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from ra_guard.evidence.latency import BUCKETS, upper_ms
from ra_guard.evidence.tally import CONTROL, TREATMENT, Calls
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Alarm, Comparison, Evidence, Metric, Scale
from ra_guard.experiments.definition.safety import Guardrail
from ra_guard.experiments.definition.vocabulary import Action
from ra_guard.experiments.monitor.outcomes import Tick
from ra_guard.simulation.scenario import HOUR_MINUTES, LAG_MINUTES, FaultKind, Scenario

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_P95: Final = 0.95
_STEP: Final = 16
"""Buckets of latency that are counted as one: an eighth of an octave."""
_CELLS: Final = BUCKETS // _STEP
_NOTHING_LATE: Final = frozenset({FaultKind.PARTITION, FaultKind.NO_EVIDENCE})


class Quiet:
    """Looks ahead, an hour at a time."""

    def __init__(self, definition: Definition, scenario: Scenario) -> None:
        self._recent = [trigger for trigger in definition.triggers if trigger.over_minutes is not None]
        self._epoch = [trigger for trigger in definition.triggers if trigger.over_minutes is None]
        self._guardrails = [each for each in definition.metrics.guardrails if each.action is Action.ROLL_BACK]
        self._can_tell = (
            all(map(_is_bounded, self._recent))
            and all(each.for_minutes - _gap(each) > HOUR_MINUTES for each in self._epoch)
            and all(map(_is_added_error_rate, self._guardrails))
            and not any(fault.kind in _NOTHING_LATE for fault in scenario.faults)
        )
        minutes = scenario.hours * HOUR_MINUTES
        # By minute from the launch and cell of latency, as cumulative sums of the minutes before.
        self._times = {arm: np.zeros((minutes + 1, _CELLS), dtype=np.int64) for arm in (CONTROL, TREATMENT)}
        self._errors = {arm: np.zeros(minutes + 1, dtype=np.int64) for arm in (CONTROL, TREATMENT)}

    def hear(self, hour: int, calls: Calls, launch_minute: int) -> None:
        """The calls of that hour."""
        if not self._can_tell:
            return
        first = hour * HOUR_MINUTES
        minute = calls.minute.astype(np.int64) - launch_minute - first
        for arm in (CONTROL, TREATMENT):
            mine = calls.arm == arm
            cells = minute[mine] * _CELLS + calls.bucket[mine] // _STEP
            times = np.bincount(cells, minlength=HOUR_MINUTES * _CELLS).reshape(HOUR_MINUTES, _CELLS)
            errors = np.bincount(minute[mine & calls.error], minlength=HOUR_MINUTES)
            hour_of = slice(first + 1, first + HOUR_MINUTES + 1)
            self._times[arm][hour_of] = self._times[arm][first] + np.cumsum(times, axis=0)
            self._errors[arm][hour_of] = self._errors[arm][first] + np.cumsum(errors)

    def minutes(self, hour: int, tick: Tick) -> Iterator[int]:
        """Of the wall clock since the launch: those of the hour that must be played, the full hour last.

        ``tick`` is that of the latest minute that was played.
        """
        first, last = hour * HOUR_MINUTES + 1, (hour + 1) * HOUR_MINUTES
        if not self._can_tell or not hour or not self._is_calm(tick):
            yield from range(max(first, LAG_MINUTES + 1), last + 1)
            return
        as_of = np.arange(first, last + 1) - LAG_MINUTES - 1
        needed = np.zeros(as_of.size, dtype=np.bool_)
        needed[-1] = True
        for trigger in self._recent:
            needed[as_of.size - _gap(trigger) :] = True
            for at in np.flatnonzero(self._may_cross(trigger, as_of)).tolist():
                needed[max(0, at - trigger.for_minutes) : at + 1] = True
        for guardrail in self._guardrails:
            needed |= self._may_fail(guardrail, as_of)
        yield from (first + np.flatnonzero(needed)).tolist()

    def _is_calm(self, tick: Tick) -> bool:
        """Whether no trigger on the epoch has a value beyond its bound."""
        for watched in tick.triggers:
            value = watched.reading.value
            if watched.alarm.over_minutes is None and value is not None:
                below = watched.alarm.when in {Comparison.BELOW, Comparison.AT_MOST}
                if value <= watched.alarm.bound if below else value >= watched.alarm.bound:
                    return False
        return True

    def _may_cross(self, trigger: Alarm, as_of: Counts) -> Flags:
        end = as_of + 1
        start = np.maximum(end - (trigger.over_minutes or 0), 0)
        control, treatment = (self._times[arm][end] - self._times[arm][start] for arm in (CONTROL, TREATMENT))
        calls = treatment.sum(axis=1)
        if trigger.metric is Metric.ERROR_RATE:
            errors = self._errors[TREATMENT][end] - self._errors[TREATMENT][start]
            rate_crosses: Flags = (calls >= trigger.min_count) & (100 * errors >= trigger.bound * calls)
            return rate_crosses
        slower, faster = _p95_cell(treatment), _p95_cell(control)
        edges = np.append(0.0, upper_ms()[_STEP - 1 :: _STEP])
        crosses: Flags = (calls >= trigger.min_count) & (edges[slower + 1] - edges[faster] >= trigger.bound)
        return crosses

    def _may_fail(self, guardrail: Guardrail, as_of: Counts) -> Flags:
        rates = []
        for arm in (CONTROL, TREATMENT):
            calls = self._times[arm][as_of + 1].sum(axis=1)
            rates.append(100 * self._errors[arm][as_of + 1] / np.maximum(calls, 1))
        enough = np.minimum(*(self._times[arm][as_of + 1].sum(axis=1) for arm in (CONTROL, TREATMENT)))
        # Half of the bound leaves room for how a reading rounds.
        fails: Flags = (enough >= guardrail.min_count) & (rates[1] - rates[0] >= guardrail.bound / 2)
        return fails


def _p95_cell(times: Counts) -> Counts:
    """The cell of each row's 95th percentile; ``times`` (minutes, cells)."""
    below = np.cumsum(times, axis=1)
    rank = np.maximum(np.ceil(_P95 * below[:, -1]), 1)
    cells: Counts = np.minimum((below < rank[:, np.newaxis]).sum(axis=1), _CELLS - 1)
    return cells


def _gap(trigger: Alarm) -> int:
    """Minutes that a trigger may miss and still fire."""
    return int(trigger.for_minutes * (100 - (trigger.coverage_percent or 100.0)) / 100)


def _is_bounded(trigger: Alarm) -> bool:
    """Whether `Quiet._may_cross` knows how: the observed level of errors, or the observed difference of P95."""
    known = {(Metric.ERROR_RATE, Scale.PERCENT), (Metric.LATENCY_P95, Scale.ADDED_MS)}
    return (
        (trigger.metric, trigger.scale) in known
        and trigger.evidence is Evidence.OBSERVED
        and trigger.when in {Comparison.ABOVE, Comparison.AT_LEAST}
    )


def _is_added_error_rate(guardrail: Guardrail) -> bool:
    return (guardrail.metric, guardrail.scale) == (Metric.ERROR_RATE, Scale.ADDED_PERCENTAGE_POINTS) and (
        guardrail.evidence is Evidence.OBSERVED and guardrail.bound > 0
    )
