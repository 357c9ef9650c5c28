"""From calls to batches: who is enrolled at the ramp, what they are served, and when the evidence of it is known.

Whole hours at a time, since the ramp stands for whole hours; then cut where the clock says. Evidence that comes later
(a judgment, the log of a replica that was cut off) waits with its call's own minute on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ra_guard.evidence.contrast import Exposure
from ra_guard.evidence.latency import bucket_of
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Batch, Calls, Changes, Quantity
from ra_guard.experiments.allocation import BUCKETS, Arm, arm_of
from ra_guard.simulation.calls import Chances
from ra_guard.simulation.faults import heard_again, sizes
from ra_guard.simulation.people import People
from ra_guard.simulation.scenario import FaultKind, Scenario

Floats = npt.NDArray[np.float64]
Minutes = npt.NDArray[np.int64]

COMPLETION_MINUTES: Final = 5
"""A request that is asked again within them is not completed."""
_POINTS: Final = 100.0
_LONGEST_US: Final = 2**32 - 1
_NOT_SEEN: Final = -1

Columns = tuple[npt.NDArray[Any], ...]

_CALLS: Final = (np.int32, np.uint8, np.uint32, np.uint8, np.uint16, np.bool_, np.int8)
_CHANGES: Final = (np.int32, np.uint8, np.uint32, np.uint8, np.uint8, np.int32, np.int64)
"""Types of columns, in the order of `Calls` and `Changes`."""


class Traffic:
    """The calls of one simulation, as evidence. Minutes are counted from the launch but for those inside batches."""

    def __init__(
        self,
        scenario: Scenario,
        people: People,
        calls: Chances,
        launch_minute: int,
        quantities: frozenset[Quantity] = frozenset(Quantity),
    ) -> None:
        """``launch_minute`` is since the Unix epoch; of other ``quantities`` nothing is said."""
        self._quantities = quantities
        self._scenario, self._people, self._calls, self._launch = scenario, people, calls, launch_minute
        self._number = np.full(people.first_minute.size, _NOT_SEEN, dtype=np.int64)
        self._users = 0
        minutes = scenario.hours * 60 + 1
        self._new_users = {arm: np.zeros(minutes, dtype=np.int64) for arm in (CONTROL, TREATMENT)}
        self._lost = {arm: np.zeros(minutes, dtype=np.int64) for arm in (CONTROL, TREATMENT)}
        self._waiting_calls = _Waiting(_CALLS)
        self._waiting_changes = _Waiting(_CHANGES)

    def open_hour(self, hour: int, ramp_bp: int) -> Calls:
        """The calls of one hour are made, at that ramp; returns those that will be known. Each hour once, in order."""
        begin, end = np.searchsorted(self._calls.minute, (hour * 60, (hour + 1) * 60))
        arm = _arms(ramp_bp)[self._people.bucket[self._calls.visitor[begin:end]]]
        logged = begin + np.flatnonzero(self._is_logged(slice(begin, end), arm))
        return self._add(self._calls[logged], arm[logged - begin])

    def take(self, as_of: int) -> Batch:
        """What has become known up to the end of this minute and was not taken before."""
        return Batch(Calls(*self._waiting_calls.take(as_of)), Changes(*self._waiting_changes.take(as_of)))

    def exposure(self, as_of: int) -> Exposure:
        """How users were drawn and served, as far as it is known by the end of this minute."""

        def sums(counts: dict[int, Minutes]) -> tuple[int, int]:
            return int(counts[CONTROL][: as_of + 1].sum()), int(counts[TREATMENT][: as_of + 1].sum())

        return Exposure(*sums(self._new_users), 0, *sums(self._lost))

    def _is_logged(self, rows: slice, arm: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        minute = self._calls.minute[rows]
        loss = sizes(self._scenario.faults, FaultKind.LOST_EXPOSURES, minute) / 100
        lost = (arm == TREATMENT) & (self._calls.lost_u[rows] < loss)
        np.add.at(self._lost[TREATMENT], minute[lost].astype(np.int64), 1)
        logged: npt.NDArray[np.bool_] = (arm != 0) & ~lost
        return logged

    def _add(self, calls: Chances, arm: npt.NDArray[np.uint8]) -> Calls:
        back = heard_again(self._scenario.faults, calls.minute, self._people.replica[calls.visitor])
        answers = _answers(self._scenario, self._people, calls, arm, is_cut_off=back > 0)
        known = np.maximum(calls.minute, back).astype(np.int64)
        user = self._numbered(calls.visitor, arm, known)
        minute = (self._launch + calls.minute.astype(np.int64)).astype(np.int32)
        domain = self._people.domain[calls.visitor]
        weight = np.ones(minute.size, dtype=np.int8)
        logged = Calls(minute, arm, user, domain, answers.bucket, answers.error, weight)
        self._waiting_calls.add(known, logged)
        news = tuple(each for each in _news(calls, answers.ndcg) if each.quantity in self._quantities)
        rows = np.concatenate([each.rows for each in news])
        sizes_of = [each.rows.size for each in news]
        self._waiting_changes.add(
            np.maximum(np.concatenate([each.minute for each in news]), back[rows]).astype(np.int64),
            Changes(
                minute=minute[rows],
                arm=arm[rows],
                user=user[rows],
                domain=domain[rows],
                quantity=np.repeat(np.array([each.quantity for each in news], dtype=np.uint8), sizes_of),
                count=np.repeat(np.array([each.count for each in news], dtype=np.int32), sizes_of),
                total=np.concatenate([each.total for each in news]),
            ),
        )
        return logged

    def _numbered(
        self, visitor: npt.NDArray[np.int64], arm: npt.NDArray[np.uint8], known: Minutes
    ) -> npt.NDArray[np.uint32]:
        """Visitors by the dense numbers that evidence has; who is new gets the next one."""
        seen, first = np.unique(visitor, return_index=True)
        fresh = np.sort(first[self._number[seen] == _NOT_SEEN])
        self._number[visitor[fresh]] = self._users + np.arange(fresh.size)
        self._users += fresh.size
        for each, counts in self._new_users.items():
            of_arm = known[fresh][arm[fresh] == each]
            np.add.at(counts, np.minimum(of_arm, counts.size - 1), 1)
        return self._number[visitor].astype(np.uint32)


@dataclass(frozen=True)
class _Answers:
    """What was answered to calls, a row each."""

    bucket: npt.NDArray[np.uint16]
    error: npt.NDArray[np.bool_]
    ndcg: Floats
    """Of what was served, 0..1."""


def _answers(
    scenario: Scenario,
    people: People,
    calls: Chances,
    arm: npt.NDArray[np.uint8],
    *,
    is_cut_off: npt.NDArray[np.bool_],
) -> _Answers:
    treated = (arm == TREATMENT) & ~is_cut_off
    added = np.where(treated, scenario.latency.treatment_added_ms, scenario.latency.control_added_ms)
    slower = sizes(scenario.faults, FaultKind.LATENCY, calls.minute)
    micros = np.minimum((calls.answer_ms + added + np.where(treated, slower, 0.0)) * 1_000.0, _LONGEST_US)
    failing = sizes(scenario.faults, FaultKind.ERRORS, calls.minute)
    usual = np.where(arm == TREATMENT, scenario.errors.treatment_percent, scenario.errors.control_percent)
    error = calls.error_u < np.where(treated & (failing > 0), failing, usual) / 100
    # Whoever is served the baseline has its value, whatever the arm.
    reranked = treated & ~error
    worse = np.where(reranked, sizes(scenario.faults, FaultKind.NDCG, calls.minute), 0.0)
    level = np.where(reranked & (worse == 0), people.reranked[calls.visitor], people.baseline[calls.visitor])
    ndcg = _around(level, calls.within_u, _share_of_extremes(scenario)) * (1 - worse / scenario.ndcg.control_points)
    return _Answers(bucket_of(micros.astype(np.uint32)), error, ndcg)


def _share_of_extremes(scenario: Scenario) -> float:
    """Of a person's requests, how many must show all or nothing for the spread within persons to be the scenario's."""
    ndcg = scenario.ndcg
    room = ndcg.control_points * (_POINTS - ndcg.control_points) - ndcg.between_user_sd_points**2
    return ndcg.within_user_sd_points**2 / room


def _around(level: Floats, chance: Floats, extremes: float) -> Floats:
    """A request's value around a person's mean: 1 with chance extremes * level, 0 so often that the mean is kept."""
    values: Floats = np.where(chance < extremes, (chance < extremes * level).astype(np.float64), level)
    return values


@dataclass(frozen=True)
class _News:
    """What becomes known of one quantity, about some of the calls."""

    quantity: Quantity
    rows: npt.NDArray[np.intp]
    minute: Floats
    """When, where no log is late."""
    count: int
    total: npt.NDArray[np.int64]


def _news(calls: Chances, ndcg: Floats) -> Iterator[_News]:
    everyone = np.arange(calls.minute.size)
    judged, clicked = np.flatnonzero(calls.judged), np.flatnonzero(calls.clicked)
    first, rated = np.flatnonzero(calls.clicked_first), np.flatnonzero(calls.stars)
    complained = np.flatnonzero(calls.complained)
    told = calls.click_minute

    def whole(n: int) -> npt.NDArray[np.int64]:
        return np.full(n, UNIT, dtype=np.int64)

    yield _News(Quantity.NDCG, judged, calls.judged_minute[judged], 1, np.rint(ndcg[judged] * UNIT).astype(np.int64))
    # Every call counts at once, and a click is a change of what was counted.
    yield _News(Quantity.CLICK_THROUGH, everyone, calls.minute, 1, np.zeros(everyone.size, dtype=np.int64))
    yield _News(Quantity.CLICK_THROUGH, clicked, told[clicked], 0, whole(clicked.size))
    yield _News(Quantity.COMPLETION, everyone, calls.minute + COMPLETION_MINUTES, 1, calls.completed * np.int64(UNIT))
    yield _News(Quantity.RATING, rated, told[rated], 1, calls.stars[rated] * np.int64(UNIT))
    yield _News(Quantity.COMPLAINTS, complained, told[complained], 0, whole(complained.size))
    yield _News(Quantity.DISCOVERY, first, told[first], 0, whole(first.size))


class _Waiting:
    """Rows by the minute in which they become known."""

    def __init__(self, types: tuple[type[np.generic], ...]) -> None:
        self._known: Minutes = np.empty(0, dtype=np.int64)
        self._columns: Columns = tuple(np.empty(0, dtype=each) for each in types)

    def add(self, known: Minutes, rows: Calls | Changes) -> None:
        known = np.concatenate([self._known, known])
        order = np.argsort(known, kind="stable")
        self._known = known[order]
        added = (getattr(rows, field.name) for field in fields(rows))
        pairs = zip(self._columns, added, strict=True)
        self._columns = tuple(np.concatenate(pair)[order] for pair in pairs)

    def take(self, as_of: int) -> Columns:
        end = int(np.searchsorted(self._known, as_of, side="right"))
        taken = tuple(column[:end] for column in self._columns)
        self._known = self._known[end:]
        self._columns = tuple(column[end:] for column in self._columns)
        return taken


@lru_cache(maxsize=64)
def _arms(ramp_bp: int) -> npt.NDArray[np.uint8]:
    """The arm of each bucket at a ramp; 0 for who is not enrolled."""
    numbers = {Arm.CONTROL: CONTROL, Arm.TREATMENT: TREATMENT, Arm.NOT_ENROLLED: 0}
    return np.array([numbers[arm_of(bucket, ramp_bp)] for bucket in range(BUCKETS)], dtype=np.uint8)
