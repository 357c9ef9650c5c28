"""`ra-guard alerts test`, against receivers that run here."""

import json

import pytest
from ra_guard.cli import main

from tests.stand_ins.postgres import free_port
from tests.stand_ins.receivers import SLACK, TOKENS, mail_server, slack_webhook, webhook


def test_every_receiver_is_tried_and_shown_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with slack_webhook(monkeypatch) as slack, mail_server(free_port()) as box:
        monkeypatch.setenv("RA_GUARD_ALERTS__SLACK", SLACK)
        monkeypatch.setenv("RA_GUARD_ALERTS__EMAIL", box.address)
        assert main(["alerts", "test", "--json"]) == 0
        outcomes = json.loads(capsys.readouterr().out)
        assert [(each["route"], each["why_not"]) for each in outcomes] == [("slack", ""), ("email", "")]
        assert slack.requests[0][1]["attachments"][0]["title"] == "[TEST] RA-Guard"
        assert box.mails[0]["Subject"] == "[TEST] RA-Guard"

        slack.status = 403
        assert main(["alerts", "test"]) == 1
    shown = capsys.readouterr().out
    assert "slack 1 (slack://...)" in shown
    assert "403" in shown
    assert "delivered" in shown
    assert not [token for token in TOKENS if token in shown]


def test_addresses_of_teams_are_tried_once_and_say_whom_they_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with webhook() as general, webhook() as own:
        monkeypatch.setenv("RA_GUARD_ALERTS__SLACK", general.json_address)
        for team in ("PRODUCT_MANAGEMENT", "EXECUTIVE_LEADERSHIP"):
            variable = f"RA_GUARD_ALERTS__TEAMS__{team}__SLACK"
            monkeypatch.setenv(variable, f"{own.json_address} {general.json_address}")
        assert main(["alerts", "test", "--json"]) == 0
        outcomes = json.loads(capsys.readouterr().out)
        assert main(["alerts", "test"]) == 0
    assert general.titles() == own.titles() == ["[TEST] RA-Guard"] * 2
    assert [(each["receiver"].partition(" (")[0], each["readers"]) for each in outcomes] == [
        ("slack 1", "everyone"),
        ("slack 1 of product management", "product management, executive leadership"),
    ]
    assert "executive leadership" in " ".join(capsys.readouterr().out.split())


def test_without_an_address_there_is_nothing_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "test"]) == 2
    assert "alerts.slack, alerts.email and alerts.teams: found no address" in capsys.readouterr().err
