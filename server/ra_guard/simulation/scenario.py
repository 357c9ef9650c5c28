"""A scenario: who comes, what they are served, what they do and what goes wrong. Read strictly, as a definition is.

Points are nDCG times 100, so a request's value is 0..100. Percentages of calls and users are 0..100, times are hours
from the launch unless a name says otherwise. Everything has a default; a TOML file names what differs.
"""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, Strict, ValidationError, field_validator, model_validator

from ra_guard.experiments.definition import Definition, parse_definition, template
from ra_guard.experiments.definition.read import explained
from ra_guard.experiments.definition.table import Mistake, Positive, Table
from ra_guard.experiments.errors import BadDefinition

HOURS_OF_DAY: Final = 24
HOUR_MINUTES: Final = 60
LAG_MINUTES: Final = 2
"""After its end, until what happened in a minute is known."""
MAX_HOURS: Final = 90 * HOURS_OF_DAY
MAX_CALLS: Final = 20_000_000
"""Drawn before the first minute, with about 100 bytes each."""
MOST_SPREAD_POINTS: Final = 50.0
"""Of values between 0 and 100: half of them 0, half 100."""

Percent = Annotated[float, Strict(), Field(ge=0, le=100)]
Points = Annotated[float, Strict(), Field(ge=0, le=100)]
Effect = Annotated[float, Strict(), Field(gt=-100, lt=100)]
AtLeastZero = Annotated[float, Strict(), Field(ge=0)]
AboveZero = Annotated[float, Strict(), Field(gt=0)]

EVENING_SEARCHES: Final = (
    *(0.5, 0.35, 0.3, 0.3, 0.3, 0.4, 0.6, 0.8),
    *(1.0, 1.1, 1.15, 1.2, 1.25, 1.2, 1.15, 1.15),
    *(1.2, 1.3, 1.45, 1.6, 1.6, 1.45, 1.15, 0.8),
)
"""A day in which most people search in the evening and one in five as many at night."""


class FaultKind(StrEnum):
    """What can go wrong. Each has one size; None of them touches the draws of the others."""

    LATENCY = "latency"
    """``size`` ms are added to every call that treatment is served."""
    ERRORS = "errors"
    """``size`` percent of treatment's calls end in an error, in place of the usual share."""
    NDCG = "ndcg"
    """Treatment is served orders that are ``size`` points worse than the baseline: they replace the effect."""
    PARTITION = "partition"
    """``size`` replicas lose the control plane. Their leases end, their users are served the baseline in both arms,
    and their logs arrive only when they are back."""
    LOST_EXPOSURES = "lost_exposures"
    """``size`` percent of treatment's records never reach the log; they are counted as lost."""
    NO_EVIDENCE = "no_evidence"
    """Nothing arrives from any log; users are served as before. It has no size: 0."""


class Fault(Table):
    """One thing that goes wrong, from when, for how long, how much."""

    kind: FaultKind
    at_hour: AtLeastZero
    hours: AboveZero
    size: AtLeastZero

    def covers(self, minute: int) -> bool:
        """Whether it is there in that minute from the launch."""
        return self.at_hour * 60 <= minute < (self.at_hour + self.hours) * 60

    @model_validator(mode="after")
    def _size_fits_the_kind(self) -> "Fault":
        most = {FaultKind.ERRORS: 100.0, FaultKind.LOST_EXPOSURES: 100.0, FaultKind.NDCG: 100.0}.get(self.kind)
        if most is not None and self.size > most:
            raise Mistake(found=f"{self.kind} of {self.size:g}", wanted=f"at most {most:g}", cure="lower it")
        if self.kind is FaultKind.NO_EVIDENCE and self.size:
            raise Mistake(found=f"{self.kind} of {self.size:g}", wanted="size = 0", cure="nothing is all or nothing")
        return self

    def __str__(self) -> str:
        unit = {
            FaultKind.LATENCY: f" of +{self.size:g} ms",
            FaultKind.ERRORS: f" of {self.size:g} %",
            FaultKind.NDCG: f" of -{self.size:g} points",
            FaultKind.PARTITION: f" of {self.size:g} replicas",
            FaultKind.LOST_EXPOSURES: f" of {self.size:g} %",
        }.get(self.kind, "")
        return f"{self.kind}{unit} from hour {self.at_hour:g} for {self.hours:g} hours"


class Visits(Table):
    """Who comes and when."""

    visitors_per_day: AboveZero = 2_000.0
    """People who come for the first time, enrolled or not. On average, as all that follows."""
    hourly_profile: Annotated[tuple[AtLeastZero, ...], Field(min_length=24, max_length=24)] = EVENING_SEARCHES
    """How many come in each hour of the day, relative to the others; the launch is at hour 0."""
    requests_per_visit: Annotated[float, Strict(), Field(ge=1)] = 3.0
    minutes_between_requests: AboveZero = 2.0
    return_visits: AtLeastZero = 0.3
    """For each person, after the first one."""
    return_after_hours: AboveZero = 36.0
    """From the first visit to a later one."""

    @field_validator("hourly_profile")
    @classmethod
    def _somebody_comes(cls, profile: tuple[float, ...]) -> tuple[float, ...]:
        if not sum(profile):
            raise Mistake(found="24 zeros", wanted="an hour in which somebody comes", cure="raise one of them")
        return profile


class Domain(Table):
    """One gallery domain. A person searches in one of them."""

    name: Annotated[str, Field(min_length=1, max_length=32)]
    share_percent: Percent
    effect_points: Effect | None = None
    """Absent: that of the scenario."""


class Ndcg(Table):
    """The value of results, in points. Mean of a person's values over requests is what the analysis calls a user."""

    control_points: Points = 60.0
    effect_points: Effect = 4.24
    """Treatment less control, for what treatment is served."""
    between_user_sd_points: AtLeastZero = 35.0
    """Of persons' own means: beta-distributed."""
    within_user_sd_points: AtLeastZero = 6.0
    """Of a person's requests around that mean: some show all or nothing, the others the mean itself."""
    judged_percent: Percent = 100.0
    """Of requests."""
    judgment_delay_minutes: AtLeastZero = 30.0


class Feedback(Table):
    """What people do with results; the same in both arms."""

    click_percent: Percent = 35.0
    """Requests with a click."""
    click_delay_minutes: AtLeastZero = 1.0
    first_seen_percent: Percent = 80.0
    """Clicks on an image that the person had not clicked before."""
    completion_percent: Percent = 70.0
    """Requests that are not asked again."""
    rating_percent: Percent = 6.0
    """Requests that are rated."""
    mean_stars: Annotated[float, Strict(), Field(ge=1, le=5)] = 4.0
    complaint_percent: Percent = 0.2
    """Requests that are followed by a complaint."""


class Latency(Table):
    """Time to answer: a log-normal body, and a tail that takes many times as long."""

    median_ms: AboveZero = 115.0
    log_sd: AboveZero = 0.6
    """Of the natural logarithm of the body. With the defaults P95 is about 320 ms."""
    tail_percent: Percent = 1.0
    tail_times: Annotated[float, Strict(), Field(ge=1)] = 4.0
    control_added_ms: AtLeastZero = 0.0
    treatment_added_ms: AtLeastZero = 12.0


class Errors(Table):
    """Calls that a deadline, overload or an internal cause ends; they are served the baseline."""

    control_percent: Percent = 0.3
    treatment_percent: Percent = 0.3


class Scenario(Table):
    """All that a simulation is told. The definition stands beside it: see `play`."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = "custom"
    hours: Annotated[int, Strict(), Field(ge=1, le=MAX_HOURS)] = 14 * HOURS_OF_DAY
    replicas: Positive = 3
    visits: Visits = Visits()
    domains: Annotated[tuple[Domain, ...], Field(min_length=1, max_length=255)] = (
        Domain(name="cocktails", share_percent=40.0),
        Domain(name="flowers", share_percent=35.0),
        Domain(name="professional", share_percent=25.0),
    )
    ndcg: Ndcg = Ndcg()
    feedback: Feedback = Feedback()
    latency: Latency = Latency()
    errors: Errors = Errors()
    faults: tuple[Fault, ...] = ()

    def effect_of(self, domain: Domain) -> float:
        """In points, for what treatment is served there."""
        return self.ndcg.effect_points if domain.effect_points is None else domain.effect_points

    def with_effect(self, effect_points: float) -> "Scenario":
        """The same with another effect in all domains that have none of their own. Raises BadDefinition."""
        ndcg = self.ndcg.model_dump() | {"effect_points": effect_points}
        try:
            return Scenario.model_validate(self.model_dump() | {"ndcg": ndcg})
        except ValidationError as refused:
            raise explained(refused.errors(), "the scenario") from None

    @property
    def true_effect_points(self) -> float:
        """Of the assigned arm, over all domains, without faults: treatment's errors are served the baseline."""
        served = 1 - self.errors.treatment_percent / 100
        return served * sum(self.effect_of(domain) * domain.share_percent / 100 for domain in self.domains)

    @property
    def expected_calls(self) -> float:
        """Of all visitors, enrolled or not, over all hours; an upper limit."""
        visits = self.visits
        each = (1 + visits.return_visits) * visits.requests_per_visit
        return visits.visitors_per_day / HOURS_OF_DAY * self.hours * each

    @model_validator(mode="after")
    def _shares_are_a_whole(self) -> "Scenario":
        whole = sum(domain.share_percent for domain in self.domains)
        if abs(whole - 100) > 1e-6:
            raise Mistake(found=f"domains with {whole:g} % of visitors", wanted="100 %", cure="correct the shares")
        return self

    @model_validator(mode="after")
    def _spread_is_possible(self) -> "Scenario":
        between, within = self.ndcg.between_user_sd_points, self.ndcg.within_user_sd_points
        if between > MOST_SPREAD_POINTS:
            raise Mistake(
                found=f"ndcg.between_user_sd_points = {between:g}",
                wanted=f"at most {MOST_SPREAD_POINTS:g}: nDCG times 100 lies between 0 and 100, and no spread is wider "
                "than that of users of whom half have 0 and half 100",
                cure="lower it; an interval that needs more was computed in another unit",
            )
        for level in {self.ndcg.control_points + effect for effect in (0.0, *map(self.effect_of, self.domains))}:
            if not 0 < level < 100:
                raise Mistake(found=f"a mean of {level:g} points", wanted="above 0 and below 100", cure="move it")
            most = (level * (100 - level)) ** 0.5
            if between**2 + within**2 > most**2 or between >= most:
                raise Mistake(
                    found=f"a spread of {between:g} points between users and {within:g} within, around {level:g}",
                    wanted=f"at most {most:.4g} together (root of the sum of squares): values lie between 0 and 100",
                    cure="lower them, or move the level towards 50",
                )
        return self

    @model_validator(mode="after")
    def _faults_fit(self) -> "Scenario":
        for fault in self.faults:
            if fault.at_hour >= self.hours:
                raise Mistake(
                    found=f"{fault} in {self.hours} hours", wanted="a fault that begins before the end", cure="move it"
                )
            if fault.kind is FaultKind.PARTITION and not 1 <= fault.size <= self.replicas:
                raise Mistake(found=str(fault), wanted=f"1 to {self.replicas} replicas", cure="correct the size")
            if fault.kind is FaultKind.NDCG and fault.size >= self.ndcg.control_points:
                raise Mistake(
                    found=str(fault),
                    wanted=f"less than the {self.ndcg.control_points:g} points that the baseline has",
                    cure="lower it",
                )
        return self

    @model_validator(mode="after")
    def _fits_into_memory(self) -> "Scenario":
        if self.expected_calls > MAX_CALLS:
            raise Mistake(
                found=f"about {self.expected_calls:,.0f} calls",
                wanted=f"at most {MAX_CALLS:,}",
                cure="simulate fewer visitors or hours; intervals depend on enrolled users, not on the rest",
            )
        return self


class _File(Scenario):
    """A scenario file may also name a definition, relative to itself."""

    definition: str | None = None


def load(path: Path) -> tuple[Scenario, Definition]:
    """The scenario of a TOML file and its definition, the template where it names none.

    Raises BadDefinition, UnknownOption, and what `parse_definition` raises; OSError.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        file = _File.model_validate({"name": path.stem} | table)
    except tomllib.TOMLDecodeError as cause:
        raise BadDefinition(
            found=f"{path}, which is not TOML ({cause})", wanted="a TOML scenario", cure="correct the line named"
        ) from cause
    except ValidationError as refused:
        raise explained(refused.errors(), f"the scenario {path}") from None
    text = template() if file.definition is None else (path.parent / file.definition).read_text(encoding="utf-8")
    scenario = Scenario.model_validate({name: getattr(file, name) for name in Scenario.model_fields})
    return scenario, parse_definition(text)
