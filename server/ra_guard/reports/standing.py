"""What a product manager asks first, answered in a word and a sentence each.

Where do we stand, can the numbers be believed, is it safe, is it better, what happens next and when.
"""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from ra_guard.experiments.definition.vocabulary import Outcome
from ra_guard.experiments.definition.words import in_words
from ra_guard.experiments.model import KILLED, ROLLED_BACK
from ra_guard.experiments.monitor import words as said
from ra_guard.experiments.monitor.looks import compares, planned_days
from ra_guard.experiments.monitor.outcomes import Judged, Verdict, Watched
from ra_guard.reports.content import Content
from ra_guard.reports.document import Answer, Mark, Tone
from ra_guard.reports.looks import Shown, shown
from ra_guard.reports.words import (
    OUTCOMES,
    counted,
    insufficient,
    moment,
    p_value,
    points,
    signed,
)
from ra_guard.stats.outcome import Effect, Insufficient, Interval

YES, NO, NOT_YET = Mark("Yes.", Tone.GOOD), Mark("No.", Tone.BAD), Mark("Cannot be told yet.", Tone.OPEN)
NOT_SHOWN_YET = Mark("Not shown yet.", Tone.OPEN)


def answers(content: Content) -> tuple[Answer, ...]:
    """In the order in which they are asked."""
    return where(content), believable(content), safe(content), better(content), what_next(content)


# Where do we stand?


def is_closed(content: Content) -> bool:
    """Whether the epoch was ended before its time: killed or rolled back."""
    return content.state.startswith(("killed", "rolled back"))


def state(content: Content) -> Mark:
    """The state in a word."""
    word = f"{content.state[:1].upper()}{content.state[1:]}."
    return Mark(word, Tone.BAD if is_closed(content) else Tone.PLAIN)


def day_of(content: Content) -> int | None:
    """The day of the experiment, the first one being 1; None before the launch."""
    if content.launched_at is None:
        return None
    return max(1, -((content.launched_at - content.as_of) // timedelta(days=1)))


def where(content: Content) -> Answer:
    """State, day, users, and why the epoch was ended if it was."""
    day, exposure = day_of(content), content.evidence.exposure
    if day is None:
        text = "Nobody has been enrolled yet."
    else:
        planned = content.definition.sample.users_per_arm
        text = (
            f"Day {day} of {content.definition.analysis.end_day}. {exposure.treatment_users:,} users in treatment and "
            f"{exposure.control_users:,} in control, {planned:,} in each are planned."
        )
    if is_closed(content) and (last := latest_end(content)):
        text += f" Ended by {last[0]}: {last[1]}."
    return Answer("Where do we stand?", state(content), text)


def in_a_sentence(content: Content) -> str:
    """For whoever reads nothing else."""
    day = day_of(content)
    if day is None:
        return "Nobody has been enrolled yet."
    if is_closed(content) and (last := latest_end(content)):
        return f"On day {day}, by {last[0]}: {last[1]}."
    return f"Day {day} of {content.definition.analysis.end_day}. {content.decision.why.rstrip('.')}."


def latest_end(content: Content) -> tuple[str, str] | None:
    """Who ended the epoch and why, by the ledger; None where the ledger does not say."""
    ends = [line for line in content.ledger if line.what.startswith((KILLED, ROLLED_BACK))]
    return (ends[-1].who, ends[-1].why.rstrip(".")) if ends else None


# Can the numbers be believed?


def believable(content: Content) -> Answer:
    """Sample ratio, crossover, lost records."""
    analysis, exposure = content.definition.analysis, content.evidence.exposure
    crossover = content.assessment.crossover_percent
    doubts, unknown = [], []
    split = content.assessment.sample_ratio
    if isinstance(split, Insufficient):
        unknown.append(f"the sample ratio cannot be told ({insufficient(split)})")
    elif math.isnan(split.p_value):
        unknown.append("the test of the sample ratio gave no number")
    elif split.mismatch:
        doubts.append(
            f"the arms do not have the users that they were drawn with (p {p_value(split.p_value)}, "
            f"limit {split.alpha:g}), so no comparison of them means anything"
        )
    if crossover is None or math.isnan(crossover):
        unknown.append("crossover cannot be told")
    elif crossover > analysis.max_crossover_percent:
        doubts.append(f"crossover is {crossover:.2f} %, above the limit of {analysis.max_crossover_percent:g} %")
    if doubts or unknown:
        return Answer("Can the numbers be believed?", NO if doubts else NOT_YET, sentence(doubts or unknown))
    lost = exposure.control_lost + exposure.treatment_lost
    records = f"{counted(lost, 'record')} lost"
    return Answer(
        "Can the numbers be believed?",
        YES,
        f"The sample ratio holds, crossover is {crossover or 0:.2f} % "
        f"(limit {analysis.max_crossover_percent:g} %), {records}.",
    )


# Is it safe?


def safe(content: Content) -> Answer:
    """Guardrails and triggers."""
    guardrails, triggers = content.assessment.guardrails, content.assessment.tick.triggers
    failing = [each for each in guardrails if each.verdict is Verdict.FAIL]
    unknown = [each for each in guardrails if each.verdict in {Verdict.INSUFFICIENT, Verdict.ERROR}]
    blind = [each for each in triggers if each.crossed is None]
    firing = [each for each in triggers if each.is_firing]
    question = "Is it safe?"
    if failing or firing:
        return Answer(question, NO, sentence([*map(_failing, failing), *map(_firing, firing)]))
    if unknown or blind or not guardrails:
        holding = f"{len(guardrails) - len(unknown)} of {len(guardrails)} guardrails hold, no trigger fires"
        missing = [f"whether {in_words(each.requirement)} cannot be told ({each.reading.lack})" for each in unknown]
        asleep = [f"the trigger at {in_words(each.alarm)} has no reading ({each.reading.lack})" for each in blind]
        return Answer(question, NOT_YET, sentence([holding, *missing, *asleep]))
    return Answer(question, YES, f"All {len(guardrails)} guardrails hold, and none of {len(triggers)} triggers fires.")


def _failing(each: Judged) -> str:
    return f"{in_words(each.requirement)} is not kept: {said.now(each.requirement, each.reading)}"


def _firing(each: Watched) -> str:
    shared = "; control fails as well, so the cause is shared" if each.has_shared_cause else ""
    return f"the trigger at {in_words(each.alarm)} fires: {said.now(each.alarm, each.reading)}{shared}"


# Is it better?


def better(content: Content) -> Answer:
    """The primary metric at the latest look; before the first one, as watched."""
    question = "Is it better?"
    if looks := shown(content.definition, content.looks):
        return _by_look(content, question, looks[-1])
    watched = content.assessment.primary
    if isinstance(watched, Insufficient):
        return Answer(question, NOT_YET, sentence([insufficient(watched)]))
    return Answer(
        question,
        _better(watched.interval, NOT_SHOWN_YET),
        f"{effect(watched)}, watched and not yet decided on: the first look is on day "
        f"{planned_days(content.definition)[0]}.",
    )


def _by_look(content: Content, question: str, last: Shown) -> Answer:
    success, watched = content.definition.metrics.primary.success_points, content.assessment.primary
    is_over = last.look.is_last or is_closed(content)
    since = ""
    if isinstance(watched, Effect) and not last.look.is_last:
        since = f" As watched until now: {effect(watched)}."
    reached = "reaches" if last.look.estimate >= success else "is below"
    return Answer(
        question,
        _better(last.interval, Mark("Not shown.", Tone.OPEN) if is_over else NOT_SHOWN_YET),
        f"At the look of day {last.look.day}: {signed(last.look.estimate)} nDCG points, {interval(last.interval)}. "
        f"The estimate {reached} the {signed(success)} points that count as success.{since}",
    )


def _better(of: Interval, otherwise: Mark) -> Mark:
    if of.low > 0:
        return YES
    return Mark("No, worse.", Tone.BAD) if of.high < 0 else otherwise


def effect(of: Effect) -> str:
    """An effect of the primary metric with its interval."""
    return f"{signed(of.estimate)} nDCG points, {interval(of.interval)}"


def interval(of: Interval) -> str:
    """Where the effect lies."""
    return f"interval {points(of)}, {'without' if of.low > 0 or of.high < 0 else 'with'} zero in it"


# What happens next, and when?


def what_next(content: Content) -> Answer:
    """By the decision, the state, and the plan's days."""
    question, outcome = "What happens next, and when?", content.decision.outcome
    word = OUTCOMES[outcome]
    if content.launched_at is None:
        first = content.definition.stages[0]
        return Answer(
            question,
            Mark("Launch.", Tone.PLAIN),
            f"A person approves the first stage of {first.percent:g} % and ramps to it; days count from then.",
        )
    if is_closed(content):
        return Answer(
            question,
            Mark("A person decides.", Tone.OPEN),
            "Everybody is served the baseline. Nothing goes on by itself: a resume starts a new epoch from 0 %.",
        )
    if outcome is Outcome.KEEP_RUNNING:
        return Answer(question, word, sentence(_ahead(content, content.launched_at)))
    return Answer(question, word, f"{_AFTER[outcome]} {_by_when(content)}")


_AFTER = {
    Outcome.DEPLOY: "The decision makers confirm it, and treatment goes to everyone, in mode rollout.",
    Outcome.ITERATE: "The change is worked on and tested again in a new epoch.",
    Outcome.ROLL_BACK: "The epoch is closed and everybody is served the baseline.",
}


def _by_when(content: Content) -> str:
    analysis = content.definition.analysis
    if content.launched_at is None or content.decision.look is None or not content.decision.look.is_last:
        return "It is open to them before the planned end."
    last_day = content.launched_at + timedelta(days=analysis.end_day + analysis.decision_days)
    return f"The plan leaves until {moment(last_day)} for it."


def _ahead(content: Content, launched_at: datetime) -> list[str]:
    analysis = content.definition.analysis
    taken = {look.day for look in content.looks}
    is_over = any(look.is_last for look in content.looks) or not compares(content.definition)
    coming = [
        day
        for day in planned_days(content.definition)
        if not is_over and day not in taken and launched_at + timedelta(days=day) > content.as_of
    ]
    ahead = []
    if coming:
        kind = "the end, with the last look," if coming[0] == analysis.end_day else f"the look of day {coming[0]}"
        ahead.append(f"{kind} is due at {moment(launched_at + timedelta(days=coming[0]))}")
    waiting = [each for each in content.assessment.gates if each.verdict is not Verdict.PASS]
    if waiting:
        ahead.append(f"the ramp waits for {' and '.join(in_words(each.requirement) for each in waiting)}")
    return ahead or ["no look is left: the decision rests on those that were taken"]


def sentence(parts: Iterable[str]) -> str:
    """Parts as one sentence that begins with a capital."""
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
