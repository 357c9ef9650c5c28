"""Tables of what was measured: the primary metric and its looks, indicators, domains, queries, days."""

from collections import defaultdict
from statistics import median

from ra_guard.experiments.definition.measures import Scale
from ra_guard.reports.content import ArmHour, Content, Hour
from ra_guard.reports.document import Cell, Column, Mark, Paragraph, Table, Tone
from ra_guard.reports.effects import by_domain, indicators
from ra_guard.reports.looks import Shown, shown
from ra_guard.reports.safety import level
from ra_guard.reports.words import (
    ABSENT,
    FINDINGS,
    found_on,
    insufficient,
    interval_on_scale,
    moment_of,
    number,
    numbers,
    on_scale,
    p_value,
    ramp,
    share,
    signed,
)
from ra_guard.stats.outcome import Effect, Insufficient


def primary(content: Content) -> Paragraph:
    """The primary metric as watched, and what would be success."""
    plan = content.definition.metrics.primary
    success = (
        f"Success is an estimate of {signed(plan.success_points, 2)} points or more at a planned look, with an "
        f"interval at {plan.confidence_percent:g} % above zero; {signed(plan.expected_points, 2)} are expected."
    )
    watched = content.assessment.primary
    if isinstance(watched, Insufficient):
        return Paragraph(f"{success} As watched by the minute, it cannot be told yet: {insufficient(watched)}.")
    return Paragraph(
        f"{success} As watched by the minute, treatment less control is {on_scale(watched.estimate, Scale.POINTS)}, "
        f"anytime-valid interval {interval_on_scale(watched.interval, Scale.POINTS)}, p {p_value(watched.p_value)}."
    )


def looks(content: Content) -> Table:
    """The looks that were taken, against their boundaries."""
    return Table(
        columns=(
            Column("Look"),
            Column("Taken"),
            Column("Users, control"),
            Column("Users, treatment"),
            Column("Information", is_number=True),
            Column("Added points", is_number=True),
            Column("Standard error", is_number=True),
            Column("z", is_number=True),
            Column("Boundary", is_number=True),
            Column("Repeated interval", is_number=True),
            Column("Crossed"),
        ),
        rows=tuple(map(_look, shown(content.definition, content.looks))),
        empty="No planned look has been taken.",
        note="The boundary is Lan-DeMets spending of O'Brien-Fleming type by information, two-sided. The last look "
        "spends what is left.",
    )


def _look(each: Shown) -> tuple[Cell, ...]:
    look = each.look
    crossed = Mark("yes", Tone.GOOD if look.estimate > 0 else Tone.BAD) if each.is_crossed else Mark("no", Tone.OPEN)
    return (
        f"day {look.day}{', last' if look.is_last else ''}",
        moment_of(look.at_unix_s),
        f"{look.control_users:,}",
        f"{look.treatment_users:,}",
        share(look.information, 1, 1),
        signed(look.estimate, 2),
        number(look.standard_error, 2),
        signed(each.z, 2),
        number(each.boundary_z, 2),
        interval_on_scale(each.interval, Scale.POINTS),
        crossed,
    )


def findings(content: Content) -> Table:
    """What the decision rests on, in the order in which it was asked."""
    held = {True: Mark("yes", Tone.PLAIN), False: Mark("no", Tone.PLAIN), None: Mark("cannot be told", Tone.OPEN)}
    return Table(
        columns=(Column("Asked"), Column("Holds"), Column("Why"), Column("Numbers")),
        rows=tuple(
            (FINDINGS[each.finding], held[each.holds], each.why, numbers(each.numbers))
            for each in content.decision.findings
        ),
        empty="Nothing was asked yet.",
        note="What cannot be told counts as not holding.",
    )


def indicated(content: Content) -> Table:
    """The plan's indicators, which decide nothing."""
    return Table(
        columns=(
            Column("Indicator"),
            Column("Tier"),
            Column("Found", is_number=True),
            Column("Interval", is_number=True),
            Column("Control", is_number=True),
            Column("Treatment", is_number=True),
        ),
        rows=tuple(
            (
                each.indicator.description,
                str(each.indicator.tier),
                found_on(each.reading, each.scale),
                interval_on_scale(each.reading.interval, each.scale),
                level(each.reading.control, each.indicator.metric),
                level(each.reading.treatment, each.indicator.metric),
            )
            for each in indicators(content)
        ),
        empty="The plan has no indicators.",
        note="Treatment less control. Intervals are anytime-valid, each by itself: among several, one may exclude zero "
        "by chance.",
    )


def domains(content: Content) -> Table:
    """The primary metric in each domain."""
    rows = []
    for name, effect in by_domain(content).items():
        arms = content.domains[name]
        known = effect if isinstance(effect, Effect) else None
        rows.append(
            (
                name or "no domain",
                f"{arms.control.users:,}",
                f"{arms.treatment.users:,}",
                f"none: {insufficient(effect)}"
                if isinstance(effect, Insufficient)
                else on_scale(effect.estimate, Scale.POINTS),
                interval_on_scale(known.interval if known else None, Scale.POINTS),
            )
        )
    return Table(
        columns=(
            Column("Domain"),
            Column("Users, control", is_number=True),
            Column("Users, treatment", is_number=True),
            Column("Added", is_number=True),
            Column("Interval", is_number=True),
        ),
        rows=tuple(rows),
        empty="No domain is known.",
        note="Anytime-valid intervals, each by itself. A user who searched in two domains counts in both.",
    )


def queries(content: Content) -> Table:
    """The most frequent query texts: means over few requests, without intervals."""
    return Table(
        columns=(
            Column("Query"),
            Column("Calls", is_number=True),
            Column("Control, points", is_number=True),
            Column("Treatment, points", is_number=True),
            Column("Added", is_number=True),
        ),
        rows=tuple(
            (
                each.query,
                f"{each.calls:,}",
                ABSENT if each.control_ndcg is None else number(each.control_ndcg, 2),
                ABSENT if each.treatment_ndcg is None else number(each.treatment_ndcg, 2),
                ABSENT
                if each.control_ndcg is None or each.treatment_ndcg is None
                else signed(each.treatment_ndcg - each.control_ndcg, 2),
            )
            for each in content.queries
        ),
        empty="The source has no query texts.",
        note="nDCG@10 x 100, mean over requests. Without intervals: a place to look, nothing to decide by.",
    )


def days(content: Content) -> Table:
    """Where each day ended, and what it added."""
    by_day: dict[int, list[Hour]] = defaultdict(list)
    if content.launched_at is not None:
        launched = content.launched_at.timestamp()
        for hour in content.hours:
            by_day[max(0, int((hour.at_unix_s - 1 - launched) // 86_400)) + 1].append(hour)
    return Table(
        columns=(
            Column("Day", is_number=True),
            Column("Ramp", is_number=True),
            Column("Users, control / treatment", is_number=True),
            Column("Calls", is_number=True),
            Column("Errors", is_number=True),
            Column("P95 ms", is_number=True),
            Column("Added points, so far", is_number=True),
            Column("Anytime interval", is_number=True),
            Column("Sample ratio p", is_number=True),
            Column("Power", is_number=True),
        ),
        rows=tuple(_day(day, hours) for day, hours in sorted(by_day.items())),
        empty="No hour has been recorded.",
        note="Calls and errors of the day, control / treatment; P95 is the median of the day's hours; the rest as the "
        "day ended.",
    )


def _day(day: int, hours: list[Hour]) -> tuple[Cell, ...]:
    last = hours[-1]
    arms = [hour.control for hour in hours], [hour.treatment for hour in hours]
    known = last.primary if isinstance(last.primary, Effect) else None
    return (
        str(day),
        ramp(last.ramp_bp),
        f"{last.control_users:,} / {last.treatment_users:,}",
        " / ".join(f"{sum(hour.calls for hour in arm):,}" for arm in arms),
        " / ".join(f"{sum(hour.errors for hour in arm):,}" for arm in arms),
        " / ".join(_typical_p95(arm) for arm in arms),
        signed(known.estimate, 2) if known else ABSENT,
        interval_on_scale(known.interval, Scale.POINTS).removesuffix(" points") if known else ABSENT,
        p_value(last.sample_ratio_p),
        ABSENT if last.power_percent is None else f"{number(last.power_percent, 0)} %",
    )


def _typical_p95(arm: list[ArmHour]) -> str:
    known = [hour.p95_ms for hour in arm if hour.p95_ms is not None]
    return number(median(known), 0) if known else ABSENT
