"""`ra-guard experiment readiness`: the checklist measured on the running system, and GO or NO-GO."""

import json as encoding
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from ra_guard.cli.experiment import Signature, control_addresses
from ra_guard.cli.experiment_launch import Control, Flag, Json
from ra_guard.cli.terminal import result_console
from ra_guard.client import ExperimentClient
from ra_guard.config import Settings, load
from ra_guard.experiments.definition import Definition, parse_definition
from ra_guard.experiments.definition.vocabulary import Approval, Area
from ra_guard.experiments.definition.words import spoken
from ra_guard.experiments.ledger import entries_of
from ra_guard.launch import ledger
from ra_guard.launch.checks import checks_of
from ra_guard.launch.checks.drill import drill as run_drill
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Criterion, Readiness, Result, checklist, decide
from ra_guard.v1 import experiment_pb2 as wire

NO_GO = 1
LIMIT_S = 60.0
STYLES = {Result.PASS: "green", Result.FAIL: "red", Result.NEEDS_A_PERSON: "yellow"}
NAMED = 4
"""Lines that a criterion names before it counts them."""


def readiness(
    key: str,
    /,
    *,
    drill: Annotated[Flag, Parameter(help="Kill and resume at ramp 0 %, timed; begins a new epoch.")] = False,
    who: Annotated[str | None, Parameter(help="Who drills; by default the user of the operating system.")] = None,
    server: Annotated[
        str | None, Parameter(help="Address of the rerank server; by default the configuration's.")
    ] = None,
    limit_s: Annotated[float, Parameter(help="Longest time for one check.")] = LIMIT_S,
    control: Control = None,
    as_json: Json = False,
) -> int:
    """Measure the checklist on the running system and decide: exit 0 for GO, 1 for NO-GO."""
    settings = load()
    with ExperimentClient(control or control_addresses(settings), token=settings.control.token) as client:
        if drill:
            run_drill(_system(settings, server, client, key), Signature(why="", who=who).name)
        system = _system(settings, server, client, key)
        found = _readiness(system, limit_s)
    if as_json:
        print(encoding.dumps(found.to_json(), ensure_ascii=False))
    else:
        _print(system.definition, found)
    return 0 if found.is_go else NO_GO


def _system(settings: Settings, server: str | None, client: ExperimentClient, key: str) -> System:
    experiment = client.get(wire.GetRequest(key=key)).experiment
    return System(
        settings=settings,
        server=server or settings.server.address(settings.server.port),
        definition=parse_definition(experiment.definition),
        experiment=experiment,
        ledger=entries_of(key, client.get_ledger(wire.GetLedgerRequest(key=key)).changes),
        admin=client,
    )


def _readiness(system: System, limit_s: float) -> Readiness:
    definition, epoch = system.definition, system.experiment.epoch
    signatures = ledger.signatures(system.ledger, epoch)
    lines = checklist(definition, epoch, checks_of(system), signatures, limit_s)
    return Readiness(
        key=definition.key,
        revision=system.experiment.plan.revision,
        epoch=epoch,
        at=datetime.now(UTC),
        lines=lines,
        criteria=decide(definition, lines),
    )


def _print(definition: Definition, found: Readiness) -> None:
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
    passed, failed, open_ = (sum(each.found.result is result for each in found.lines) for result in Result)
    console.print(
        f"\n{found.key}, revision {found.revision}, epoch {found.epoch}: {passed} passed, {failed} failed, "
        f"{open_} need a person"
    )
    if open_:
        console.print(f'sign a line: ra-guard experiment sign {found.key} LINE [--as ROLE] --why "..."')
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
