"""`ra-guard experiment package` and `sign`: what people read, and vouch for, before the first user is treated."""

import json as encoding
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ra_guard.cli.experiment import Signature, control_addresses
from ra_guard.client import ExperimentClient
from ra_guard.config import Settings, load
from ra_guard.errors import ConfigError
from ra_guard.experiments.definition import parse_definition
from ra_guard.experiments.ledger import entries_of
from ra_guard.launch import ledger
from ra_guard.launch.package import Origin, Package, assemble, write
from ra_guard.launch.pages import markdown
from ra_guard.v1 import experiment_pb2 as wire

Flag = Annotated[bool, Parameter(negative=())]
Control = Annotated[
    str | None, Parameter(help="Addresses of the control plane; by default those of the configuration.")
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")]


def package(
    key: str = "",
    /,
    *,
    file: Annotated[Path | None, Parameter(help="A definition in TOML, instead of the one in force.")] = None,
    launch_date: Annotated[date | None, Parameter(help="YYYY-MM-DD; by default the definition's.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder to write to; state_dir/launch by default.")] = None,
    control: Control = None,
    as_json: Json = False,
) -> None:
    """Write the deployment package of a definition, as JSON for programs and as Markdown for people."""
    settings = load()
    if bool(key) is (file is not None):
        raise ConfigError("found neither or both of KEY and --file, wanted one of them; name what to package")
    found = _in_force(settings, control, key, launch_date) if file is None else _of_file(file, launch_date)
    written = write(found, markdown(found), out or settings.state_dir / "launch")
    if as_json:
        paths = {"json": str(written.data), "markdown": str(written.pages)}
        print(encoding.dumps({"deployment_id": found.deployment_id, **paths}))
        return
    dates = found.timeline
    print(f"{found.deployment_id}: launch {dates.launch}, decision due {dates.analysis.last}")
    print(f"wrote {written.pages}\nwrote {written.data}")


def sign(
    key: str,
    line: str,
    /,
    *,
    signature: Signature,
    role: Annotated[
        str | None,
        Parameter(name="--as", help="In which decision maker's role: each of them signs stakeholders_approved."),
    ] = None,
    withdraw: Annotated[Flag, Parameter(help="Take the signature back.")] = False,
    control: Control = None,
    as_json: Json = False,
) -> None:
    """Vouch for a line of the checklist, in the ledger: `sign KEY on_call_scheduled --why "rota of November"`."""
    settings = load()
    with ExperimentClient(control or control_addresses(settings), token=settings.control.token) as client:
        experiment = client.get(wire.GetRequest(key=key)).experiment
        found = ledger.require_signable(parse_definition(experiment.definition), line, role)
        item = ledger.signed_as(line, role)
        client.note(
            key,
            what=ledger.withdrawn(item) if withdraw else ledger.signed(item),
            who=signature.name,
            why=signature.why,
            numbers={ledger.EPOCH: float(experiment.epoch)},
        )
    if as_json:
        told = {"key": key, "line": line, "as": role, "who": signature.name, "epoch": experiment.epoch}
        print(encoding.dumps(told))
    else:
        done = "took the signature back" if withdraw else "signed"
        print(f"{key}: {signature.name} {done}{ledger.as_whom(role)} in epoch {experiment.epoch}: {found.item}")


def _in_force(settings: Settings, control: str | None, key: str, launch: date | None) -> Package:
    addresses = control or control_addresses(settings)
    with ExperimentClient(addresses, token=settings.control.token) as client:
        experiment = client.get(wire.GetRequest(key=key)).experiment
        lines = client.get_ledger(wire.GetLedgerRequest(key=key)).changes
    origin = Origin(addresses, experiment.plan.revision)
    drill = ledger.latest_drill(entries_of(key, lines))
    return assemble(parse_definition(experiment.definition), launch, origin, drill, datetime.now(UTC))


def _of_file(file: Path, launch: date | None) -> Package:
    definition = parse_definition(file.read_text(encoding="utf-8"))
    return assemble(definition, launch, Origin(str(file), None), None, datetime.now(UTC))
