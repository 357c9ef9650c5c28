"""Signatures and drills as the ledger has them, and `ra-guard experiment sign` with a client that keeps its lines."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from ra_guard.cli import experiment_launch, main
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import template
from ra_guard.experiments.definition.vocabulary import Proof, Role
from ra_guard.experiments.ledger import entries_of
from ra_guard.launch.errors import NotSigned, WrongRole
from ra_guard.launch.ledger import (
    APPROVED_LINE,
    DRILLED,
    Drill,
    latest_drill,
    require_signable,
    signatures,
    signed,
    signed_as,
    withdrawn,
)
from ra_guard.v1 import experiment_pb2 as wire

from tests.stand_ins.definitions import definition

KEY = "ra_guard_enhancement"
START = datetime(2025, 10, 20, tzinfo=UTC)
ITEM, OTHER = "on_call_scheduled", "legal_reviewed"


def line(what: str, epoch: float | None, *, who: str = "ada", minutes: int = 0, **numbers: float) -> Entry:
    told = numbers if epoch is None else {"epoch": epoch, **numbers}
    return Entry(KEY, 1, START + timedelta(minutes=minutes), who, "because", what, told)


def drilled(before: float, after: float) -> Entry:
    return line(DRILLED, after, epoch_before=before, kill_s=0.25, resume_s=0.5, replicas=3.0, waiting=0.0)


def test_a_signature_holds_for_its_epoch() -> None:
    ledger = [line(signed(ITEM), 1), line("kill at ramp 5 %", 1), line("resume as epoch 2", 2), line(signed(OTHER), 2)]
    assert set(signatures(ledger, 1)) == {ITEM}
    assert set(signatures(ledger, 2)) == {OTHER}
    assert signatures(ledger, 3) == {}


def test_a_drill_hands_signatures_on_and_a_stop_does_not() -> None:
    ledger = [line(signed(ITEM), 1), drilled(1, 2), line(signed(OTHER), 2), drilled(2, 3)]
    assert set(signatures(ledger, 3)) == {ITEM, OTHER}
    assert set(signatures([*ledger, line("resume as epoch 4", 4)], 4)) == set()


def test_the_last_word_counts() -> None:
    ledger = [line(signed(ITEM), 1), line(withdrawn(ITEM), 1, minutes=1)]
    assert signatures(ledger, 1) == {}
    again = [*ledger, line(signed(ITEM), 1, who="grace", minutes=2)]
    assert signatures(again, 1)[ITEM].who == "grace"


def test_what_software_writes_is_no_signature_and_neither_is_a_line_without_an_epoch() -> None:
    assert signatures([line(signed(ITEM), 1, who="ra-guard watch"), line(signed(OTHER), None)], 1) == {}


def test_the_last_drill_is_found() -> None:
    assert latest_drill([line("kill", 1)]) is None
    found = latest_drill([drilled(1, 2), line(signed(ITEM), 2), drilled(2, 3), line("approve 1 %", 3)])
    assert found == Drill(START, "ada", kill_s=0.25, resume_s=0.5, replicas=3, waiting=0, epoch=3)


def test_only_lines_that_ask_for_a_signature_can_be_signed() -> None:
    assert require_signable(definition(), ITEM, None).item == "On-call rotation scheduled"
    assert require_signable(definition(), "dashboards_operational", None).proof is Proof.CHECK_AND_SIGNATURE
    with pytest.raises(NotSigned, match="which the software proves"):
        require_signable(definition(), "service_deployed", None)
    with pytest.raises(NotSigned, match=r"no line 'nonsense'.*legal_reviewed"):
        require_signable(definition(), "nonsense", None)


def test_decision_makers_sign_the_approval_in_their_roles_and_nobody_another_line() -> None:
    for role in Role:
        assert require_signable(definition(), APPROVED_LINE, role.value).id == APPROVED_LINE
    with pytest.raises(WrongRole, match=r"signed without a role, wanted one of technical_lead, product_manager.*--as"):
        require_signable(definition(), APPROVED_LINE, None)
    without = definition(('role = "product_manager"', 'role = "technical_lead"'))
    with pytest.raises(WrongRole, match="as 'product_manager', wanted one of technical_lead, engineering_manager;"):
        require_signable(without, APPROVED_LINE, "product_manager")
    with pytest.raises(WrongRole, match=r"legal_reviewed signed as 'technical_lead', wanted no role; leave out --as"):
        require_signable(definition(), OTHER, "technical_lead")


def test_each_role_has_a_signature_of_its_own() -> None:
    lead, product = (signed_as(APPROVED_LINE, role) for role in ("technical_lead", "product_manager"))
    ledger = [line(signed(lead), 1), line(signed(product), 1, who="grace"), line(withdrawn(lead), 1, minutes=1)]
    assert {item: each.who for item, each in signatures(ledger, 1).items()} == {product: "grace"}
    assert APPROVED_LINE not in signatures([line(signed(lead), 1)], 1)


class LedgerClient:
    """A control plane whose experiment stands in epoch 2 and whose ledger is a list."""

    def __init__(self, lines: list[wire.Change], address: str, token: str) -> None:
        self._lines = lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, request: wire.GetRequest) -> wire.GetResponse:
        experiment = wire.Experiment(key=request.key, epoch=2, definition=template())
        return wire.GetResponse(experiment=experiment)

    def note(self, key: str, *, what: str, who: str, why: str, numbers: Mapping[str, float]) -> None:
        self._lines.append(wire.Change(revision=5, who=who, why=why, what=what, numbers=numbers))


def test_signing_and_taking_it_back(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[wire.Change] = []

    def client(address: str, token: str) -> Any:
        return LedgerClient(lines, address, token)

    monkeypatch.setattr(experiment_launch, "ExperimentClient", client)

    def kept() -> set[str]:
        return set(signatures(entries_of(KEY, lines), 2))

    assert main(("experiment", "sign", KEY, ITEM, "--why", "rota", "--who", "ada")) == 0
    assert capsys.readouterr().out == f"{KEY}: ada signed in epoch 2: On-call rotation scheduled\n"
    assert kept() == {ITEM}
    assert main(("experiment", "sign", KEY, OTHER, "--why", "read", "--who", "ada", "--json")) == 0
    assert json.loads(capsys.readouterr().out) == {
        "key": KEY,
        "line": OTHER,
        "as": None,
        "who": "ada",
        "epoch": 2,
    }
    assert main(("experiment", "sign", KEY, ITEM, "--why", "she left", "--withdraw")) == 0
    assert kept() == {OTHER}
    assert main(("experiment", "sign", KEY, "service_deployed", "--why", "it is")) == 2
    assert main(("experiment", "sign", KEY, ITEM)) == 2, "a signature without a reason"
    assert len(lines) == 3


def test_signing_in_a_role(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[wire.Change] = []
    monkeypatch.setattr(experiment_launch, "ExperimentClient", lambda address, token: LedgerClient(lines, "", ""))
    approve = ("experiment", "sign", KEY, APPROVED_LINE, "--why", "worth it", "--who", "ada")
    assert main((*approve, "--as", "product_manager")) == 0
    assert capsys.readouterr().out == (
        f"{KEY}: ada signed as product_manager in epoch 2: Stakeholder approval obtained\n"
    )
    assert [change.what for change in lines] == ["signed stakeholders_approved as product_manager"]
    assert main((*approve, "--as", "product_manager", "--withdraw", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["as"] == "product_manager"
    assert signatures(entries_of(KEY, lines), 2) == {}
    for refused in ((), ("--as", "ceo")):
        assert main((*approve, *refused)) == 2
        assert "wanted one of technical_lead, product_manager, engineering_manager" in capsys.readouterr().err
    assert main(("experiment", "sign", KEY, ITEM, "--why", "rota", "--as", "technical_lead")) == 2
    assert len(lines) == 2
