"""Tables of what watches over users: guardrails, stage gates, rollback triggers, alerts."""

from typing import Final

from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.definition.safety import Alert, Guardrail, Measured, Trigger
from ra_guard.experiments.monitor.outcomes import Judged, Watched
from ra_guard.reports.content import Content
from ra_guard.reports.document import Cell, Column, Mark, Table, Tone
from ra_guard.reports.words import (
    ABSENT,
    NAMES,
    VERDICTS,
    alarm,
    compared,
    found,
    interval_on_scale,
    number,
    requirement,
    words,
)

_LEVELS: Final = {
    Metric.NDCG_AT_10: ("", 2),
    Metric.LATENCY_P95: (" ms", 1),
    Metric.ERROR_RATE: (" %", 2),
    Metric.SATISFACTION: (" stars", 2),
    Metric.COMPLAINTS: ("", 4),
    Metric.CLICK_THROUGH_RATE: (" %", 2),
    Metric.QUERY_COMPLETION_RATE: (" %", 2),
    Metric.CONTENT_DISCOVERY: ("", 2),
}
"""Unit and digits of an arm's level; other metrics are not measured by arm."""


def level(value: float | None, metric: Metric) -> str:
    """The level of an arm."""
    if value is None or metric not in _LEVELS:
        return ABSENT
    unit, digits = _LEVELS[metric]
    return f"{number(value, digits)}{unit}"


def guardrails(content: Content) -> Table:
    """All guardrails over the epoch so far."""
    return Table(
        columns=(*_JUDGED, Column("If not kept")),
        rows=tuple((*_judged(each), _action(each)) for each in content.assessment.guardrails),
        empty="No guardrail was read.",
        note="Since users were first enrolled. Intervals are anytime-valid.",
    )


def guardrails_in_short(content: Content) -> Table:
    """Guardrails for whoever has one page."""
    return Table(
        columns=(Column("Metric"), Column("Must be"), Column("Found", is_number=True), Column("Verdict")),
        rows=tuple(
            (
                compared(each.requirement),
                requirement(each.requirement),
                found(each.reading, each.requirement),
                VERDICTS[each.verdict],
            )
            for each in content.assessment.guardrails
        ),
        empty="No guardrail was read.",
    )


def gates(content: Content) -> Table:
    """What the stage in force must show before the ramp goes on."""
    return Table(
        columns=_JUDGED,
        rows=tuple(map(_judged, content.assessment.gates)),
        empty="No stage is in force, so no gate is asked.",
        note="Since the ramp came to its stage.",
    )


def triggers(content: Content) -> Table:
    """What rolls back by itself, where it stands, and how often it would do so in vain."""
    return Table(
        columns=(
            Column("Rolls back when"),
            Column("Now", is_number=True),
            Column("Standing"),
            Column("False rollbacks, measured"),
            Column("Detection, measured"),
        ),
        rows=tuple(_trigger(each) for each in content.assessment.tick.triggers),
        empty="No trigger was read.",
        note="Measured in simulated experiments, by the command that stands under how it was measured.",
    )


def alerts(content: Content) -> Table:
    """What tells people, and where it stands."""
    return Table(
        columns=(
            Column("Tells people when"),
            Column("Severity"),
            Column("Now", is_number=True),
            Column("Standing"),
            Column("Tells"),
        ),
        rows=tuple(_alert(content, each) for each in content.assessment.tick.alerts),
        empty="No alert was read.",
    )


def alert_lines(content: Content) -> tuple[str, ...]:
    """Every trigger and alert that fires, a line each."""
    tick = content.assessment.tick
    return tuple(
        f"{_severity(each)}: {NAMES[each.alarm.metric]} {alarm(each.alarm)}; found {found(each.reading, each.alarm)}, "
        f"{_standing(each).word}"
        for each in (*tick.triggers, *tick.alerts)
        if each.is_firing
    )


_JUDGED: Final = (
    Column("Metric"),
    Column("Must be"),
    Column("Found", is_number=True),
    Column("Interval", is_number=True),
    Column("Control", is_number=True),
    Column("Treatment", is_number=True),
    Column("Verdict"),
)


def _judged(each: Judged) -> tuple[Cell, ...]:
    wanted, reading = each.requirement, each.reading
    return (
        compared(wanted),
        requirement(wanted),
        found(reading, wanted),
        interval_on_scale(reading.interval, wanted.scale),
        _arm(reading.control, reading.control_count, wanted.metric),
        _arm(reading.treatment, reading.treatment_count, wanted.metric),
        VERDICTS[each.verdict],
    )


def _arm(value: float | None, count: int, metric: Metric) -> str:
    return level(value, metric) if metric not in _LEVELS else f"{level(value, metric)} (n {count:,})"


def _action(each: Judged) -> str:
    guardrail = each.requirement
    return f"{words(guardrail.action)} ({guardrail.severity})" if isinstance(guardrail, Guardrail) else ABSENT


def _trigger(each: Watched) -> tuple[Cell, ...]:
    measured = each.alarm.measured if isinstance(each.alarm, Trigger) else None
    return (
        f"{compared(each.alarm)} {alarm(each.alarm)}",
        found(each.reading, each.alarm),
        _standing(each),
        _in_vain(measured),
        _in_time(measured),
    )


def _in_vain(measured: Measured | None) -> str:
    if measured is None:
        return "not measured"
    return (
        f"{measured.false_rollback_percent:g} % of {measured.healthy_runs:,} healthy runs "
        f"(at most {measured.false_rollback_percent_upper:g} %)"
    )


def _in_time(measured: Measured | None) -> str:
    if measured is None:
        return "not measured"
    median = measured.detection_minutes_median
    after = "less than half of them" if median is None else f"median {median:g} minutes"
    return f"{measured.detected_percent:g} % of {measured.faulty_runs:,} runs with {measured.fault}; {after}"


def _alert(content: Content, each: Watched) -> tuple[Cell, ...]:
    told = each.alarm
    routes = ", ".join(told.routes) if isinstance(told, Alert) else ABSENT
    climbs = ""
    if isinstance(told, Alert):
        steps = [step for step in content.definition.escalation if step.level <= told.escalates_to_level]
        climbs = f"; climbs to {words(steps[-1].to)}" if len(steps) > 1 else ""
    return (
        f"{compared(told)} {alarm(told)}",
        _severity(each),
        found(each.reading, told),
        _standing(each),
        f"{routes}{climbs}",
    )


def _severity(each: Watched) -> str:
    return str(each.alarm.severity) if isinstance(each.alarm, Alert) else "trigger"


def _standing(each: Watched) -> Mark:
    shared = ", control too" if each.has_shared_cause else ""
    if each.is_firing:
        return Mark(f"fires{shared}", Tone.BAD)
    if each.crossed is None:
        return Mark("cannot be told", Tone.OPEN)
    if each.crossed:
        return Mark(f"crossed for {each.minutes_crossed} of {each.alarm.for_minutes} minutes{shared}", Tone.OPEN)
    return Mark("quiet", Tone.GOOD)
