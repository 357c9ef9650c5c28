"""Every call that visitors would make, in order of time, with all that chance has to say about each.

Nothing here depends on the ramp or on a fault: those say which calls are enrolled and what is served, and read the
same chances. So two scenarios that differ in a fault are the same up to that fault, call by call.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from ra_guard.simulation.people import People, Stream, stream
from ra_guard.simulation.scenario import Scenario

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_HIGHEST_STARS = 5


@dataclass(frozen=True)
class Chances:
    """Calls in order of time, one row each; all columns have the same length. ``*_u`` are uniform on [0, 1)."""

    minute: Floats
    """Since the launch, with fractions."""
    visitor: npt.NDArray[np.int64]
    """Row of `People`."""
    within_u: Floats
    """Whether the request shows all, nothing, or the person's mean."""
    answer_ms: Floats
    """Before what an arm or a fault adds."""
    error_u: Floats
    lost_u: Floats
    judged: Flags
    judged_minute: Floats
    """Since the launch."""
    clicked: Flags
    click_minute: Floats
    clicked_first: Flags
    """And had not seen the image before."""
    completed: Flags
    stars: npt.NDArray[np.uint8]
    """0: not rated."""
    complained: Flags

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def draw_calls(scenario: Scenario, people: People, seed: int) -> Chances:
    """All calls up to the scenario's end."""
    minute, visitor = _times(scenario, people, seed)
    n = minute.size
    ndcg, feedback = scenario.ndcg, scenario.feedback

    def uniform(purpose: Stream) -> Floats:
        return stream(seed, purpose).random(n)

    judging = stream(seed, Stream.JUDGMENTS)
    clicking = stream(seed, Stream.CLICKS)
    rating = stream(seed, Stream.RATINGS)
    clicked = clicking.random(n) < feedback.click_percent / 100
    stars = 1 + rating.binomial(_HIGHEST_STARS - 1, (feedback.mean_stars - 1) / (_HIGHEST_STARS - 1), size=n)
    return Chances(
        minute=minute,
        visitor=visitor,
        within_u=uniform(Stream.WITHIN),
        answer_ms=_answer_ms(scenario, n, seed),
        error_u=uniform(Stream.ERRORS),
        lost_u=uniform(Stream.LOSSES),
        judged=judging.random(n) < ndcg.judged_percent / 100,
        judged_minute=minute + judging.exponential(ndcg.judgment_delay_minutes, size=n),
        clicked=clicked,
        click_minute=minute + clicking.exponential(feedback.click_delay_minutes, size=n),
        clicked_first=clicked & (clicking.random(n) < feedback.first_seen_percent / 100),
        completed=uniform(Stream.COMPLETION) < feedback.completion_percent / 100,
        stars=np.where(rating.random(n) < feedback.rating_percent / 100, stars, 0).astype(np.uint8),
        complained=uniform(Stream.COMPLAINTS) < feedback.complaint_percent / 100,
    )


def _times(scenario: Scenario, people: People, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Minute and visitor of each call, in order of time."""
    visits, people_count = scenario.visits, people.first_minute.size
    returning, requesting = stream(seed, Stream.RETURNS), stream(seed, Stream.REQUESTS)
    again = np.repeat(np.arange(people_count), returning.poisson(visits.return_visits, size=people_count))
    later = people.first_minute[again] + returning.exponential(visits.return_after_hours * 60, size=again.size)
    visitor = np.concatenate([np.arange(people_count), again])
    start = np.concatenate([people.first_minute, later])
    requests = 1 + requesting.poisson(visits.requests_per_visit - 1, size=visitor.size)
    # Pauses add up within a visit: the running sum of all, less where the visit began.
    first = np.cumsum(requests) - requests
    pauses = requesting.exponential(visits.minutes_between_requests, size=int(requests.sum()))
    pauses[first] = 0.0
    elapsed = np.cumsum(pauses)
    minute = np.repeat(start - elapsed[first], requests) + elapsed
    order = np.argsort(minute, kind="stable")
    order = order[: np.searchsorted(minute[order], scenario.hours * 60)]
    return minute[order], np.repeat(visitor, requests)[order]


def _answer_ms(scenario: Scenario, n: int, seed: int) -> Floats:
    latency = scenario.latency
    body = stream(seed, Stream.LATENCY).lognormal(np.log(latency.median_ms), latency.log_sd, size=n)
    slow = stream(seed, Stream.TAIL).random(n) < latency.tail_percent / 100
    return np.where(slow, body * latency.tail_times, body)
