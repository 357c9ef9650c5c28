"""The deployment package of the template: the plan's dates, every line of the definition, two files alike."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from ra_guard.cli import main
from ra_guard.experiments.definition import Definition, parse_definition, template
from ra_guard.experiments.definition.measures import Alarm, Requirement
from ra_guard.experiments.definition.words import in_words
from ra_guard.launch.errors import BeyondTheCalendar, NoLaunchDate
from ra_guard.launch.ledger import Drill
from ra_guard.launch.package import Origin, Package, assemble, plain, planned_power, write
from ra_guard.launch.pages import markdown

from tests.stand_ins.definitions import changed, definition, unmeasured

LAUNCH = date(2025, 10, 24)
NOW = datetime(2025, 10, 17, 21, 5, 17, tzinfo=UTC)
DRILL = Drill(NOW, "ada", kill_s=0.25, resume_s=0.5, replicas=3, waiting=0, epoch=2)
MEASURED = """
[triggers.measured]
command = "ra-guard simulate --measure-triggers"
healthy_runs = 2000
false_rollback_percent = 0.1
false_rollback_percent_upper = 0.4
fault = "errors | at 5 %"
faulty_runs = 500
detected_percent = 100.0
detection_minutes_median = 31.0
"""
KEYS = {
    "format",
    "deployment_id",
    "written_at",
    "origin",
    "experiment",
    "timeline",
    "stages",
    "sample",
    "success",
    "analysis",
    "decision",
    "guardrails",
    "indicators",
    "rollback",
    "alerts",
    "escalation",
    "communication",
    "risks",
    "checklist",
    "decision_makers",
    "go_no_go",
    "definition",
}


def package(found: Definition | None = None, drill: Drill | None = DRILL) -> Package:
    return assemble(found or definition(), LAUNCH, Origin("control:50052", 7), drill, NOW)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    made = package()
    files = write(made, markdown(made), tmp_path_factory.mktemp("launch"))
    return json.loads(files.data.read_text()), files.pages.read_text()


def days(found: dict[str, str]) -> tuple[str, str]:
    return found["first"], found["last"]


def test_the_plans_dates(written: tuple[dict[str, Any], str]) -> None:
    dates = written[0]["timeline"]
    assert days(dates["preparation"]) == ("2025-10-17", "2025-10-23")
    assert dates["go_no_go"] == "2025-10-23"
    assert [stage["days"]["first"] for stage in dates["stages"]] == [f"2025-10-{day}" for day in range(24, 29)]
    assert [(stage["from_hour"], stage["to_hour"]) for stage in dates["stages"]] == [
        (0, 24),
        (24, 48),
        (48, 72),
        (72, 96),
        (96, 336),
    ]
    assert days(dates["ramp"]) == ("2025-10-24", "2025-10-28")
    assert days(dates["full_test"]) == ("2025-10-29", "2025-11-06")
    assert [(look["day"], look["on"]) for look in dates["looks"]] == [
        (3, "2025-10-26"),
        (7, "2025-10-30"),
        (10, "2025-11-02"),
        (14, "2025-11-06"),
    ]
    assert days(dates["analysis"]) == ("2025-11-07", "2025-11-09")


def test_the_definition_is_whole_and_nothing_of_it_is_lost(written: tuple[dict[str, Any], str]) -> None:
    found = written[0]
    assert set(found) == KEYS
    assert found["definition"] == definition().model_dump(mode="json")
    for part in ("risks", "checklist", "escalation", "decision_makers"):
        assert found[part] == found["definition"][part]
    assert [alert["in_words"] for alert in found["alerts"]] == [in_words(alert) for alert in definition().alerts]
    assert (found["deployment_id"], found["origin"]["revision"]) == ("ra_guard_enhancement_20251024", 7)
    criteria = {each["criterion"]: each["lines"] for each in found["go_no_go"]["criteria"]}
    assert len(criteria["checklist_complete"]) == 26
    assert criteria["risk_mitigation_in_place"] == ["risks_assessed", "rollback_tested"]
    assert found["rollback"]["last_drill"]["kill_s"] == 0.25


def test_the_pages_have_every_line_that_people_act_on(written: tuple[dict[str, Any], str]) -> None:
    plan, pages = definition(), written[1]
    for line in plan.checklist:
        assert f"- [ ] {line.item} (`{line.id}`, {line.proof.value}" in pages
    for risk in plan.risks:
        assert f"| {risk.risk} |" in pages
        assert f"| {risk.mitigation} |" in pages
    gates = [gate for stage in plan.stages for gate in stage.gates]
    bounds: list[Requirement | Alarm] = [*gates, *plan.metrics.guardrails, *plan.triggers, *plan.alerts]
    for bound in bounds:
        assert in_words(bound) in pages
    for word in ("kill", "status", "rollback", "resume"):
        assert f"ra-guard experiment {word} {plan.key}" in pages
    assert "a kill reached 3 replicas in 0.250 s" in pages
    for maker in plan.decision_makers:
        command = f"ra-guard experiment sign {plan.key} stakeholders_approved --as {maker.role.value} --why"
        assert pages.count(command) == 1
        assert sum(step["command"].startswith(command) for step in written[0]["go_no_go"]["approvals"]) == 1
    assert "| 2025-10-29 to 11-06 | Full test at 50 % of users in each arm |" in pages


def test_power_is_that_of_the_sample() -> None:
    power = planned_power(definition())
    assert (power.alpha, power.users_per_arm_for_expected, power.users_per_arm_for_success) == (0.05, 1070, 2181)
    assert power.minimum_detectable_points == pytest.approx(2.77, abs=0.005)
    wider = planned_power(definition(("sd_points = 35", "sd_points = 50")))
    assert wider.users_per_arm_for_success > power.users_per_arm_for_success
    assert wider.power_percent_for_success < 80 < power.power_percent_for_success


def test_what_was_measured_of_a_trigger_is_told_and_breaks_no_table() -> None:
    first = "coverage_percent = 90\nmin_requests = 200\n"
    pages = markdown(package(parse_definition(changed((first, first + MEASURED), text=unmeasured()))))
    (row,) = (line for line in pages.splitlines() if "healthy runs" in line)
    assert "0.1 % of 2,000 healthy runs rolled back (at most 0.4 %)" in row
    assert "100 % of 500 with errors \\| at 5 %, half of them within 31 minutes" in row
    assert pages.count("not measured") == 2


def test_without_a_drill_or_a_date_it_says_so() -> None:
    without = package(drill=None)
    assert plain(without)["rollback"]["last_drill"] is None
    assert "No drill is in the ledger." in markdown(without)
    with pytest.raises(NoLaunchDate, match="--launch-date"):
        assemble(definition(), None, Origin("file", None), None, NOW)
    dated = definition(("# launch_date = 2025-10-24", "launch_date = 2026-03-02"))
    assert assemble(dated, None, Origin("file", None), None, NOW).deployment_id == "ra_guard_enhancement_20260302"
    with pytest.raises(BeyondTheCalendar, match="9999"):
        assemble(definition(), date(9999, 12, 24), Origin("file", None), None, NOW)


def test_nobody_is_asked_for_an_approval_that_the_checklist_lacks() -> None:
    without = package(definition(('id = "stakeholders_approved"', 'id = "somebody_approved"')))
    assert plain(without)["go_no_go"]["approvals"] == []
    assert "--as" not in markdown(without)


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(template("mine"))
    arguments = ("experiment", "package", "--file", str(file), "--out", str(out))
    assert main((*arguments, "--launch-date", "2025-10-24", "--json")) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "mine_20251024_deployment_package.json",
        "mine_20251024_deployment_package.md",
    ]
    assert json.loads(capsys.readouterr().out)["deployment_id"] == "mine_20251024"
    assert main(arguments) == 2
    assert main(("experiment", "package", "mine", *arguments[2:])) == 2
    assert capsys.readouterr().err.count("\n") == 2
