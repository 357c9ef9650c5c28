"""How a checklist is shown: a table of its lines by area, the criteria, and the decision."""

from rich.table import Table

from ra_guard.cli.terminal import result_console
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Approval, Area
from ra_guard.experiments.definition.words import spoken
from ra_guard.launch.readiness import Criterion, Readiness, Result

STYLES = {Result.PASS: "green", Result.FAIL: "red", Result.NEEDS_A_PERSON: "yellow"}
NAMED = 4
"""Lines that a criterion names before it counts them."""


def print_readiness(definition: Definition, found: Readiness) -> None:
    """For people: every line with its evidence, then what it decides."""
    console = result_console()
    for area in Area:
        lines = [each for each in found.lines if each.line.area is area]
        if not lines:
            continue
        table = Table("", "line", "proof", "owner", "s", "evidence", title=area.value, title_justify="left", box=None)
        for each in lines:
            result = each.found.result
            owner = "-" if each.line.owner is None else spoken(each.line.owner)
            table.add_row(
                result.value,
                each.line.id,
                each.line.proof.value,
                owner,
                f"{each.seconds:.2f}",
                each.found.evidence,
                style=STYLES[result] if result is Result.FAIL else None,
            )
        console.print(table, "")
    for criterion in found.criteria:
        console.print(f"{'holds' if criterion.holds else 'fails'}: {spoken(criterion.criterion)}{_missing(criterion)}")
    counts = {result: sum(each.found.result is result for each in found.lines) for result in Result}
    told = ", ".join(f"{number} {result.value}" for result, number in counts.items())
    console.print(f"\n{found.key}, revision {found.revision}, epoch {found.epoch}: {told}")
    if found.is_go:
        console.print(f"GO: {spoken(definition.launch.decided_by)} decides{_approval(definition)}")
    else:
        console.print("NO-GO")


def _missing(criterion: Criterion) -> str:
    if criterion.holds:
        return ""
    more = len(criterion.missing) - NAMED
    named = ", ".join(criterion.missing[:NAMED])
    return f" for want of {named}{f' and {more} more' if more > 0 else ''}"


def _approval(definition: Definition) -> str:
    first = definition.stages[0]
    if first.approval is not Approval.REQUIRED:
        return ""
    return f': ra-guard experiment approve {definition.key} {first.percent:g}% --why "go decision"'
