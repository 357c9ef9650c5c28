"""What stands behind the numbers: the sample, the ledger, how it was measured, and what cannot be told."""

import math
from collections.abc import Iterator

from ra_guard.evidence.tally import CONTROL, TREATMENT
from ra_guard.experiments.definition.vocabulary import Labels
from ra_guard.experiments.definition.words import NAMES
from ra_guard.experiments.monitor.outcomes import Judged, Verdict
from ra_guard.reports.content import Content
from ra_guard.reports.document import Cell, Column, Lines, Mark, Noted, Table, Tone
from ra_guard.reports.effects import by_domain, indicators
from ra_guard.reports.words import (
    ABSENT,
    FINDINGS,
    MEANINGS,
    TERMS,
    VERDICT_MEANINGS,
    VERDICTS,
    counted,
    insufficient,
    moment,
    numbers,
    p_value,
    share,
)
from ra_guard.stats.outcome import Insufficient

LATEST_LINES = 10
"""Of the ledger, in reports that are read every day."""


def sample(content: Content) -> Table:
    """Whether the arms can be compared at all."""
    exposure, plan = content.evidence.exposure, content.definition
    lost = exposure.control_lost + exposure.treatment_lost
    out_of = content.evidence.epoch.control.calls + content.evidence.epoch.treatment.calls + lost
    crossed = content.assessment.crossover_percent
    late_after = f"later than {plan.feedback_window_s / 3600:g} hours after it occurred, left out"
    power = content.assessment.power_percent
    rows: tuple[tuple[Cell, ...], ...] = (
        ("Users, control / treatment", _pair(exposure.control_users, exposure.treatment_users), _planned(content)),
        ("Sample ratio, p", _sample_ratio_p(content), _sample_ratio(content)),
        ("Crossover", ABSENT if crossed is None else f"{crossed:.3f} %", _crossover(content)),
        (
            "Records lost, control / treatment",
            _pair(exposure.control_lost, exposure.treatment_lost),
            f"{share(lost, out_of, 3)} of all records",
        ),
        ("Late feedback", f"{content.evidence.late:,}", late_after),
        ("Requests with nothing relevant, control / treatment", _not_relevant(content), "left out of nDCG"),
        (
            "Power at the planned end",
            ABSENT if power is None else f"{power:.1f} %",
            f"planned {plan.sample.power_percent:g} %" if power is not None else Mark("cannot be told", Tone.OPEN),
        ),
    )
    return Table(
        columns=(Column("What"), Column("Found", is_number=True), Column("Against")),
        rows=rows,
        empty="",
        note=f"A sample ratio with p below {plan.analysis.sample_ratio_p:g}, or crossover above its limit, stops "
        "decisions.",
    )


def _pair(control: int, treatment: int) -> str:
    return f"{control:,} / {treatment:,}"


def _planned(content: Content) -> str:
    return f"{content.definition.sample.users_per_arm:,} planned in each arm"


def _sample_ratio_p(content: Content) -> str:
    split = content.assessment.sample_ratio
    return ABSENT if isinstance(split, Insufficient) else p_value(split.p_value)


def _sample_ratio(content: Content) -> Cell:
    split = content.assessment.sample_ratio
    if isinstance(split, Insufficient):
        return Mark(f"cannot be told: {insufficient(split)}", Tone.OPEN)
    if math.isnan(split.p_value):
        return Mark("cannot be told: the test gave no number", Tone.OPEN)
    limit = f"limit {split.alpha:g}"
    return Mark(f"mismatch, {limit}", Tone.BAD) if split.mismatch else Mark(f"holds, {limit}", Tone.GOOD)


def _crossover(content: Content) -> Cell:
    crossed, limit = content.assessment.crossover_percent, content.definition.analysis.max_crossover_percent
    if crossed is None or math.isnan(crossed):
        return Mark("cannot be told", Tone.OPEN)
    users = f"{counted(content.evidence.exposure.crossed_users, 'user')}, limit {limit:g} %"
    return Mark(f"above: {users}", Tone.BAD) if crossed > limit else Mark(f"within: {users}", Tone.GOOD)


def _not_relevant(content: Content) -> str:
    counts = content.evidence.not_relevant
    return _pair(counts.get(CONTROL, 0), counts.get(TREATMENT, 0))


def ledger(content: Content) -> Table:
    """Everything that was done, by whom and why."""
    return _ledger(content, len(content.ledger))


def latest_of_ledger(content: Content) -> Table:
    """The latest of it."""
    return _ledger(content, LATEST_LINES)


def _ledger(content: Content, most: int) -> Table:
    lines = content.ledger[-most:] if most else ()
    left_out = len(content.ledger) - len(lines)
    return Table(
        columns=(Column("When"), Column("Who"), Column("What and why"), Column("Numbers")),
        rows=tuple(
            (
                Noted(moment(line.at), f"revision {line.revision}"),
                line.who,
                Noted(line.what, line.why),
                numbers(line.numbers),
            )
            for line in lines
        ),
        empty="The ledger is empty.",
        note=f"The latest {len(lines)} of {len(content.ledger)} lines." if left_out else "",
    )


def method(content: Content) -> Lines:
    """How it was measured."""
    plan = content.definition
    primary = plan.metrics.primary
    days = ", ".join(map(str, (*plan.analysis.look_days, plan.analysis.end_day)))
    labels = {
        Labels.JUDGMENTS: "Relevance is graded by people.",
        Labels.CLICKS: "Relevance is a click; beside it stands one corrected for position, by the plan's propensity.",
    }[primary.labels]
    return Lines(
        (
            f"Source of all numbers: {content.source}.",
            "Users are assigned to an arm by a hash of experiment and user, and counted there whatever was served.",
            labels,
            f"The primary metric is decided on at looks only, on days {days}.",
            f"All looks together find an effect that is none in {100 - primary.confidence_percent:g} % of cases.",
            "What is watched by the minute has anytime-valid intervals, which hold however often one looks.",
            "Latency P95 is read from a histogram with buckets at most 1/128 wide.",
            *(
                f"Trigger on {NAMES[each.metric]} measured by: {each.measured.command}"
                for each in plan.triggers
                if each.measured is not None
            ),
        )
    )


def limits(content: Content) -> Lines:
    """What these numbers cannot say whatever they are, and what could not be told this time."""
    return Lines(
        (
            *_untold(content),
            *(
                f"Trigger on {NAMES[each.metric]}: nobody has measured how often it rolls back in vain."
                for each in content.definition.triggers
                if each.measured is None
            ),
            "Intervals of means over users hold in the limit of many users, not of few.",
            "Effects are those of this experiment's users and days; what wears off or is learnt later is not in them.",
            "Indicators, domains and queries are not adjusted for being many. None of them decides.",
        )
    )


def _untold(content: Content) -> Iterator[str]:
    assessment = content.assessment
    for each in (*assessment.guardrails, *assessment.gates):
        if each.verdict in {Verdict.INSUFFICIENT, Verdict.ERROR}:
            yield _untold_of(each)
    if isinstance(assessment.primary, Insufficient):
        yield f"The primary metric cannot be told: {insufficient(assessment.primary)}."
    if isinstance(assessment.sample_ratio, Insufficient):
        yield f"The sample ratio cannot be told: {insufficient(assessment.sample_ratio)}."
    if assessment.crossover_percent is None:
        yield "Crossover cannot be told."
    if assessment.power_percent is None:
        yield "Power at the planned end cannot be told."
    for finding in content.decision.findings:
        if finding.holds is None:
            yield f"{FINDINGS[finding.finding]}: cannot be told. {finding.why}"
    for indicated in indicators(content):
        if indicated.reading.value is None:
            yield f"{indicated.indicator.description}: cannot be told ({indicated.reading.lack})."
    for name, effect in by_domain(content).items():
        if isinstance(effect, Insufficient):
            yield f"Domain {name}: cannot be told ({insufficient(effect)})."


def _untold_of(each: Judged) -> str:
    word = VERDICTS[each.verdict].word
    return f"{NAMES[each.requirement.metric]}: {word}, {each.reading.lack or 'no reason given'}."


def glossary() -> Table:
    """Metrics, verdicts and terms."""
    return Table(
        columns=(Column("Word"), Column("Meaning")),
        rows=(
            *((NAMES[metric], meaning) for metric, meaning in MEANINGS.items()),
            *((VERDICTS[verdict], meaning) for verdict, meaning in VERDICT_MEANINGS.items()),
            *TERMS.items(),
        ),
        empty="",
    )
