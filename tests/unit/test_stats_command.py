"""`ra-guard stats`: numbers for scripts, tables for people, one line and exit 2 for what makes no sense."""

import json
from typing import Any

import pytest
from ra_guard.cli import main


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["stats", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_boundaries_come_as_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--information", "0.2,0.4,0.6,0.8,1", "--alpha", "0.025", "--sides", "1"]
    found = document(capsys, "bounds", "--family", "obf", *asked)
    assert found["z"] == pytest.approx([4.876885, 3.357011, 2.680280, 2.289817, 2.031032], abs=2e-6)
    assert found["spent"][-1] == pytest.approx(0.025)
    assert found["nominal_p"][-1] == pytest.approx(0.02112, abs=1e-5)
    found = document(capsys, "bounds", "--family", "hsd", "--gamma", "-4", "--information", "0.5,1")
    assert found["gamma"] == -4
    early = document(capsys, "bounds", "--family", "obf", "--information", "0.3,0.7", "--spending-time", "0.3,1")
    assert early["spent"][-1] == pytest.approx(0.05)


def test_power_answers_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert document(capsys, "power", "--deviation", "35", "--effect", "4.24")["users_per_arm"] == 1_070
    effect = document(capsys, "power", "--deviation", "35", "--users", "2500")["effect"]
    assert effect == pytest.approx(2.773, abs=1e-3)
    both = document(capsys, "power", "--deviation", "35", "--users", "2500", "--effect", str(effect))
    assert both["power"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("counts", "shares", "verdict"),
    [("502,498", "0.5,0.5", "as drawn"), ("600,400", "1,1", "mismatch"), ("3,1", "1,1", "insufficient")],
)
def test_sample_ratio_has_a_verdict(capsys: pytest.CaptureFixture[str], counts: str, shares: str, verdict: str) -> None:
    assert document(capsys, "srm", "--counts", counts, "--shares", shares)["verdict"] == verdict
    assert main(["stats", "srm", "--counts", counts, "--shares", shares]) == 0
    assert verdict in capsys.readouterr().out


def test_users_in_an_arm_without_a_share_are_still_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "srm", "--counts", "500,500,1", "--shares", "1,1,0")
    assert (found["verdict"], found["p_value"], found["chi_square"]) == ("mismatch", 0, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("bounds", "--family", "pocock", "--information", "0.5,1"),
        ("power", "--deviation", "35", "--effect", "2.97"),
        ("srm", "--counts", "502,498"),
    ],
)
def test_people_get_a_table(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert main(["stats", *arguments]) == 0
    assert "│" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("bounds", "--family", "obf"),
        ("bounds", "--family", "o-brien", "--information", "1"),
        ("bounds", "--family", "obf", "--information", "0.5,one"),
        ("bounds", "--family", "obf", "--information", "0.5,nan"),
        ("bounds", "--family", "obf", "--information", "0.7,0.3"),
        ("bounds", "--family", "obf", "--information", "1,1.2"),
        ("bounds", "--family", "obf", "--information", "1", "--alpha", "5"),
        ("bounds", "--family", "obf", "--information", "1", "--sides", "3"),
        ("bounds", "--family", "obf", "--information", "1", "--gamma", "1"),
        ("power", "--deviation", "35"),
        ("power", "--deviation", "0", "--effect", "1"),
        ("power", "--deviation", "35", "--users", "0"),
        ("srm", "--counts", "5"),
        ("srm", "--counts", "502,498.5"),
        ("srm", "--counts", "5,5,5", "--shares", "1,1"),
        ("srm", "--counts=-5,5"),
    ],
)
def test_nonsense_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert main(["stats", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
