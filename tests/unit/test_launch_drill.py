"""The rollback drill against a control plane that remembers what it was asked: what it leaves, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ra_guard.experiments.ledger import entries_of
from ra_guard.launch import ledger
from ra_guard.launch.checks.drill import drill, rollback_tested
from ra_guard.launch.errors import DrillRefused, NotResumed
from ra_guard.launch.readiness import Result
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import plan_pb2

from tests.stand_ins.definitions import definition
from tests.stand_ins.launch_system import KEY, Admin, experiment, fails, system


def test_a_drill_kills_resumes_and_leaves_its_numbers(tmp_path: Path) -> None:
    admin = Admin()
    drill(system(tmp_path, admin=admin), "ada")
    assert admin.asked == ["kill", "resume", ledger.DRILLED]
    line = wire.Change(revision=6, who="ada", why="a drill", what=ledger.DRILLED, numbers=admin.numbers)
    after = system(tmp_path, experiment(epoch=2), ledger=entries_of(KEY, [line]))
    found = rollback_tested(after)
    assert found.result is Result.PASS
    assert "a kill reached 2 replicas in 0.500 s, where 300 s are allowed" in found.evidence
    assert rollback_tested(replace(after, experiment=experiment(epoch=3))).result is Result.NEEDS_A_PERSON
    assert rollback_tested(system(tmp_path)).result is Result.NEEDS_A_PERSON
    hasty = definition(("within_s = 300", "within_s = 1"))
    line.numbers[ledger.KILL_S] = 1.5
    fails(
        rollback_tested(replace(after, definition=hasty, ledger=entries_of(KEY, [line]))),
        "in 1.500 s",
        "wanted at most 1 s",
    )


@pytest.mark.parametrize("admin", [Admin(waiting=("w1",), acked=("w0",)), Admin(acked=())])
def test_a_drill_that_reached_not_all_or_nobody_fails(tmp_path: Path, admin: Admin) -> None:
    drill(system(tmp_path, admin=admin), "ada")
    line = wire.Change(revision=6, who="ada", why="a drill", what=ledger.DRILLED, numbers=admin.numbers)
    fails(rollback_tested(system(tmp_path, experiment(epoch=2), ledger=entries_of(KEY, [line]))), "wanted all")


def test_a_drill_that_cannot_resume_says_what_to_do(tmp_path: Path) -> None:
    admin = Admin(refuses_to_resume=True)
    with pytest.raises(NotResumed, match="ra-guard experiment resume"):
        drill(system(tmp_path, admin=admin), "ada")
    assert admin.asked == ["kill", "resume"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"plan": plan_pb2.Plan(killed=True)}, "killed"),
        ({"plan": plan_pb2.Plan(ramp_bp=500)}, "ramp 5 %"),
        ({"approved_bp": [100]}, "stage 1 % approved"),
        ({"widest_bp": 1000}, "up to ramp 10 %"),
    ],
)
def test_no_drill_where_something_would_be_lost(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    admin = Admin()
    with pytest.raises(DrillRefused, match=word):
        drill(system(tmp_path, experiment(**changes), admin=admin), "ada")
    assert admin.asked == []
