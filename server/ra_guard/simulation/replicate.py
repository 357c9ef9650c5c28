"""Many plays of one script, each with a seed of its own, and what their errors and coverage come to.

Shares carry exact binomial intervals (Clopper and Pearson) at 95 %: they say what so many replications can tell, not
how widely experiments differ. Coverage is told only where the true effect is known: without faults.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np

from ra_guard.evidence.contrast import Evidence
from ra_guard.evidence.tally import Batch, Quantity
from ra_guard.experiments.definition.vocabulary import Outcome
from ra_guard.experiments.monitor import looks as planned
from ra_guard.experiments.monitor.outcomes import Assessment, Look
from ra_guard.simulation.play import Run, Script, play
from ra_guard.stats.effects import difference, mean_of
from ra_guard.stats.moments import Moments
from ra_guard.stats.monte_carlo import share_interval, uniformity_p_value
from ra_guard.stats.outcome import Effect, Insufficient, Interval

_CHUNK: Final = 4
"""Replications that a process plays before it reports."""


@dataclass(frozen=True)
class Replication:
    """What is kept of one play."""

    seed: int
    outcome: Outcome | None
    """None where it was rolled back before its end."""
    causes: tuple[str, ...]
    """What rolled it back; none where it ran to its end."""
    detection_minutes: int | None
    """From the first fault to the rollback; None without either, or where the rollback came first."""
    first_look_crossed: int | None
    """The day of the first planned look beyond its boundary."""
    anytime_covers: bool
    """The anytime-valid interval held the true effect in every hour that had one."""
    looks_cover: bool
    """The repeated interval did at every look."""
    p_value: float | None
    """Of the fixed-sample test at the end; None where there were too few users."""
    estimate: float | None
    """At the end, in points."""
    users: int


@dataclass(frozen=True)
class Share:
    """How many of the replications, with what so many can tell."""

    events: int
    trials: int

    @property
    def percent(self) -> float | None:
        """None without a trial."""
        return 100 * self.events / self.trials if self.trials else None

    @property
    def interval(self) -> Interval | None:
        """In percent, at 95 %."""
        found = share_interval(self.events, self.trials)
        return None if isinstance(found, Insufficient) else Interval(100 * found.low, 100 * found.high)


@dataclass(frozen=True)
class Quartiles:
    """Of minutes from the fault to the rollback, over the runs that were ended."""

    lower: float
    median: float
    upper: float


@dataclass(frozen=True)
class Summary:
    """What replications come to."""

    replications: int
    outcomes: dict[Outcome, Share]
    """Of all; those that were rolled back have none."""
    crossed: Share
    """Planned looks that found an effect: the size without one, the power with one."""
    rolled_back: Share
    causes: dict[str, Share]
    detection: dict[str, Quartiles]
    """By cause."""
    anytime_covers: Share | None
    """None where a fault changes the effect."""
    looks_cover: Share | None
    uniformity_p: float | None
    """Of the fixed-sample p-values at the end; None where there is an effect or a fault."""
    mean_estimate: float | None
    mean_users: float


def replicate(script: Script, seeds: Sequence[int], jobs: int, tell: Callable[[int], None]) -> tuple[Replication, ...]:
    """Plays each seed, in ``jobs`` processes; ``tell`` hears how many are done. In the order of the seeds."""
    if jobs == 1:
        return tuple(_told(script, seeds, tell))
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    found: dict[int, tuple[Replication, ...]] = {}
    # Spawned: a fork would copy locks of threads that numpy and gRPC hold.
    with ProcessPoolExecutor(max_workers=min(jobs, len(chunks)), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_played, script, chunk): number for number, chunk in enumerate(chunks)}
        try:
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                tell(sum(map(len, found.values())))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(each for number in range(len(chunks)) for each in found[number])


def seeds_of(seed: int, replications: int) -> tuple[int, ...]:
    """One seed for each replication, independent of how many there are."""
    children = np.random.SeedSequence(seed).spawn(replications)
    return tuple(int(child.generate_state(1, np.uint64)[0]) for child in children)


def summarise(script: Script, played: Sequence[Replication]) -> Summary:
    """All replications of one script together."""
    n = len(played)
    outcomes = Counter(each.outcome for each in played)
    causes = Counter(cause for each in played for cause in each.causes)
    faultless = not script.scenario.faults
    p_values = [each.p_value for each in played if each.p_value is not None]
    estimates = [each.estimate for each in played if each.estimate is not None]
    uniform = uniformity_p_value(p_values) if faultless and not script.scenario.true_effect_points else None
    return Summary(
        replications=n,
        outcomes={outcome: Share(outcomes[outcome], n) for outcome in Outcome},
        crossed=Share(sum(each.first_look_crossed is not None for each in played), n),
        rolled_back=Share(sum(bool(each.causes) for each in played), n),
        causes={cause: Share(count, n) for cause, count in sorted(causes.items())},
        detection={cause: found for cause in sorted(causes) if (found := _detection(played, cause)) is not None},
        anytime_covers=Share(sum(each.anytime_covers for each in played), n) if faultless else None,
        looks_cover=Share(sum(each.looks_cover for each in played), n) if faultless else None,
        uniformity_p=None if isinstance(uniform, Insufficient) else uniform,
        mean_estimate=float(np.mean(estimates)) if estimates else None,
        mean_users=float(np.mean([each.users for each in played])),
    )


def _detection(played: Sequence[Replication], cause: str) -> Quartiles | None:
    minutes = [each.detection_minutes for each in played if cause in each.causes and each.detection_minutes is not None]
    return Quartiles(*np.quantile(minutes, (0.25, 0.5, 0.75)).tolist()) if minutes else None


def _told(script: Script, seeds: Sequence[int], tell: Callable[[int], None]) -> Iterator[Replication]:
    for done, seed in enumerate(seeds, start=1):
        yield _replication(script, seed)
        tell(done)


def _played(script: Script, seeds: Sequence[int]) -> tuple[Replication, ...]:
    return tuple(_replication(script, seed) for seed in seeds)


def _replication(script: Script, seed: int) -> Replication:
    seen = _Coverage(script)
    run = play(script, seed, seen)
    end = _fixed(run)
    exposure = run.evidence.exposure
    return Replication(
        seed=seed,
        outcome=run.decision.outcome if run.ending is None else None,
        causes=() if run.ending is None else run.ending.causes,
        detection_minutes=detection_minutes(run),
        first_look_crossed=_first_crossed(script, run.looks),
        anytime_covers=seen.anytime,
        looks_cover=seen.looks,
        p_value=None if end is None else end.p_value,
        estimate=None if end is None else 100 * end.estimate,
        users=exposure.control_users + exposure.treatment_users,
    )


def detection_minutes(run: Run) -> int | None:
    """From the first fault to the rollback; None without either, or where the rollback came first."""
    faults = run.script.scenario.faults
    if run.ending is None or not faults:
        return None
    begun = round(60 * min(fault.at_hour for fault in faults))
    return run.ending.minute - begun if run.ending.minute >= begun else None


class _Coverage:
    """Asks at every hour and look whether the interval holds the true effect."""

    def __init__(self, script: Script) -> None:
        self._definition, self._truth = script.definition, script.scenario.true_effect_points
        self.anytime = self.looks = True

    def batch(self, batch: Batch) -> None:
        """Not asked about."""

    def hour(self, evidence: Evidence, assessment: Assessment, ramp_bp: int) -> None:  # noqa: ARG002
        found = assessment.primary
        self.anytime &= isinstance(found, Insufficient) or self._truth in found.interval

    def look(self, look: Look, looks: tuple[Look, ...]) -> None:
        bounds = planned.boundaries(self._definition, looks)
        interval = bounds.repeated_interval(len(bounds.z) - 1, look.estimate, look.standard_error)
        self.looks &= self._truth in interval


def _first_crossed(script: Script, looks: Sequence[Look]) -> int | None:
    counted = planned.in_order(looks)
    if not counted:
        return None
    bounds = planned.boundaries(script.definition, counted)
    crossed = bounds.first_crossing([look.estimate / look.standard_error for look in counted])
    return None if crossed is None else counted[crossed].day


def _fixed(run: Run) -> Effect | None:
    """The test as if there had been one look."""
    arms = (run.evidence.epoch.control, run.evidence.epoch.treatment)
    found = difference(*(mean_of(arm.means.get(Quantity.NDCG, Moments.empty(1))) for arm in arms))
    return None if isinstance(found, Insufficient) else found
