"""The deployment package as Markdown: what a person reads, prints and ticks. It says what the JSON says."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from ra_guard.experiments.definition.measures import Alarm, Requirement
from ra_guard.experiments.definition.people import ChecklistLine
from ra_guard.experiments.definition.safety import Measured, Trigger
from ra_guard.experiments.definition.vocabulary import Area
from ra_guard.experiments.definition.words import NAMES, evidence_in_words, in_words, span, spoken
from ra_guard.launch.criteria import lines_of
from ra_guard.launch.ledger import Drill
from ra_guard.launch.package import Package, Step
from ra_guard.launch.timeline import Days

Row = Sequence[str]


def markdown(package: Package) -> str:
    """The whole package."""
    sections = (
        _head,
        _timeline,
        _ramp,
        _sample,
        _success,
        _guardrails,
        _rollback,
        _alerts,
        _communication,
        _risks,
        _checklist,
        _go_no_go,
    )
    return "\n".join(line for section in sections for line in (*section(package), ""))


def _head(package: Package) -> Iterator[str]:
    definition, dates, origin = package.definition, package.timeline, package.origin
    revision = "" if origin.revision is None else f", revision {origin.revision}"
    yield f"# Deployment package: {definition.key}"
    yield ""
    yield _cell(definition.description)
    yield ""
    yield from _table(
        ("", ""),
        [
            ("Deployment", f"`{package.deployment_id}`"),
            ("Launch", str(dates.launch)),
            ("Decision due", str(dates.analysis.last)),
            ("Treatment", _cell(definition.arms.treatment.description)),
            ("Control", _cell(definition.arms.control.description)),
            ("Assigned by", f"{definition.unit.value}, mode {definition.mode.value}"),
            ("Definition", f"`{origin.place}`{revision}"),
            ("Written", f"{package.written_at:%Y-%m-%d %H:%M} UTC"),
        ],
    )


def _timeline(package: Package) -> Iterator[str]:
    dates, launch = package.timeline, package.definition.launch
    yield "## Timeline"
    yield ""
    yield "If every gate holds as soon as its stage's time is over. Days are of UTC; a look is at the end of its day."
    yield ""
    ramp = ", ".join(f"{stage.percent:g} %" for stage in dates.stages)
    events = [
        (dates.preparation, "Preparation: the checklist below"),
        (Days(dates.go_no_go, dates.go_no_go), f"**Go/no-go decision**, by {spoken(launch.decided_by)}"),
        (dates.ramp, f"Ramp: {ramp} of users in each arm"),
        *(
            (Days(look.on, look.on), f"{'Last look' if look.is_last else 'Look'}, day {look.day}")
            for look in dates.looks
        ),
        (dates.full_test, f"Full test at {dates.stages[-1].percent:g} % of users in each arm"),
        (dates.analysis, "Analysis and **decision**"),
    ]
    rows = [(_days(days), what) for days, what in sorted(events, key=lambda event: event[0].first)]
    yield from _table(("When", "What"), rows)


def _ramp(package: Package) -> Iterator[str]:
    definition = package.definition
    rows = []
    for stage, dates in zip(definition.stages, package.timeline.stages, strict=True):
        held = "until the analysis ends" if stage.hold_hours is None else f"at least {stage.hold_hours} h"
        percent = f"{stage.percent:g} %"
        gates = "; ".join(_whole(gate) for gate in stage.gates)
        rows.append((_days(dates.days), percent, percent, held, stage.monitoring.value, stage.approval.value, gates))
    yield "## Ramp"
    yield ""
    yield from _table(("Days", "Treatment", "Control", "Held", "Monitoring", "Approval", "Gates to leave it"), rows)


def _sample(package: Package) -> Iterator[str]:
    sample, power, primary = package.definition.sample, package.power, package.definition.metrics.primary
    yield "## Sample and power"
    yield ""
    yield (
        f"{sample.users:,} users, {sample.users_per_arm:,} in each arm. Planned with a spread of {sample.sd_points:g} "
        f"points between users, {sample.power_percent:g} % power and a two-sided error of {power.alpha:.3g}, at one "
        "look; planned looks need slightly more users."
    )
    yield ""
    yield from _table(
        ("Effect", "Points", "Users in each arm for this power", "Power of the planned users"),
        [
            (
                "expected",
                f"{primary.expected_points:+g}",
                f"{power.users_per_arm_for_expected:,}",
                f"{power.power_percent_for_expected:.1f} %",
            ),
            (
                "the success threshold",
                f"{primary.success_points:+g}",
                f"{power.users_per_arm_for_success:,}",
                f"{power.power_percent_for_success:.1f} %",
            ),
            (
                "the smallest detectable",
                f"{power.minimum_detectable_points:+.2f}",
                f"{sample.users_per_arm:,}",
                f"{sample.power_percent:g} %",
            ),
        ],
    )


def _success(package: Package) -> Iterator[str]:
    definition = package.definition
    primary, analysis, decision = definition.metrics.primary, definition.analysis, definition.decision
    yield "## Success"
    yield ""
    yield from _table(
        ("", ""),
        [
            ("Primary metric", f"{NAMES[primary.metric]}, {spoken(primary.direction)}"),
            ("Unit", spoken(primary.value_unit)),
            ("Labels", primary.labels.value),
            *((("Propensity by rank", _list(map(str, primary.propensity))),) if primary.propensity else ()),
            ("Success threshold", f"{primary.success_points:+g} points; {primary.expected_points:+g} are expected"),
            ("Rule", spoken(primary.success_rule)),
            ("Confidence", f"{primary.confidence_percent:g} %"),
            ("Looks", f"{spoken(analysis.spending)} spending"),
            ("Sample ratio", f"a mismatch below p = {analysis.sample_ratio_p:g}"),
            ("Crossover", f"at most {analysis.max_crossover_percent:g} % of enrolled users"),
            ("Roll back", f"when any of: {_list(decision.roll_back_when_any)}"),
            ("Deploy", f"when all of: {_list(decision.deploy_when_all)}"),
            ("Iterate", f"when all of: {_list(decision.iterate_when_all)}"),
            ("Otherwise", spoken(decision.otherwise)),
        ],
    )
    yield ""
    yield "Reported beside it; none of them decides:"
    yield ""
    yield from _table(
        ("Indicator", "Tier", ""),
        [(NAMES[each.metric], each.tier.value, _cell(each.description)) for each in definition.metrics.indicators],
    )


def _guardrails(package: Package) -> Iterator[str]:
    yield "## Guardrails"
    yield ""
    yield from _table(
        ("Must hold throughout", "Evidence", "Severity", "If it does not"),
        [
            (in_words(each), evidence_in_words(each), each.severity.value, spoken(each.action))
            for each in package.definition.metrics.guardrails
        ],
    )


def _rollback(package: Package) -> Iterator[str]:
    rollback = package.definition.rollback
    yield "## Rollback"
    yield ""
    yield "By itself, at every stage, when one of these fires:"
    yield ""
    yield from _table(
        ("Trigger", "Evidence", "Measured in simulation"),
        [(in_words(each), evidence_in_words(each), _measured(each)) for each in package.definition.triggers],
    )
    yield ""
    yield (
        f"And when users are treated and no evidence comes for {span(rollback.without_evidence_minutes)}. "
        f"By hand, without any trigger: {_list(rollback.manual_by)}. Within {rollback.within_s:g} s every replica "
        f"serves the baseline. {_drilled(package.last_drill)}"
    )
    yield ""
    yield from _steps(package.rollback)


def _alerts(package: Package) -> Iterator[str]:
    definition = package.definition
    yield "## Alerts and escalation"
    yield ""
    yield from _table(
        ("Severity", "Alert", "Evidence", "Routes", "Climbs to level"),
        [
            (
                each.severity.value,
                in_words(each),
                evidence_in_words(each),
                _list(each.routes),
                str(each.escalates_to_level),
            )
            for each in definition.alerts
        ],
    )
    yield ""
    yield from _table(
        ("Level", "To", "For", "Unacknowledged for"),
        [
            (
                str(step.level),
                spoken(step.to),
                _cell(step.response),
                span(step.after_minutes) if step.after_minutes else "-",
            )
            for step in definition.escalation
        ],
    )


def _communication(package: Package) -> Iterator[str]:
    definition = package.definition
    yield "## Communication"
    yield ""
    yield from _table(
        ("When", "Report", "To", "Routes"),
        [(spoken(each.every), spoken(each.kind), _list(each.to), _list(each.routes)) for each in definition.reports],
    )
    yield ""
    shown = ", ".join(NAMES[metric] for metric in definition.dashboard.metrics)
    yield (f"Dashboard: {shown}; every {definition.dashboard.refresh_s} s; for {_list(definition.dashboard.readers)}.")


def _risks(package: Package) -> Iterator[str]:
    yield "## Risks"
    yield ""
    yield from _table(
        ("Kind", "Risk", "Probability", "Impact", "Mitigation"),
        [
            (risk.kind.value, _cell(risk.risk), spoken(risk.probability), risk.impact.value, _cell(risk.mitigation))
            for risk in package.definition.risks
        ],
    )


def _checklist(package: Package) -> Iterator[str]:
    definition = package.definition
    yield "## Checklist"
    yield ""
    yield (
        f"`ra-guard experiment readiness {definition.key}` runs it: a check is measured by the software, a signature "
        f'is given by `ra-guard experiment sign {definition.key} LINE --why "..."`; check_and_signature takes both.'
    )
    for area in Area:
        lines = [line for line in definition.checklist if line.area is area]
        if lines:
            yield ""
            yield f"### {area.value.capitalize()}"
            yield ""
            yield from map(_tick, lines)


def _go_no_go(package: Package) -> Iterator[str]:
    definition = package.definition
    yield "## Go or no-go"
    yield ""
    yield (
        f"Decided on {package.timeline.go_no_go} by {spoken(definition.launch.decided_by)}. It is GO only if all of "
        "these hold:"
    )
    yield ""
    for criterion in definition.launch.criteria:
        lines = lines_of(criterion, definition)
        rests_on = (
            f"{len(lines)} lines" if len(lines) > len(Area) else ", ".join(f"`{line}`" for line in lines) or "none"
        )
        yield f"- [ ] {spoken(criterion).capitalize()} (rests on {rests_on})"
    yield ""
    yield from _table(
        ("Decision maker", "Approves", "Signature", "Date"),
        [(spoken(each.role), spoken(each.approves), "", "") for each in definition.decision_makers],
    )
    yield ""
    yield from _steps(package.approvals)


def _tick(line: ChecklistLine) -> str:
    owner = "" if line.owner is None else f", {spoken(line.owner)}"
    return f"- [ ] {_cell(line.item)} (`{line.id}`, {line.proof.value}{owner})"


def _steps(steps: Iterable[Step]) -> Iterator[str]:
    for number, step in enumerate(steps, start=1):
        yield f"{number}. `{step.command}`  "
        yield f"   {step.does}"


def _whole(bound: Requirement | Alarm) -> str:
    return f"{in_words(bound)} ({evidence_in_words(bound)})"


def _measured(trigger: Trigger) -> str:
    measured: Measured | None = trigger.measured
    if measured is None:
        return "not measured"
    median = measured.detection_minutes_median
    found = "" if median is None else f", half of them within {median:g} minutes"
    return _cell(
        f"{measured.false_rollback_percent:g} % of {measured.healthy_runs:,} healthy runs rolled back (at most "
        f"{measured.false_rollback_percent_upper:g} %); {measured.detected_percent:g} % of {measured.faulty_runs:,} "
        f"with {measured.fault}{found}"
    )


def _drilled(drill: Drill | None) -> str:
    if drill is None:
        return "No drill is in the ledger."
    return (
        f"At the last drill, on {drill.at:%Y-%m-%d} by {drill.who}, a kill reached {drill.replicas} replicas in "
        f"{drill.kill_s:.3f} s."
    )


def _days(days: Days) -> str:
    first, last = days.first, days.last
    return str(first) if first == last else f"{first} to {_short(last, first)}"


def _short(last: date, first: date) -> str:
    return f"{last:%m-%d}" if last.year == first.year else str(last)


def _list(words: Iterable[str]) -> str:
    return ", ".join(map(spoken, words))


def _table(heads: Row, rows: Iterable[Row]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _cell(text: str) -> str:
    """Text of a definition inside a table or a line: no column or line of its own."""
    return " ".join(text.split()).replace("|", "\\|")
