"""Scenarios: what is refused and why, and that a preset enrols as many users as it says."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from ra_guard.experiments.allocation import Arm, arm_of
from ra_guard.experiments.errors import BadDefinition, UnknownOption
from ra_guard.simulation.calls import draw_calls
from ra_guard.simulation.errors import UnknownPreset, WrongTicks
from ra_guard.simulation.people import Allocation, draw_people
from ra_guard.simulation.play import Script
from ra_guard.simulation.presets import PLANNED_USERS, PRESETS, enrolled_users, preset
from ra_guard.simulation.scenario import Fault, FaultKind, Ndcg, Scenario, Visits, load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "scenario.toml"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("[ndcg]\nbetween_user_sd_points = 70\n", BadDefinition, ("70", "at most 50", "between 0 and 100")),
        ("[ndcg]\ncontrol_points = 90\nbetween_user_sd_points = 35\n", BadDefinition, ("around 9", "at most")),
        ("[ndcg]\nsd = 35\n", UnknownOption, ("sd", "between_user_sd_points")),
        ("hours = 0\n", BadDefinition, ("hours", "0")),
        ("[[domains]]\nname = 'a'\nshare_percent = 60.0\n", BadDefinition, ("60 %", "100 %")),
        ("[visits]\nvisitors_per_day = 1e9\n", BadDefinition, ("calls", "fewer")),
        ("[[faults]]\nkind = 'fire'\nat_hour = 1\nhours = 1\nsize = 1\n", UnknownOption, ("fire", "latency")),
        (
            "hours = 5\n[[faults]]\nkind = 'errors'\nat_hour = 6\nhours = 1\nsize = 1\n",
            BadDefinition,
            ("5 hours", "before the end"),
        ),
        (
            "replicas = 2\n[[faults]]\nkind = 'partition'\nat_hour = 1\nhours = 1\nsize = 3\n",
            BadDefinition,
            ("3 replicas", "1 to 2"),
        ),
        ("hours = \n", BadDefinition, ("not TOML",)),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    file: Path, text: str, kind: type[Exception], words: tuple[str, ...]
) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(kind) as refused:
        load(file)
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_file_names_what_differs_and_a_definition_beside_it(file: Path) -> None:
    file.write_text('hours = 48\ndefinition = "mine.toml"\n[ndcg]\neffect_points = -2\n', encoding="utf-8")
    (file.parent / "mine.toml").write_text(preset("seven-day")[1].text, encoding="utf-8")
    scenario, definition = load(file)
    assert (scenario.name, scenario.hours, scenario.ndcg.effect_points) == ("scenario", 48, -2)
    assert scenario.latency == Scenario().latency
    assert definition.sample.users == PLANNED_USERS


def test_an_effect_must_leave_the_mean_between_0_and_100() -> None:
    assert Scenario().with_effect(0.0).true_effect_points == 0
    with pytest.raises(BadDefinition, match="above 0 and below 100"):
        Scenario().with_effect(45.0)


def test_the_true_effect_is_what_is_left_where_errors_serve_the_baseline() -> None:
    scenario = Scenario(ndcg=Ndcg(effect_points=4.0))
    assert scenario.true_effect_points == pytest.approx(4.0 * 0.997)


def test_a_tick_that_misses_full_hours_is_refused() -> None:
    scenario, definition = preset("a-a")
    with pytest.raises(WrongTicks, match="divide an hour"):
        Script(scenario, definition, tick_minutes=7)


def test_every_preset_exists_and_no_other() -> None:
    for name in PRESETS:
        scenario, _ = preset(name)
        assert scenario.name == name
    with pytest.raises(UnknownPreset, match="seven-day"):
        preset("eight-day")


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_words_for_itself(kind: FaultKind) -> None:
    size = 0.0 if kind is FaultKind.NO_EVIDENCE else 1.0
    assert f"{kind}" in str(Fault(kind=kind, at_hour=1.0, hours=2.0, size=size))
    with pytest.raises(ValidationError):
        Fault(kind=kind, at_hour=-1.0, hours=2.0, size=size)


@pytest.mark.parametrize(("name", "users"), [("seven-day", PLANNED_USERS), ("a-a", 5_000)])
def test_as_many_come_as_enrol_the_planned_users(name: str, users: int) -> None:
    """A sample of a tenth, drawn, against the expectation: within five standard errors of a Poisson count."""
    scenario, definition = preset(name)
    assert enrolled_users(scenario, definition) == pytest.approx(users)
    assert definition.sample.users == users
    tenth = scenario.model_copy(update={"visits": Visits(visitors_per_day=scenario.visits.visitors_per_day / 10)})
    people = draw_people(tenth, 3, Allocation.DRAWN, definition.key)
    calls = draw_calls(tenth, people, 3)
    ramp = np.concatenate([np.full(stage.hold_hours or tenth.hours, stage.ramp_bp) for stage in definition.stages])
    enrolled = {
        visitor
        for visitor, minute in zip(calls.visitor.tolist(), calls.minute.tolist(), strict=True)
        if arm_of(int(people.bucket[visitor]), int(ramp[int(minute // 60)])) is not Arm.NOT_ENROLLED
    }
    assert len(enrolled) == pytest.approx(users / 10, abs=5 * (users / 10) ** 0.5)
