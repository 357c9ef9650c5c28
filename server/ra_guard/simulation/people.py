"""Who comes: every visitor of a simulation with a bucket, a domain, a replica, and what the arms are worth to them.

Random numbers have one stream for each purpose, all from one seed, so that a fault, or another ramp, changes nothing
but what it touches: the same people come at the same times.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np
import numpy.typing as npt

from ra_guard import _core
from ra_guard.experiments.allocation import BUCKETS
from ra_guard.simulation.scenario import HOURS_OF_DAY, Scenario

Floats = npt.NDArray[np.float64]

_POINTS = 100.0


class Stream(IntEnum):
    """What random numbers are for. The number is part of what a seed means: append only."""

    ARRIVALS = 0
    RETURNS = 1
    REQUESTS = 2
    BUCKETS = 3
    DOMAINS = 4
    REPLICAS = 5
    BASELINE = 6
    TREATMENT = 7
    WITHIN = 8
    LATENCY = 9
    TAIL = 10
    ERRORS = 11
    JUDGMENTS = 12
    CLICKS = 13
    COMPLETION = 14
    RATINGS = 15
    COMPLAINTS = 16
    LOSSES = 17
    """Of records."""


class Allocation(Enum):
    """How visitors come to their buckets."""

    HASH = "hash"
    """The hash that replicas assign with, of names that no one else has."""
    DRAWN = "drawn"
    """Each bucket with the same chance, as a good hash would: for many replications."""


def stream(seed: int, purpose: Stream) -> np.random.Generator:
    """The random numbers of one purpose."""
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=(purpose,))))


@dataclass(frozen=True)
class People:
    """Visitors in the order of their first visit; all columns have the same length."""

    first_minute: Floats
    """Of the first visit, since the launch."""
    bucket: npt.NDArray[np.int32]
    domain: npt.NDArray[np.uint8]
    replica: npt.NDArray[np.uint8]
    baseline: Floats
    """What results are worth on average when the baseline is served, as a share of the best: 0..1."""
    reranked: Floats
    """The same when treatment is served; drawn on its own, so that it says nothing of the other."""


def draw_people(scenario: Scenario, seed: int, allocation: Allocation, hash_seed: str) -> People:
    """All visitors of a scenario. ``hash_seed`` is that of the experiment's assignment."""
    first_minute = _arrivals(scenario, seed)
    n = first_minute.size
    shares = np.array([domain.share_percent for domain in scenario.domains])
    domain = stream(seed, Stream.DOMAINS).choice(shares.size, size=n, p=shares / shares.sum()).astype(np.uint8)
    baseline, reranked = np.empty(n), np.empty(n)
    better, same = stream(seed, Stream.TREATMENT), stream(seed, Stream.BASELINE)
    for number, each in enumerate(scenario.domains):
        here = np.flatnonzero(domain == number)
        # Two samples of their own. Coupled by rank, the arms of one experiment would not be independent: a high rank in
        # one is missing from the other, and a test that takes them to be independent would reject too often.
        baseline[here] = _levels(scenario, 0.0, here.size, same)
        reranked[here] = _levels(scenario, scenario.effect_of(each), here.size, better)
    return People(
        first_minute=first_minute,
        bucket=_buckets(seed, n, allocation, hash_seed),
        domain=domain,
        replica=stream(seed, Stream.REPLICAS).integers(0, scenario.replicas, size=n).astype(np.uint8),
        baseline=baseline,
        reranked=reranked,
    )


def _arrivals(scenario: Scenario, seed: int) -> Floats:
    """Minutes since the launch, ascending: a Poisson process whose rate changes by the hour of the day."""
    numbers = stream(seed, Stream.ARRIVALS)
    profile = np.array(scenario.visits.hourly_profile)
    hours = np.arange(scenario.hours)
    come = numbers.poisson(scenario.visits.visitors_per_day * (profile / profile.sum())[hours % HOURS_OF_DAY])
    arrivals: Floats = np.sort((np.repeat(hours, come) + numbers.random(int(come.sum()))) * 60.0)
    return arrivals


def _levels(scenario: Scenario, effect_points: float, n: int, numbers: np.random.Generator) -> Floats:
    """Beta-distributed means of persons, 0..1, with the scenario's spread around the arm's level."""
    mean = (scenario.ndcg.control_points + effect_points) / _POINTS
    variance = (scenario.ndcg.between_user_sd_points / _POINTS) ** 2
    if variance == 0:
        return np.full(n, mean)
    weight = mean * (1 - mean) / variance - 1
    return numbers.beta(mean * weight, (1 - mean) * weight, size=n)


def _buckets(seed: int, n: int, allocation: Allocation, hash_seed: str) -> npt.NDArray[np.int32]:
    if allocation is Allocation.DRAWN:
        return stream(seed, Stream.BUCKETS).integers(0, BUCKETS, size=n, dtype=np.int32)
    names = (f"simulated-{seed}-{number}" for number in range(n))
    return np.fromiter((_core.bucket(hash_seed, name) for name in names), dtype=np.int32, count=n)
