"""Tables of what watches over users: guardrails, stage gates, rollback triggers, alerts."""

from typing import Final

from ra_guard.experiments.definition.measures import Counted
from ra_guard.experiments.definition.safety import Alert, Guardrail, Measured, Trigger
from ra_guard.experiments.definition.words import in_words, spoken
from ra_guard.experiments.monitor import words as said
from ra_guard.experiments.monitor.outcomes import Judged, Watched
from ra_guard.reports.content import Content
from ra_guard.reports.document import Cell, Column, Mark, Noted, Table, Tone
from ra_guard.reports.words import ABSENT, VERDICTS, arm, asked, counted, found_with_interval

_JUDGED: Final = (
    Column("Must hold"),
    Column("Found, with its interval", is_number=True),
    Column("Control", is_number=True),
    Column("Treatment", is_number=True),
    Column("Verdict"),
)


def guardrails(content: Content) -> Table:
    """All guardrails over the epoch so far."""
    return Table(
        columns=(*_JUDGED, Column("If not kept")),
        rows=tuple((*_judged(each), _action(each)) for each in content.assessment.guardrails),
        empty="No guardrail was read.",
        note="Since users were first enrolled. Intervals are anytime-valid, and made only where they can change the "
        "verdict; n is of requests or users, as the bound counts.",
    )


def guardrails_in_short(content: Content) -> Table:
    """Guardrails for whoever has one page."""
    return Table(
        columns=(_JUDGED[0], _JUDGED[1], _JUDGED[-1]),
        rows=tuple(
            (
                in_words(each.requirement),
                found_with_interval(each.reading, each.requirement.scale),
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
    """What rolls back by itself, where it stands, how often it would do so in vain and how soon in earnest."""
    return Table(
        columns=(
            Column("Rolls back by itself"),
            Column("Now", is_number=True),
            Column("Standing"),
            Column("False rollbacks"),
            Column("Detection"),
        ),
        rows=tuple(map(_trigger, content.assessment.tick.triggers)),
        empty="No trigger was read.",
        note="False rollbacks and detection were measured in simulated experiments, by the commands named below."
        if any(isinstance(each.alarm, Trigger) and each.alarm.measured for each in content.assessment.tick.triggers)
        else "",
    )


def alerts(content: Content) -> Table:
    """What tells people, and where it stands."""
    return Table(
        columns=(
            Column("Tells people"),
            Column("Severity"),
            Column("Now", is_number=True),
            Column("Standing"),
            Column("Whom and how"),
        ),
        rows=tuple(_alert(content, each) for each in content.assessment.tick.alerts),
        empty="No alert was read.",
    )


def firing(content: Content) -> tuple[str, ...]:
    """Every trigger and alert that fires, a line each."""
    tick = content.assessment.tick
    return tuple(f"{_severity(each)}: {said.fired(each)}" for each in (*tick.triggers, *tick.alerts) if each.is_firing)


def _judged(each: Judged) -> tuple[Cell, ...]:
    wanted, reading = each.requirement, each.reading
    return (
        asked(wanted),
        found_with_interval(reading, wanted.scale),
        _arm(each, reading.control, reading.control_count),
        _arm(each, reading.treatment, reading.treatment_count),
        VERDICTS[each.verdict],
    )


def _arm(each: Judged, value: float | None, count: int) -> Cell:
    """A level, and of how many; nothing for what is not measured by arm."""
    by_arm = each.requirement.measure.counted is not Counted.NOTHING
    return Noted(arm(value, each.requirement.metric), f"n {count:,}") if by_arm else ABSENT


def _action(each: Judged) -> Cell:
    guardrail = each.requirement
    return Noted(spoken(guardrail.action), guardrail.severity) if isinstance(guardrail, Guardrail) else ABSENT


def _trigger(each: Watched) -> tuple[Cell, ...]:
    measured = each.alarm.measured if isinstance(each.alarm, Trigger) else None
    now = found_with_interval(each.reading, each.alarm.scale)
    return asked(each.alarm), now, _standing(each), _in_vain(measured), _in_time(measured)


def _in_vain(measured: Measured | None) -> Cell:
    if measured is None:
        return Mark("not measured", Tone.OPEN)
    return Noted(
        f"{measured.false_rollback_percent:g} %",
        f"of {counted(measured.healthy_runs, 'healthy run')}, at most {measured.false_rollback_percent_upper:g} %",
    )


def _in_time(measured: Measured | None) -> Cell:
    if measured is None:
        return Mark("not measured", Tone.OPEN)
    median = measured.detection_minutes_median
    after = "in fewer than half of the runs" if median is None else f"after {median:g} minutes (median)"
    runs = counted(measured.faulty_runs, "run")
    return Noted(after, f"{measured.detected_percent:g} % of {runs} with {measured.fault}")


def _alert(content: Content, each: Watched) -> tuple[Cell, ...]:
    told, now = each.alarm, found_with_interval(each.reading, each.alarm.scale)
    return asked(told), _severity(each), now, _standing(each), _told(content, each)


def _told(content: Content, each: Watched) -> Cell:
    if not isinstance(each.alarm, Alert):
        return ABSENT
    path = [step.to for step in content.definition.escalation if step.level <= each.alarm.escalates_to_level]
    return Noted(", ".join(each.alarm.routes), ", then ".join(map(spoken, path)))


def _severity(each: Watched) -> str:
    return str(each.alarm.severity) if isinstance(each.alarm, Alert) else "trigger"


def _standing(each: Watched) -> Mark:
    shared = ", control as well" if each.has_shared_cause else ""
    if each.is_firing:
        return Mark(f"fires{shared}", Tone.BAD)
    if each.crossed is None:
        return Mark("cannot be told", Tone.OPEN)
    if each.crossed:
        return Mark(f"crossed for {each.minutes_crossed} of {each.alarm.for_minutes} minutes{shared}", Tone.OPEN)
    return Mark("quiet", Tone.GOOD)
