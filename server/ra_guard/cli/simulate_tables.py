"""Simulated experiments as tables for people."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from ra_guard.experiments.definition.words import in_words
from ra_guard.reports.content import ArmHour, Hour
from ra_guard.simulation.outcome import looks_of, reproduction
from ra_guard.simulation.play import Run, Script, at_minute
from ra_guard.simulation.replicate import Quartiles, Share, Summary, detection_minutes
from ra_guard.stats.outcome import Effect

_HOURS_OF_A_ROW: Final = 12
_LONG: Final = 72
"""Hours; of a shorter simulation every hour is a row."""


def print_run(console: Console, run: Run, hours: Sequence[Hour]) -> None:
    """How it went, what was written down, and what it came to."""
    script = run.script
    console.print(f"{script.scenario.name}, seed {run.seed}: {script.scenario.hours} hours")
    for fault in script.scenario.faults:
        console.print(f"fault: {fault}")
    console.print(_hours(hours))
    console.print(_looks(run))
    console.print(_ledger(run))
    console.print(_alerts(run))
    found = detection_minutes(run)
    if found is not None:
        console.print(f"Rolled back {found} minutes after the fault began.")
    console.print(f"Decision: {run.decision.outcome}. {run.decision.why}\n")
    for note in reproduction(run):
        console.print(f"- {note}")


def print_summary(console: Console, script: Script, summary: Summary) -> None:
    """What replications come to."""
    table = Table("of replications", "count", "share", "95 % interval of the share", title_justify="left")
    for name, share in _shares(summary):
        table.add_row(name, f"{share.events:,} of {share.trials:,}", _percent(share.percent), _interval(share))
    console.print(table)
    if summary.detection:
        times = Table("minutes from the fault to the rollback", "quartile", "median", "quartile")
        for cause, found in summary.detection.items():
            times.add_row(cause, *(f"{each:,.0f}" for each in (found.lower, found.median, found.upper)))
        console.print(times)
    if summary.mean_estimate is not None:
        truth = script.scenario.true_effect_points
        told = f", {truth:.3f} is true" if not script.scenario.faults else ""
        console.print(f"Mean estimate at the end: {summary.mean_estimate:.3f} points{told}.")
    console.print(f"Mean users enrolled: {summary.mean_users:,.0f}.")
    if summary.uniformity_p is not None:
        console.print(
            f"Fixed-sample p-values at the end are uniform: Kolmogorov-Smirnov p = {summary.uniformity_p:.3g}."
        )
    if not script.rolls_back:
        console.print(
            f"Ticks of {script.tick_minutes} minutes: no trigger, guardrail or lack of evidence rolls back; "
            "only statistics are to be read."
        )


def plain_summary(summary: Summary) -> dict[str, object]:
    """The same as JSON values."""
    return {
        "replications": summary.replications,
        "shares": {name: _plain(share) for name, share in _shares(summary)},
        "detection_minutes": {cause: _plain_times(found) for cause, found in summary.detection.items()},
        "uniformity_p": summary.uniformity_p,
        "mean_estimate_points": summary.mean_estimate,
        "mean_users": summary.mean_users,
    }


def _shares(summary: Summary) -> list[tuple[str, Share]]:
    covers = {
        "anytime interval covers in every hour": summary.anytime_covers,
        "repeated interval covers at every look": summary.looks_cover,
    }
    return [
        *((f"outcome {outcome}", share) for outcome, share in summary.outcomes.items()),
        ("planned looks find an effect", summary.crossed),
        *((name, share) for name, share in covers.items() if share is not None),
        ("rolled back", summary.rolled_back),
        *((f"rolled back by {cause}", share) for cause, share in summary.causes.items()),
    ]


def _plain(share: Share) -> dict[str, object]:
    interval = share.interval
    return {
        "count": share.events,
        "of": share.trials,
        "percent": share.percent,
        "low_percent": None if interval is None else interval.low,
        "high_percent": None if interval is None else interval.high,
    }


def _plain_times(found: Quartiles) -> dict[str, float]:
    return {"lower": found.lower, "median": found.median, "upper": found.upper}


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _interval(share: Share) -> str:
    found = share.interval
    return "-" if found is None else f"{found.low:.2f} to {found.high:.2f} %"


def _hours(hours: Sequence[Hour]) -> Table:
    table = Table(
        "hour",
        "ramp",
        "users control",
        "treatment",
        "added points, anytime interval",
        "P95 ms control",
        "treatment",
        "errors control",
        "treatment",
        title_justify="left",
    )
    every = _HOURS_OF_A_ROW if len(hours) > _LONG else 1
    for number, hour in enumerate(hours, start=1):
        if number % every and number != len(hours):
            continue
        arms = hour.control, hour.treatment
        table.add_row(
            str(number),
            f"{hour.ramp_bp / 100:g} %",
            f"{hour.control_users:,}",
            f"{hour.treatment_users:,}",
            _effect(hour),
            *("-" if arm.p95_ms is None else f"{arm.p95_ms:.0f}" for arm in arms),
            *(_percent(_errors(arm)) for arm in arms),
        )
    return table


def _effect(hour: Hour) -> str:
    found = hour.primary
    if not isinstance(found, Effect):
        return str(found.lack)
    return f"{found.estimate:+.2f} [{found.interval.low:+.2f}, {found.interval.high:+.2f}]"


def _errors(arm: ArmHour) -> float | None:
    return 100 * arm.errors / arm.calls if arm.calls else None


def _looks(run: Run) -> Table:
    table = Table(
        "look", "users", "estimate", "repeated interval", "z", "boundary", "information", title_justify="left"
    )
    for seen in looks_of(run.script.definition, run.looks):
        look, interval = seen.look, seen.interval
        table.add_row(
            f"day {look.day}",
            f"{look.control_users:,} and {look.treatment_users:,}",
            f"{look.estimate:+.2f}",
            f"[{interval.low:+.2f}, {interval.high:+.2f}]",
            f"{seen.z:.2f}",
            f"{seen.boundary_z:.2f}",
            f"{look.information:.3f}",
        )
    return table


def _alerts(run: Run) -> Table:
    """Those that never fired, too."""
    table = Table("severity", "alert", "began to fire", "people were told", "first at (UTC)", title_justify="left")
    counts = {count.alert: count for count in run.alerts}
    for alert in run.script.watched.alerts:
        count = counts.get(alert)
        numbers = ("0", "0", "-") if count is None else (str(count.fired), str(count.told), _at(count.first_minute))
        table.add_row(alert.severity, in_words(alert), *numbers)
    return table


def _at(minute: int) -> str:
    return f"{at_minute(minute):%d %b %H:%M}"


def _ledger(run: Run) -> Table:
    table = Table("at (UTC)", "who", "what", "why", title_justify="left")
    for entry in run.ledger:
        table.add_row(f"{entry.at:%d %b %H:%M}", entry.who, entry.what, entry.why)
    return table
