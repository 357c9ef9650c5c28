"""Contents for reports, from an experiment played in a few lines: users with a quality of their own, calls of lognormal
length, errors and ratings by chance. What is said of them is computed by the package's own statistics.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
from ra_guard.evidence.contrast import ArmStatistics, Contrast, Evidence, Exposure, Vitals
from ra_guard.evidence.latency import BUCKETS, bucket_of, quantile_ms, upper_ms
from ra_guard.evidence.tally import CONTROL, TREATMENT, Batch, Calls, Changes, Quantity
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Alarm, Bound, Comparison, Metric, Requirement, Scale
from ra_guard.experiments.definition.measures import Evidence as Asked
from ra_guard.experiments.definition.vocabulary import Finding, Outcome
from ra_guard.experiments.monitor.outcomes import (
    Assessment,
    Decision,
    Found,
    Judged,
    Look,
    Reading,
    Tick,
    Verdict,
    Watched,
)
from ra_guard.experiments.monitor.primary import primary_effect
from ra_guard.reports import looks
from ra_guard.reports.content import Content, QueryLine
from ra_guard.reports.history import History
from ra_guard.stats import quantile_tests
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Effect, Insufficient, Interval
from ra_guard.stats.power import power_of
from ra_guard.stats.srm import sample_ratio

from tests.stand_ins.definitions import definition

LAUNCH: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LAUNCH_MINUTE: Final = int(LAUNCH.timestamp()) // 60
DOMAINS: Final = ("cocktails", "flowers", "professional")
RAMP_BP: Final = (100, 500, 1000, 2500, 5000)
"""A day each, the last one to the end."""
HOSTILE: Final = '<script src="https://example.com/x.js">alert(1)</script> | **bold** [a](https://example.com)'


@dataclass(frozen=True)
class Plot:
    """What happens in the experiment."""

    days: float = 14.0
    users: int = 2_500
    """In each arm at the full ramp."""
    effect_points: float = 4.2
    added_ms: float = 12.0
    error_rate: float = 0.004
    added_error_rate: float = 0.001
    seed: int = 7
    definition: Definition = field(default_factory=definition)


class Played:
    """The calls of an experiment, and what is known of them at a minute."""

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        random = np.random.default_rng(plot.seed)
        n = 2 * plot.users
        self.arm = np.repeat([CONTROL, TREATMENT], plot.users).astype(np.uint8)
        treated = self.arm == TREATMENT
        self.ndcg = np.clip(random.normal(0.48, 0.33, n) + treated * plot.effect_points / 100, 0, 1)
        self.clicks = np.clip(random.normal(0.31, 0.2, n) + treated * 0.012, 0, 1)
        self.stars = np.clip(random.normal(4.0, 0.8, n) + treated * 0.04, 1, 5)
        self.found = random.poisson(3.0 + treated * 0.3).astype(np.float64)
        allowed = np.searchsorted(RAMP_BP, random.integers(0, 5_000, n), side="right") * 1_440
        joined = np.maximum(allowed, random.integers(0, 13 * 1_440, n))
        stays = np.maximum(plot.days * 1_440 - joined, 0)
        self.user = np.repeat(np.arange(n), random.poisson(2.2 * stays / 1_440))
        minute = joined[self.user] + random.random(self.user.size) * stays[self.user]
        order = np.argsort(minute)
        self.user, self.minute = self.user[order], (LAUNCH_MINUTE + minute[order]).astype(np.int32)
        of_treatment = treated[self.user]
        size = self.user.size
        micros = random.lognormal(np.log(190), 0.32, size) * 1_000 + of_treatment * plot.added_ms * 1_000
        self.bucket = bucket_of(micros.astype(np.uint32))
        self.error = random.random(size) < plot.error_rate + of_treatment * plot.added_error_rate
        self.domain = random.choice(len(DOMAINS), size, p=[0.5, 0.3, 0.2]).astype(np.uint8)

    def batch(self, since: int, until: int) -> Batch:
        """The calls of some minutes, ``until`` excluded."""
        low, high = np.searchsorted(self.minute, [since, until])
        rows = slice(int(low), int(high))
        user = self.user[rows].astype(np.uint32)
        calls = Calls(
            minute=self.minute[rows],
            arm=self.arm[user],
            user=user,
            domain=self.domain[rows],
            bucket=self.bucket[rows],
            error=self.error[rows],
            weight=np.ones(user.size, np.int8),
        )
        return Batch(calls, no_changes())

    def contrast(self, as_of: int, domain: int | None = None) -> Contrast:
        """Since the launch, up to the end of a minute."""
        chosen = self.minute <= as_of
        if domain is not None:
            chosen &= self.domain == domain
        return Contrast(self._statistics(CONTROL, chosen), self._statistics(TREATMENT, chosen))

    def _statistics(self, arm: int, chosen: npt.NDArray[np.bool_]) -> ArmStatistics:
        mine = chosen & (self.arm[self.user] == arm)
        users = np.unique(self.user[mine])
        return ArmStatistics(
            users=users.size,
            calls=int(mine.sum()),
            errors=int(self.error[mine].sum()),
            latency=np.bincount(self.bucket[mine], minlength=BUCKETS),
            latency_design_effect=1.2,
            error_design_effect=1.1,
            means={
                Quantity.NDCG: Moments.of(self.ndcg[users]),
                Quantity.CLICK_THROUGH: Moments.of(self.clicks[users]),
                Quantity.COMPLETION: Moments.of(np.clip(self.clicks[users] + 0.4, 0, 1)),
                Quantity.RATING: Moments.of(self.stars[users][::3]),
                Quantity.COMPLAINTS: Moments.of((self.found[users] == 0).astype(np.float64)),
                Quantity.DISCOVERY: Moments.of(self.found[users]),
            },
        )

    def evidence(self, as_of: int) -> Evidence:
        """Everything at one minute."""
        epoch = self.contrast(as_of)
        exposure = Exposure(epoch.control.users, epoch.treatment.users, 1, 12, 9)
        return Evidence(
            as_of=as_of,
            epoch=epoch,
            stage=epoch,
            recent={},
            exposure=exposure,
            vitals=Vitals(replicas=3, failing=0, critical_errors=0, critical_errors_in_epoch=0),
            late=41,
            not_relevant={CONTROL: 310, TREATMENT: 298},
        )


def no_changes() -> Changes:
    """A batch without any."""
    none = np.zeros(0)
    return Changes(
        minute=none.astype(np.int32),
        arm=none.astype(np.uint8),
        user=none.astype(np.uint32),
        domain=none.astype(np.uint8),
        quantity=none.astype(np.uint8),
        count=none.astype(np.int32),
        total=none.astype(np.int64),
    )


def ramp_bp(minute: int) -> int:
    """As the plan ramps."""
    return RAMP_BP[min(len(RAMP_BP) - 1, max(0, (minute - LAUNCH_MINUTE) // 1_440))]


def assessment(plan: Definition, evidence: Evidence) -> Assessment:
    """All guardrails and alarms, read and judged by the value alone."""
    epoch, exposure = evidence.epoch, evidence.exposure
    users = exposure.control_users, exposure.treatment_users
    guardrails = tuple(_judged(each, _read(plan, each, epoch)) for each in plan.metrics.guardrails)
    tick = Tick(
        as_of=evidence.as_of,
        triggers=tuple(_watched(each, _read(plan, each, epoch)) for each in plan.triggers),
        guardrails=tuple(each for each in guardrails if each.requirement.metric is Metric.ERROR_RATE),
        alerts=tuple(_watched(each, _read(plan, each, epoch)) for each in plan.alerts),
    )
    enough = min(users) >= 100
    power = power_of(4.24, *[int(n) for n in users], deviation=35) if enough else None
    return Assessment(
        tick=tick,
        guardrails=guardrails,
        gates=tuple(_judged(each, _read(plan, each, epoch)) for each in plan.stages[-1].gates),
        sample_ratio=sample_ratio(users, (1, 1)),
        crossover_percent=100 * exposure.crossed_users / sum(users) if sum(users) else None,
        primary=primary_effect(plan, epoch),
        power_percent=None if power is None else 100 * power,
    )


def _read(plan: Definition, bound: Bound, contrast: Contrast) -> Reading:
    control, treatment = contrast.control, contrast.treatment
    counts = control.calls, treatment.calls
    if bound.metric is Metric.LATENCY_P95:
        levels = [quantile_ms(control.latency, 0.95), quantile_ms(treatment.latency, 0.95)]
        interval = _latency_interval(contrast)
    elif bound.metric is Metric.ERROR_RATE:
        levels = [100 * arm.errors / arm.calls if arm.calls else None for arm in (control, treatment)]
        interval = None
    elif bound.metric is Metric.SATISFACTION:
        means = control.means[Quantity.RATING], treatment.means[Quantity.RATING]
        counts = means[0].n, means[1].n
        levels = [mean.means[0] if mean.n else None for mean in means]
        interval = Interval(-0.06, 0.14)
    elif bound.metric is Metric.NDCG_AT_10:
        effect = primary_effect(plan, contrast)
        if isinstance(effect, Insufficient):
            return _none(effect.found)
        return Reading(effect.estimate, effect.interval, 48.0, 48.0 + effect.estimate, control.users, treatment.users)
    else:
        return Reading(96.0 if bound.scale is Scale.PERCENT else 0.0, None, None, None, 0, 0)
    if min(counts) < max(1, bound.min_count) or None in levels:
        return _none(f"{counts[0]} and {counts[1]}, {bound.min_count} are needed")
    before, after = (float(each or 0) for each in levels)
    value = after if bound.scale is Scale.PERCENT else after - before
    return Reading(value, interval, before, after, *counts)


def _latency_interval(contrast: Contrast) -> Interval | None:
    samples = [
        quantile_tests.sample_of_histogram(upper_ms(), arm.latency) for arm in (contrast.control, contrast.treatment)
    ]
    effect = quantile_tests.difference(samples[0], samples[1], quantile=0.95, requests_opt=5_000)
    return effect.interval if isinstance(effect, Effect) else None


def _none(lack: str) -> Reading:
    return Reading(None, None, None, None, 0, 0, lack=lack)


_HOLDS: Final = {
    Comparison.ABOVE: lambda value, bound: value > bound,
    Comparison.BELOW: lambda value, bound: value < bound,
    Comparison.AT_LEAST: lambda value, bound: value >= bound,
    Comparison.AT_MOST: lambda value, bound: value <= bound,
}


def _judged(wanted: Requirement, reading: Reading) -> Judged:
    if reading.value is None:
        return Judged(wanted, reading, Verdict.INSUFFICIENT)
    value = reading.value
    if reading.interval is not None and wanted.evidence is Asked.PROVEN:
        value = reading.interval.high if wanted.must_be.towards.value == "lower" else reading.interval.low
    if reading.interval is not None and wanted.evidence is Asked.NOT_REFUTED:
        value = reading.interval.low if wanted.must_be.towards.value == "lower" else reading.interval.high
    holds = _HOLDS[wanted.must_be](value, wanted.bound)
    return Judged(wanted, reading, Verdict.PASS if holds else Verdict.FAIL)


def _watched(alarm: Alarm, reading: Reading) -> Watched:
    crossed = None if reading.value is None else _HOLDS[alarm.when](reading.value, alarm.bound)
    return Watched(
        alarm=alarm,
        reading=reading,
        crossed=crossed,
        minutes_crossed=alarm.for_minutes if crossed else 0,
        coverage=1.0,
        is_firing=bool(crossed),
        has_shared_cause=False,
    )


def looks_of(played: Played, days: float) -> tuple[Look, ...]:
    """The looks that came due."""
    analysis = played.plot.definition.analysis
    taken = []
    for day in (*analysis.look_days, analysis.end_day):
        if day > days:
            continue
        contrast = played.contrast(LAUNCH_MINUTE + day * 1_440 - 1)
        before, after = (arm.means[Quantity.NDCG] for arm in (contrast.control, contrast.treatment))
        error = 100 * float(np.sqrt(before.variance(0) / before.n + after.variance(0) / after.n))
        information = 2 / (1 / before.n + 1 / after.n) / played.plot.definition.sample.users_per_arm
        estimate = 100 * (after.means[0] - before.means[0])
        at = int(LAUNCH.timestamp()) + day * 86_400
        taken.append(Look(day, at, before.n, after.n, estimate, error, information, day == analysis.end_day))
    return tuple(taken)


def played_content(plot: Plot) -> Content:
    """The experiment of a plot, as it stands at the end of its days."""
    played, plan = Played(plot), plot.definition
    history = History(plan)
    last = LAUNCH_MINUTE + int(plot.days * 1_440) - 1
    for start in range(LAUNCH_MINUTE, last, 60):
        history.add(played.batch(start, start + 60))
        evidence = played.evidence(start + 59)
        history.step(evidence, _by_the_hour(plan, evidence), ramp_bp(start))
    evidence = played.evidence(last)
    taken = looks_of(played, plot.days)
    return Content(
        definition=plan,
        epoch=1,
        revision=9,
        state=f"live at {ramp_bp(last) / 100:g} %",
        launched_at=LAUNCH,
        as_of=datetime.fromtimestamp((last + 1) * 60, UTC),
        assessment=assessment(plan, evidence),
        evidence=evidence,
        decision=keep_running(plan, taken),
        looks=taken,
        hours=history.hours(),
        domains={name: played.contrast(last, number) for number, name in enumerate(DOMAINS)},
        queries=(
            QueryLine("a red cocktail with mint", 412, 51.2, 57.9),
            QueryLine("peonies", 233, 44.0, 43.1),
            QueryLine("team in an office", 120, None, 62.5),
            QueryLine(HOSTILE, 7, None, None),
        ),
        ledger=ledger(plan, plot.days),
        source=f"a simulation, seed {plot.seed}",
    )


def _by_the_hour(plan: Definition, evidence: Evidence) -> Assessment:
    """What a history notes, and nothing dearer."""
    users = evidence.exposure.control_users, evidence.exposure.treatment_users
    power = 100 * power_of(4.24, users[0], users[1], deviation=35) if min(users) >= 100 else None
    tick = Tick(evidence.as_of, (), (), ())
    split, effect = sample_ratio(users, (1, 1)), primary_effect(plan, evidence.epoch)
    return Assessment(tick, (), (), split, 0.0, effect, power)


def keep_running(plan: Definition, taken: tuple[Look, ...]) -> Decision:
    """Before the end, or for want of anything."""
    shown = looks.shown(plan, taken)
    found = (
        Found(Finding.SAMPLE_RATIO_HOLDS, holds=True, why="p 0.62, limit 0.001", numbers={"p": 0.62}),
        Found(Finding.GUARDRAILS_HEALTHY, None, "satisfaction cannot be told", {}),
        Found(Finding.SUCCESS, holds=False, why="the boundary is not crossed", numbers={}),
    )
    why = "It is too early to tell: keep running until the next look."
    if not shown:
        return Decision(Outcome.KEEP_RUNNING, found, None, None, None, why)
    return Decision(Outcome.KEEP_RUNNING, found, shown[-1].look, shown[-1].boundary_z, shown[-1].interval, why)


def ledger(plan: Definition, days: float) -> tuple[Entry, ...]:
    """The ramp of the plan, with a why that somebody made to do harm."""
    lines = [Entry(plan.key, 1, LAUNCH - timedelta(days=3), "ana", "as agreed on Monday", "create at ramp 0 %")]
    for step, bp in enumerate(RAMP_BP[: int(days) + 1]):
        who, why = ("ana", HOSTILE) if step == 0 else ("ra-guard watch", "every gate of the stage holds")
        before = RAMP_BP[step - 1] if step else 0
        what = f"ramp {before / 100:g} % to {bp / 100:g} %"
        at = LAUNCH + timedelta(days=step)
        lines.append(Entry(plan.key, step + 2, at, who, why, what, {"added_p95_ms": 12.25} if step else {}))
    return tuple(lines)


# The cases that a report must be able to tell


def healthy(days: float = 5.5) -> Content:
    """In the middle, with one look taken."""
    return played_content(Plot(days=days))


def insufficient() -> Content:
    """Three hours after the launch."""
    return played_content(Plot(days=0.125))


def empty() -> Content:
    """Nobody enrolled, nothing logged."""
    plan = definition()
    evidence = Played(Plot(days=0.0)).evidence(LAUNCH_MINUTE)
    nobody = replace(evidence, exposure=Exposure(0, 0, 0, 0, 0), late=0, not_relevant={})
    return Content(
        definition=plan,
        epoch=1,
        revision=1,
        state="not started",
        launched_at=None,
        as_of=LAUNCH,
        assessment=replace(assessment(plan, nobody), gates=()),
        evidence=nobody,
        decision=Decision(Outcome.KEEP_RUNNING, (), None, None, None, "Nobody has been enrolled yet."),
        looks=(),
        hours=(),
        domains={},
        queries=(),
        ledger=(),
        source="the logs under /var/lib/ra-guard",
    )


def decided() -> Content:
    """At the end, for deployment."""
    content = played_content(Plot(days=14.0))
    last = looks.shown(content.definition, content.looks)[-1]
    why = f"Treatment is better by {last.look.estimate:+.2f} points and every guardrail holds: deploy it to everyone."
    found = (
        Found(
            Finding.SAMPLE_RATIO_HOLDS, holds=True, why="p is at least the limit", numbers={"p": 0.62, "limit": 0.001}
        ),
        Found(Finding.CROSSOVER_WITHIN_LIMIT, holds=True, why="one user of 5,000", numbers={"percent": 0.02}),
        Found(Finding.GUARDRAILS_HEALTHY, holds=True, why="all three hold", numbers={"guardrails": 3}),
        Found(
            Finding.SUCCESS,
            holds=True,
            why="the estimate reaches 2.97 and the interval lies above 0",
            numbers={"z": last.z},
        ),
    )
    decision = Decision(Outcome.DEPLOY, found, last.look, last.boundary_z, last.interval, why)
    return replace(content, decision=decision)


def rolled_back() -> Content:
    """Ended by a trigger on the fourth day: calls fail in treatment."""
    content = played_content(Plot(days=3.5, users=8_000, added_error_rate=0.05, effect_points=-1.0))
    why = "error rate above 2 % for 15 minutes, found 5.4 %"
    at = content.as_of
    end = Entry(content.definition.key, 10, at, "ra-guard watch", why, "roll back from ramp 25 %, close epoch 1")
    found = (Found(Finding.GUARDRAIL_VIOLATED, holds=True, why="error rate", numbers={"error_rate_percent": 5.4}),)
    decision = Decision(Outcome.ROLL_BACK, found, None, None, None, "Treatment fails 5 % of its calls: roll it back.")
    return replace(content, state="rolled back", ledger=(*content.ledger, end), decision=decision)
