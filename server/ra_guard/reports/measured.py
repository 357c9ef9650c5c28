"""Tables of what was measured: the primary metric and its looks, indicators, domains, queries, days."""

from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Final

from ra_guard.experiments.definition.vocabulary import SuccessRule
from ra_guard.experiments.definition.words import NAMES, spoken
from ra_guard.reports.content import ArmHour, Content, Hour, QueryLine
from ra_guard.reports.document import Cell, Column, Mark, Noted, Paragraph, Table, Tone
from ra_guard.reports.effects import by_domain, indicators
from ra_guard.reports.looks import Shown, shown
from ra_guard.reports.plots import LEAST_CALLS
from ra_guard.reports.words import (
    ABSENT,
    FINDINGS,
    arm,
    found_with_interval,
    insufficient,
    moment_of,
    p_value,
    points,
    share,
    signed,
)
from ra_guard.stats.outcome import Effect, Insufficient


def primary(content: Content) -> Paragraph:
    """The primary metric as watched, and what would be success."""
    plan = content.definition.metrics.primary
    success = f"{_SUCCESS[plan.success_rule].format(success=signed(plan.success_points), plan=plan)} "
    success += f"{signed(plan.expected_points)} are expected."
    said = [success, _watched("As watched by the minute", content.assessment.primary)]
    if content.assessment.corrected is not None:
        said.append(_watched("Corrected for position, which decides nothing", content.assessment.corrected))
    return Paragraph(" ".join(said))


def _watched(how: str, effect: Effect | Insufficient) -> str:
    if isinstance(effect, Insufficient):
        return f"{how}, it cannot be told yet: {insufficient(effect)}."
    return (
        f"{how}, treatment less control is {signed(effect.estimate)} points, "
        f"anytime-valid interval {points(effect.interval)}, p {p_value(effect.p_value)}."
    )


_SUCCESS: Final[Mapping[SuccessRule, str]] = {
    SuccessRule.POINT_AT_THRESHOLD_INTERVAL_ABOVE_ZERO: "Success is an estimate of {success} points or more at a "
    "planned look, with the whole {plan.confidence_percent:g} % interval above zero.",
    SuccessRule.INTERVAL_ABOVE_THRESHOLD: "Success is a {plan.confidence_percent:g} % interval that lies above "
    "{success} points as a whole, at a planned look.",
}


def looks(content: Content) -> Table:
    """The looks that were taken, against their boundaries."""
    return Table(
        columns=(
            Column("Look"),
            Column("Users, control / treatment", is_number=True),
            Column("Information", is_number=True),
            Column("Added points", is_number=True),
            Column("Repeated interval", is_number=True),
            Column("z", is_number=True),
            Column("Boundary", is_number=True),
            Column("Crossed"),
        ),
        rows=tuple(map(_look, shown(content.definition, content.looks))),
        empty="No planned look has been taken.",
        note="z is the estimate in standard errors. The boundary is two-sided, by Lan-DeMets spending of "
        "O'Brien-Fleming type by information; the last look spends what is left.",
    )


def _look(each: Shown) -> tuple[Cell, ...]:
    look = each.look
    crossed = Mark("yes", Tone.GOOD if look.estimate > 0 else Tone.BAD) if each.is_crossed else Mark("no", Tone.OPEN)
    return (
        Noted(f"day {look.day}{', the last' if look.is_last else ''}", moment_of(look.at_unix_s)),
        f"{look.control_users:,} / {look.treatment_users:,}",
        share(look.information, 1, 1),
        Noted(signed(look.estimate), f"standard error {look.standard_error:.2f}"),
        points(each.interval),
        signed(each.z),
        f"{each.boundary_z:.2f}",
        crossed,
    )


def findings(content: Content) -> Table:
    """What the decision rests on, in the order in which it was asked."""
    held = {True: Mark("yes", Tone.PLAIN), False: Mark("no", Tone.PLAIN), None: Mark("cannot be told", Tone.OPEN)}
    return Table(
        columns=(Column("Asked"), Column("Holds"), Column("Why")),
        rows=tuple((FINDINGS[each.finding], held[each.holds], each.why) for each in content.decision.findings),
        empty="Nothing was asked yet.",
        note="What cannot be told counts as not holding.",
    )


def behind(content: Content) -> Table:
    """Every number that a finding named, once."""
    named = {name: number for each in content.decision.findings for name, number in each.numbers.items()}
    return Table(
        columns=(Column("Number"), Column("Value", is_number=True)),
        rows=tuple((spoken(name), f"{number:.6g}") for name, number in named.items()),
        empty="No finding has a number.",
    )


def indicated(content: Content) -> Table:
    """The plan's indicators, which decide nothing."""
    return Table(
        columns=(
            Column("Indicator"),
            Column("Found, with its interval", is_number=True),
            Column("Control", is_number=True),
            Column("Treatment", is_number=True),
        ),
        rows=tuple(
            (
                Noted(each.indicator.description, f"{NAMES[each.indicator.metric]}, {each.indicator.tier}"),
                found_with_interval(each.reading, each.scale),
                arm(each.reading.control, each.indicator.metric),
                arm(each.reading.treatment, each.indicator.metric),
            )
            for each in indicators(content)
        ),
        empty="The plan has no indicators.",
        note="Treatment less control, percent relative to control. Intervals are anytime-valid and two-sided, each by "
        "itself: among several, one may exclude zero by chance. None of them decides.",
    )


def domains(content: Content) -> Table:
    """The primary metric in each domain."""
    return Table(
        columns=(
            Column("Domain"),
            Column("Users, control / treatment", is_number=True),
            Column("Added points", is_number=True),
            Column("Interval", is_number=True),
        ),
        rows=tuple(_domain(content, name, effect) for name, effect in by_domain(content).items()),
        empty="No domain is known.",
        note="Anytime-valid intervals, each by itself. A user who searched in two domains counts in both.",
    )


def _domain(content: Content, name: str, effect: Effect | Insufficient) -> tuple[Cell, ...]:
    arms = content.domains[name]
    users = f"{arms.control.users:,} / {arms.treatment.users:,}"
    if isinstance(effect, Insufficient):
        return name, users, Noted("none", insufficient(effect)), ABSENT
    return name, users, signed(effect.estimate), points(effect.interval)


def queries(content: Content) -> Table:
    """The most frequent query texts: means over few requests, without intervals."""
    return Table(
        columns=(
            Column("Query"),
            Column("Calls", is_number=True),
            Column("Control", is_number=True),
            Column("Treatment", is_number=True),
            Column("Added points", is_number=True),
        ),
        rows=tuple(map(_query, content.queries)),
        empty="The source has no query texts.",
        note="nDCG@10 x 100, mean over requests. Without intervals: a place to look, nothing to decide by.",
    )


def _query(each: QueryLine) -> tuple[Cell, ...]:
    control, treatment = each.control_ndcg, each.treatment_ndcg
    added = ABSENT if control is None or treatment is None else signed(treatment - control)
    levels = [ABSENT if level is None else f"{level:.2f}" for level in (control, treatment)]
    return each.query, f"{each.calls:,}", *levels, added


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
            Column("Added points", is_number=True),
            Column("Sample ratio p", is_number=True),
            Column("Power", is_number=True),
        ),
        rows=tuple(_day(day, hours) for day, hours in sorted(by_day.items())),
        empty="No hour has been recorded.",
        note="Calls and errors of the day, control / treatment; P95 is the median of the day's hours; the rest as the "
        "day ended, with the anytime-valid interval.",
    )


def _day(day: int, hours: list[Hour]) -> tuple[Cell, ...]:
    last = hours[-1]
    arms = [hour.control for hour in hours], [hour.treatment for hour in hours]
    known = last.primary if isinstance(last.primary, Effect) else None
    return (
        str(day),
        f"{last.ramp_bp / 100:g} %",
        f"{last.control_users:,} / {last.treatment_users:,}",
        " / ".join(f"{sum(hour.calls for hour in each):,}" for each in arms),
        " / ".join(f"{sum(hour.errors for hour in each):,}" for each in arms),
        " / ".join(map(_typical_p95, arms)),
        Noted(signed(known.estimate), points(known.interval)) if known else ABSENT,
        p_value(last.sample_ratio_p),
        ABSENT if last.power_percent is None else f"{last.power_percent:.0f} %",
    )


def _typical_p95(arm_hours: list[ArmHour]) -> str:
    known = [hour.p95_ms for hour in arm_hours if hour.p95_ms is not None and hour.calls >= LEAST_CALLS[95]]
    return f"{median(known):.0f}" if known else ABSENT
