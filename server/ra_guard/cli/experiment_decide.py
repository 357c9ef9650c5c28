"""How a decision is shown: as plain values for scripts, as text and tables for people."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ra_guard.experiments.monitor import words
from ra_guard.experiments.monitor.findings import action_of
from ra_guard.experiments.monitor.outcomes import Assessment, Decision, Judged
from ra_guard.stats.outcome import Effect, Insufficient, Interval
from ra_guard.stats.srm import SampleRatio

_HOLDS = {True: "yes", False: "no", None: "cannot tell"}


def plain(decision: Decision, assessment: Assessment) -> dict[str, object]:
    """All of it as JSON values, always under the same names; null is what there is none of."""
    return {
        "outcome": str(decision.outcome),
        "why": decision.why,
        "as_of": _minute(assessment),
        "findings": [
            {
                "finding": str(found.finding),
                "holds": found.holds,
                "why": found.why,
                "numbers": {name: _number(value) for name, value in found.numbers.items()},
            }
            for found in decision.findings
        ],
        "look": None if decision.look is None else asdict(decision.look),
        "boundary_z": _number(decision.boundary_z),
        "interval_points": _interval(decision.interval),
        "between_looks": _effect(assessment.primary),
        "corrected_for_position": None if assessment.corrected is None else _effect(assessment.corrected),
        "guardrails": [_guardrail(judged) for judged in assessment.guardrails],
        "sample_ratio": _sample_ratio(assessment.sample_ratio),
        "crossover_percent": _number(assessment.crossover_percent),
        "power_percent": _number(assessment.power_percent),
    }


def print_decision(console: Console, decision: Decision, assessment: Assessment) -> None:
    """For people: the outcome and why, what was found, the look that it rests on, and the guardrails."""
    outcome = decision.outcome.replace("_", " ")
    console.print(Text(f"{outcome}: {decision.why}"), "", _findings(decision), sep="\n")
    if decision.look is not None:
        console.print("", _look(decision), sep="\n")
    console.print("", _guardrails(assessment), "", sep="\n")
    console.print(Text(f"as of {_minute(assessment)}: {_between_looks(assessment)}"))


def _findings(decision: Decision) -> Table:
    table = Table("finding", "holds", "why", box=None)
    for found in decision.findings:
        table.add_row(found.finding.replace("_", " "), _HOLDS[found.holds], Text(found.why))
    return table


def _look(decision: Decision) -> Table:
    look, interval = decision.look, decision.interval
    if look is None or interval is None or decision.boundary_z is None:
        return Table(box=None)
    headings = ("look", "users", "nDCG@10", "standard error", "interval", "z", "boundary", "information")
    table = Table(*headings, box=None)
    table.add_row(
        f"day {look.day}{', the last' if look.is_last else ''}",
        f"{look.control_users:,} control, {look.treatment_users:,} treatment",
        f"{look.estimate:+.2f} points",
        f"{look.standard_error:.3f}",
        f"{interval.low:+.2f} to {interval.high:+.2f}",
        f"{look.estimate / look.standard_error:+.2f}",
        f"{decision.boundary_z:.2f}",
        f"{100 * look.information:.1f} %",
    )
    return table


def _guardrails(assessment: Assessment) -> Table | str:
    if not assessment.guardrails:
        return "no guardrail has been judged"
    table = Table("guardrail", "verdict", "on failure", box=None)
    for judged in assessment.guardrails:
        table.add_row(Text(words.required(judged)), str(judged.verdict), str(action_of(judged) or ""))
    return table


def _between_looks(assessment: Assessment) -> str:
    said = [_at_any_time("nDCG@10", assessment.primary)]
    if assessment.corrected is not None:
        said.append(_at_any_time("corrected for position", assessment.corrected))
    if assessment.power_percent is not None:
        said.append(f"power at the end {assessment.power_percent:.0f} %")
    return "; ".join(said)


def _at_any_time(name: str, effect: Effect | Insufficient) -> str:
    if isinstance(effect, Insufficient):
        return f"{name} cannot be told, {effect.lack}: {effect.found}"
    between = f"{effect.interval.low:+.2f} to {effect.interval.high:+.2f}"
    return f"{name} {effect.estimate:+.2f} points, {between} at any time"


def _minute(assessment: Assessment) -> str:
    """The end of the last minute that is known."""
    return datetime.fromtimestamp(60 * (assessment.tick.as_of + 1), UTC).strftime("%Y-%m-%dT%H:%MZ")


def _number(value: float | None) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None


def _interval(found: Interval | None) -> dict[str, float | None] | None:
    return None if found is None else {"low": _number(found.low), "high": _number(found.high)}


def _lacking(found: Insufficient) -> str:
    return f"{found.lack}: found {found.found}, wanted {found.wanted}"


def _effect(found: Effect | Insufficient) -> Mapping[str, object]:
    if isinstance(found, Insufficient):
        return {"estimate_points": None, "interval_points": None, "p_value": None, "insufficient": _lacking(found)}
    return {
        "estimate_points": _number(found.estimate),
        "interval_points": _interval(found.interval),
        "p_value": _number(found.p_value),
        "insufficient": None,
    }


def _sample_ratio(found: SampleRatio | Insufficient) -> Mapping[str, object]:
    if isinstance(found, Insufficient):
        return {"p_value": None, "chi_square": None, "insufficient": _lacking(found)}
    return {"p_value": _number(found.p_value), "chi_square": _number(found.chi_square), "insufficient": None}


def _guardrail(judged: Judged) -> Mapping[str, object]:
    asked, reading = judged.requirement, judged.reading
    return {
        "metric": str(asked.metric),
        "scale": str(asked.scale),
        "must_be": str(asked.must_be),
        "bound": asked.bound,
        "evidence": str(asked.evidence),
        "action": None if (action := action_of(judged)) is None else str(action),
        "verdict": str(judged.verdict),
        "value": _number(reading.value),
        "interval": _interval(reading.interval),
        "control": _number(reading.control),
        "treatment": _number(reading.treatment),
        "control_count": reading.control_count,
        "treatment_count": reading.treatment_count,
        "lack": reading.lack or None,
    }
