"""Weights of the four terms, by domain as a plan has them, and what they make of judged calls."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ra_guard.evaluation.calls import TERMS, Calls, Integers, Singles
from ra_guard.evaluation.errors import BadWeights
from ra_guard.stats.inputs import Floats
from ra_guard.stats.moments import per_user
from ra_guard.stats.ndcg import RequestGains
from ra_guard.stats.one_sample import Mean, mean_of_users
from ra_guard.stats.outcome import Insufficient

_MOST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Weights:
    """Of each term, finite and 0 or more."""

    cosine: float
    consistency: float
    contradiction: float
    prior: float

    def __post_init__(self) -> None:
        for name in TERMS:
            if not 0 <= getattr(self, name) <= _MOST:
                raise BadWeights(found=f"{name} = {getattr(self, name):g}", wanted="0 or more", cure="correct it")

    @classmethod
    def parse(cls, text: str) -> Self:
        """``cosine=1,consistency=0.3,contradiction=0.5,prior=0.1``, in any order. Raises BadWeights."""
        given = [part.partition("=") for part in text.split(",")]
        try:
            values = {name.strip(): float(value) for name, _, value in given}
        except ValueError:
            values = {}
        if len(given) != len(TERMS) or values.keys() != set(TERMS) or not all(map(math.isfinite, values.values())):
            wanted = ",".join(f"{name}=NUMBER" for name in TERMS)
            raise BadWeights(found=f"weights {text!r}", wanted=wanted, cure="name each once")
        return cls(**values)

    def row(self) -> Singles:
        """As an array (4,)."""
        return np.array([getattr(self, name) for name in TERMS], np.float32)


@dataclass(frozen=True)
class WeightsByDomain:
    """``domain`` holds those of a domain; ``default`` applies everywhere else."""

    default: Weights
    domain: Mapping[str, Weights] = field(default_factory=dict)

    def of(self, domains: Sequence[str]) -> Singles:
        """(calls, 4), for calls of these domains."""
        return np.array([self.domain.get(domain, self.default).row() for domain in domains], np.float32)


@dataclass(frozen=True)
class Measured:
    """nDCG@10 in points: the mean of users' means, and its interval where the data can say."""

    mean: float
    interval: Mean | Insufficient

    @classmethod
    def of(cls, users: Integers, points: Floats) -> Self:
        """From one row a request."""
        totals, counts = per_user(users, points)
        return cls(float(np.mean(totals / counts)), mean_of_users(users, points))


@dataclass(frozen=True)
class Comparison:
    """The same requests under two rankings. Users are the unit: each counts once, as its own mean."""

    users: int
    requests: int
    without_relevant: int
    """Requests left out because nothing judged in them is relevant."""
    first: Measured
    second: Measured
    difference: Measured
    """Second less first, of the same users."""


def compare(calls: Calls, first: Integers, second: Integers) -> dict[str | None, Comparison]:
    """Of all calls under None, then of each domain in order; ``first`` and ``second`` are ranks (rows,).

    A domain without a relevant candidate in any request is left out, and nothing is returned where all are.
    """
    one, other = calls.gains(first), calls.gains(second)
    domains = np.array(calls.domain, dtype=object)
    everything = comparison_of(calls, one, other) if one.request.size else None
    found: dict[str | None, Comparison] = {} if everything is None else {None: everything}
    for domain in sorted({calls.domain[number] for number in one.request}):
        found[domain] = comparison_of(calls, one, other, domains == domain)
    return found


def comparison_of(
    calls: Calls, one: RequestGains, other: RequestGains, within: npt.NDArray[np.bool_] | None = None
) -> Comparison:
    """Of the same calls' gains under two rankings; ``within`` (calls,) says which calls, all by default.

    One of them must have a relevant candidate.
    """
    if within is None:
        within = np.ones(len(calls.domain), bool)
    judged = np.unique(calls.call[calls.judged])
    here = within[one.request]
    users = calls.user[one.request][here]
    return Comparison(
        users=np.unique(users).size,
        requests=users.size,
        without_relevant=int(np.count_nonzero(within[judged])) - users.size,
        first=Measured.of(users, one.points[here]),
        second=Measured.of(users, other.points[here]),
        difference=Measured.of(users, other.points[here] - one.points[here]),
    )
