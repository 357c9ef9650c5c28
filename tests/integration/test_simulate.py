"""`ra-guard simulate`: the same bytes from the same seed, a report beside them, one line and exit 2 for nonsense."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ra_guard.cli import main
from ra_guard.experiments.definition.safety import Measured
from ra_guard.simulation.measure import TriggerFound, as_toml

from tests.stand_ins.simulations import one_stage

SHORT = """
hours = 3
definition = "definition.toml"
[visits]
visitors_per_day = 6000
hourly_profile = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
[[faults]]
kind = "errors"
at_hour = 1
hours = 9
size = 20
"""

PLANNED = {"users = 5000\nusers_per_arm = 2500\n": "users = 41750\nusers_per_arm = 20875\n"}
"""The sample of the plan's own simulation."""
EAGER = {"for_minutes = 5\ncoverage_percent = 80\nmin_requests = 600\n": "for_minutes = 0\nmin_requests = 50\n"}
"""The alert on errors above 1 %, for a test's traffic: there before a guardrail ends it."""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "definition.toml").write_text(one_stage(**PLANNED, **EAGER).text, encoding="utf-8")
    path = tmp_path / "short.toml"
    path.write_text(SHORT, encoding="utf-8")
    return path


def simulate(*arguments: str | Path) -> int:
    return main(["simulate", *map(str, arguments)])


def results(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "simulation_results.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_same_seed_gives_the_same_bytes(scenario: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert simulate("--scenario", scenario, "--seed", "4", "--out", tmp_path / folder) == 0
    first, second = (
        {file.relative_to(tmp_path / folder): file.read_bytes() for file in (tmp_path / folder).rglob("*.*")}
        for folder in ("one", "two")
    )
    assert first == second
    assert {path.suffix for path in first} == {".json", ".html", ".md"}
    assert simulate("--scenario", scenario, "--seed", "5", "--out", tmp_path / "one", "--tick-minutes", "60") == 0
    assert results(tmp_path / "one")["allocation"] != results(tmp_path / "two")["allocation"]


def test_the_document_says_what_happened(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--scenario", scenario, "--out", tmp_path / "out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == results(tmp_path / "out")
    assert list(found) == [
        *("format", "scenario", "definition", "seed", "tick_minutes", "versions", "units", "allocation", "hours"),
        *("looks", "triggers", "alerts", "rollback", "ledger", "decision", "reproduction"),
    ]
    assert "trigger error_rate" in found["rollback"]["causes"] or "guardrail error_rate" in found["rollback"]["causes"]
    assert 0 < found["rollback"]["detection_minutes"] < 120
    assert found["rollback"]["why"] in {entry["why"] for entry in found["ledger"]}
    alert = next(alert for alert in found["alerts"] if alert["metric"] == "error_rate")
    assert (alert["severity"], alert["bound"], alert["told"]) == ("high", 1.0, 1)
    assert alert["told"] <= alert["fired"]
    assert 60 < alert["first_minute"] < found["rollback"]["minute"]
    assert not any("minor alert" in note for note in found["reproduction"])
    assert any("cannot be reproduced" in note and "70 points" in note for note in found["reproduction"])


def test_a_week_of_the_plan_without_a_fault_is_set_beside_the_plans_only_alert(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy = tmp_path / "healthy.toml"
    healthy.write_text(SHORT[: SHORT.index("[[faults]]")], encoding="utf-8")
    assert simulate("--scenario", healthy, "--out", tmp_path / "out") == 0
    out = capsys.readouterr().out
    told = sum(alert["told"] for alert in results(tmp_path / "out")["alerts"])
    said = next(note for note in results(tmp_path / "out")["reproduction"] if "minor alert" in note)
    assert f"people were told of {told or 'none'}" in said
    assert "only 1 minor alert" in " ".join(out.split())


def test_people_get_tables_and_where_the_files_are(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate("--scenario", scenario, "--out", tmp_path / "out", "--tick-minutes", "60") == 0
    out = capsys.readouterr().out
    assert "fault: errors of 20 % from hour 1" in out
    assert "no trigger, guardrail or lack of evidence rolls back" in out
    assert str(tmp_path / "out" / "simulation_results.json") in out


def test_replications_are_counted_with_what_so_many_can_tell(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--scenario", scenario, "--replications", "3", "--out", tmp_path / "out")
    assert simulate(*asked, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    rolled_back = found["summary"]["shares"]["rolled back"]
    assert (rolled_back["count"], rolled_back["of"], len(found["replications"])) == (3, 3, 3)
    # Clopper and Pearson: n of n is at least (alpha / 2) ** (1 / n).
    assert rolled_back["low_percent"] == pytest.approx(100 * 0.025 ** (1 / 3))
    assert simulate(*asked) == 0
    assert "3 of 3" in capsys.readouterr().out


@pytest.mark.parametrize("median", [None, 22.5])
def test_what_was_measured_of_a_trigger_can_be_pasted_into_the_definition(median: float | None) -> None:
    measured = Measured(
        command='ra-guard simulate --scenario "a b.toml" --measure-triggers',
        healthy_runs=1_000,
        false_rollback_percent=0.1,
        false_rollback_percent_upper=0.5559,
        fault="errors of 3 % from hour 108",
        faulty_runs=1_000,
        detected_percent=99.0 if median else 12.0,
        detection_minutes_median=median,
    )
    table = as_toml(TriggerFound(one_stage().triggers[0], measured))
    assert "error_rate above 2 percent" in table
    assert Measured.model_validate(tomllib.loads(f"[[triggers]]\n{table}")["triggers"][0]["measured"]) == measured


def test_triggers_are_not_measured_where_their_fault_has_no_time(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate("--scenario", scenario, "--measure-triggers", "--replications", "1") == 2
    assert "simulate seven days" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--preset", "eight-day"), ("eight-day", "seven-day")),
        (("--seed", "-1"), ("-1", "0 or more")),
        (("--replications", "0"), ("0", "1 or more")),
        (("--effect", "60"), ("above 0 and below 100",)),
        (("--tick-minutes", "7"), ("7 minutes", "divide an hour")),
        (("--measure-triggers", "--tick-minutes", "60"), ("--tick-minutes 60", "leave --tick-minutes out")),
    ],
)
def test_nonsense_is_one_line_and_exit_2(
    arguments: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(word in error for word in words), error
