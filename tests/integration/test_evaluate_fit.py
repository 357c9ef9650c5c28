"""`ra-guard evaluate fit` over the calls of a real engine: a gain is shown where the judgments hold one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ra_guard._core import describe_record, read_log
from ra_guard.cli import main
from ra_guard.logs.verify import request_id_of

from tests.stand_ins.judged_log import JudgedWorld, call, judgment, sealed_plan

COSINE_ONLY = (1.0, 0.0, 0.0, 0.0)
CALLS = range(120)

Grade = Callable[[np.random.Generator, float], int]


def by_consistency(_: np.random.Generator, consistency: float) -> int:
    return round(10 * consistency)


def by_chance(random: np.random.Generator, _: float) -> int:
    return int(random.integers(0, 4))


def judged_world(state: Path, grade: Grade) -> JudgedWorld:
    world, sealed, random = JudgedWorld(state), sealed_plan(COSINE_ONLY), np.random.default_rng(0)
    world.answers(sealed, CALLS, world.folders.candidates)
    events = []
    for path in world.folders.candidates.glob("*.log"):
        for record in read_log(str(path)):
            number = int(request_id_of(record).removeprefix("r-"))
            shown: Any = describe_record(record).get("consistency", [])
            events += [
                judgment(number, name, grade(random, consistency))
                for name, consistency in zip(call(number).candidate_ids, shown, strict=False)
                if not np.isnan(consistency)
            ]
    for start in range(0, len(events), 1000):
        world.judge(events[start : start + 1000])
    world.export(sealed)
    return world


def test_a_gain_is_shown_with_a_table_to_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = judged_world(tmp_path / "state", by_consistency)
    monkeypatch.setenv("RA_GUARD_STATE_DIR", str(world.state))
    assert main(["evaluate", "fit", "--folds", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["gain_shown"]
    assert found["difference"]["low"] > 0
    assert found["weights"]["consistency"] > 2 * found["weights"]["cosine"]
    assert main(["evaluate", "fit", "--folds", "3"]) == 0
    text = capsys.readouterr().out
    assert "[weights.default]\ncosine = " in text
    weights = ",".join(f"{name}={value}" for name, value in found["weights"].items())
    assert main(["evaluate", "log", "--weights", weights, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["domains"][0]["difference"]["low"] > 0


def test_no_gain_is_claimed_where_grades_are_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = judged_world(tmp_path / "state", by_chance)
    monkeypatch.setenv("RA_GUARD_STATE_DIR", str(world.state))
    assert main(["evaluate", "fit", "--folds", "3"]) == 1
    text = capsys.readouterr().out
    assert "No gain is shown" in text
    assert "[weights.default]" not in text
    assert main(["evaluate", "fit", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["weights"] is None


@pytest.mark.parametrize("arguments", [("--folds", "1"), ("--seed", "-1")])
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "fit", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
