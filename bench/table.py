"""The table of targets with what a run reached."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from bench.targets import TARGETS, Better, Results, Target, Verdict, reached

STYLES = {
    Verdict.AIM: "green",
    Verdict.MET: "green",
    Verdict.MISSED: "bold red",
    Verdict.UNJUDGED: "dim",
    Verdict.SKIPPED: "yellow",
}


def table(results: Results, remarks: Mapping[str, str], title: str) -> Table:
    """One line a target. ``remarks`` stand below it."""
    view = Table(title=title, title_justify="left", caption=_caption(remarks), caption_justify="left")
    for column in ("what", "type"):
        view.add_column(column, style="bold" if column == "what" else None)
    for column in ("target", "aim", "reached"):
        view.add_column(column, justify="right")
    view.add_column("verdict")
    for target in TARGETS:
        value = reached(results, target)
        verdict = target.verdict(value)
        view.add_row(
            target.what,
            target.dtype or "",
            bound(target, target.floor),
            bound(target, target.aim),
            quantity(value, target.unit),
            f"[{STYLES[verdict]}]{verdict.value}[/]",
        )
    return view


def quantity(value: float | None, unit: str) -> str:
    """A number for people: three significant digits, four beyond a hundred."""
    if value is None:
        return "-"
    digits = f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return f"{digits}{unit}" if unit == "x" else f"{digits} {unit}"


def show(results: Results, remarks: Mapping[str, str], title: str) -> None:
    """Prints the table to standard output."""
    Console(width=None if Console().is_terminal else 132).print(table(results, remarks, title))


def bound(target: Target, value: float | None) -> str:
    """A target for people, with its sign; a dash for none."""
    if value is None:
        return "-"
    sign = "<=" if target.better is Better.LOWER else ">="
    return f"{sign} {quantity(value, target.unit)}"


def _caption(remarks: Mapping[str, str]) -> str | None:
    return "\n".join(f"{key}: {reason}" for key, reason in remarks.items()) or None
