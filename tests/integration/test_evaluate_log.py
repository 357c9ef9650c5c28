"""`ra-guard evaluate log` over the calls of a real engine: other weights rank as an engine with those weights does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ra_guard._core import describe_record, read_log
from ra_guard.cli import main
from ra_guard.evaluation.calls import Calls, Scale
from ra_guard.evaluation.weights import Weights, WeightsByDomain
from ra_guard.logs.judged import JudgedLog, judged_calls
from ra_guard.logs.verify import request_id_of

from tests.stand_ins.definitions import changed
from tests.stand_ins.judged_log import JudgedWorld, call, judgment, sealed_plan
from tests.stand_ins.serving_process import SPACE

IN_FORCE = (1.0, 0.3, 0.5, 0.1)
PETS = (1.0, 0.0, 0.5, 0.2)
CALLS = range(80)
SCALES = {SPACE: Scale(-0.1, 1.0)}

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> JudgedWorld:
    """Judged: the first ten candidates of each call by a rule of their names, and what no analysis can use."""
    world = JudgedWorld(tmp_path_factory.mktemp("evaluate") / "state")
    sealed = sealed_plan(IN_FORCE, PETS)
    world.answers(sealed, CALLS, world.folders.candidates)
    events = [
        judgment(number, name, 0 if number % 5 == 4 else int(name.removeprefix("image-")) % 4)
        for number in CALLS
        for name in call(number).candidate_ids[:10]
    ]
    first = call(0).candidate_ids[0]
    events += [
        judgment(0, first, 3, event="changed my mind", late_s=10_000_000),
        judgment(0, first, 1, event="changed my mind"),
        judgment(1, "image-999", 4),
        judgment(500, "image-1", 1),
    ]
    world.judge(events)
    world.export(sealed)
    return world


@pytest.fixture(scope="module")
def log(world: JudgedWorld) -> JudgedLog:
    return judged_calls(world.state / "evidence")


@pytest.fixture
def run(world: JudgedWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("RA_GUARD_STATE_DIR", str(world.state))

    def run(*arguments: str | Path) -> tuple[int, Any, str]:
        code = main(["evaluate", "log", *map(str, arguments)])
        said = capsys.readouterr()
        return code, json.loads(said.out) if "--json" in arguments else said.out, said.err

    return run


def test_judged_and_scored_calls_are_found_with_their_judgments(log: JudgedLog) -> None:
    numbers = [int(each.request_id.removeprefix("r-")) for each in log.calls]
    assert 20 < len(numbers) < len(CALLS)
    assert (len(numbers) + log.not_scored, log.not_logged, log.ambiguous) == (len(CALLS), 1, 0)
    assert log.not_candidates == (1 in numbers)
    for number, found in zip(numbers, log.calls, strict=True):
        names = call(number).candidate_ids
        wanted = {row: 0 if number % 5 == 4 else int(names[row].removeprefix("image-")) % 4 for row in range(10)}
        if number == 0:
            wanted[0] = 3
        assert found.grades == wanted
        assert (found.user_id, found.domain, found.top_k) == (
            f"user-{number % 40}",
            call(number).domain,
            (0, 15, 5)[number % 3],
        )


@pytest.mark.parametrize("seed", range(4))
def test_other_weights_rank_as_an_engine_with_those_weights_does(
    world: JudgedWorld, log: JudgedLog, tmp_path: Path, seed: int
) -> None:
    default, pets = np.random.default_rng(seed).choice([0.0, 0.2, 0.7, 1.0, 3.3], (2, 4)).tolist()
    world.answers(sealed_plan(default, pets), CALLS, tmp_path)
    served = {}
    for path in tmp_path.glob("*.log"):
        for record in read_log(str(path)):
            served[request_id_of(record)] = describe_record(record)["ranking"]
    calls = Calls.of(log.calls, SCALES)
    ranks = calls.ranks(WeightsByDomain(Weights(*default), {"pets": Weights(*pets)}).of(calls.domain))
    for number, found in enumerate(log.calls):
        mine = ranks[calls.call == number]
        order = np.argsort(np.where(mine == 0, np.iinfo(np.int64).max, mine), kind="stable")[: np.count_nonzero(mine)]
        assert order.tolist() == served[found.request_id], found.request_id


def test_the_weights_in_force_change_nothing_and_the_scale_is_named(
    run: Run, world: JudgedWorld, tmp_path: Path
) -> None:
    file = tmp_path / "definition.toml"
    terms = "\n".join(
        f"{name} = {value}"
        for name, value in zip(("cosine", "consistency", "contradiction", "prior"), PETS, strict=True)
    )
    file.write_text(f"{changed()}\n[weights.domain.pets]\n{terms}\n")
    code, found, _ = run("--definition", file, "--json")
    assert code == 0
    assert [each["domain"] for each in found["domains"]] == [None, "", "pets"]
    for each in found["domains"]:
        assert each["difference"] == {"mean": 0.0, "low": None, "high": None, "insufficient": "no variance"}
        assert each["served"] == each["weights"]
    everything, *parts = found["domains"]
    assert everything["without_relevant"] > 0
    assert everything["requests"] == sum(each["requests"] for each in parts)
    source = f"generation 1 of {world.state / 'gallery'}"
    assert found["cosine_ranges"] == {SPACE: {"low": -0.1, "high": 1.0, "source": source}}
    text = run("--definition", file)[1]
    assert f"cosine_range [-0.1, 1] of space {SPACE}: from {source}" in text
    assert "(none named)" in text


def test_other_weights_are_told_with_intervals(run: Run) -> None:
    weights = "cosine=0,consistency=1,contradiction=0,prior=0"
    code, found, _ = run("--weights", weights, "--json")
    everything = found["domains"][0]
    assert code == 0
    for name in ("served", "weights", "difference"):
        assert everything[name]["low"] < everything[name]["mean"] < everything[name]["high"]
    difference = everything["weights"]["mean"] - everything["served"]["mean"]
    assert everything["difference"]["mean"] == pytest.approx(difference)


def test_a_scale_that_was_not_served_is_found_out(run: Run, tmp_path: Path) -> None:
    weights = "cosine=1,consistency=0,contradiction=0,prior=0"
    code, _, problem = run("--weights", weights, "--gallery", tmp_path)
    assert (code, f"found no cosine_range of space {SPACE}" in problem) == (2, True)
    code, _, problem = run("--weights", weights, "--gallery", tmp_path, "--cosine-range", "0,0.5")
    assert (code, "use the cosine_range of the space that was served" in problem) == (2, True)
    code, found, _ = run("--weights", weights, "--gallery", tmp_path, "--cosine-range=-0.1,1", "--json")
    assert (code, found["cosine_ranges"][SPACE]["source"]) == (0, "--cosine-range")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "neither --weights nor --definition"),
        (("--weights", "cosine=1", "--definition", "x"), "both --weights and --definition"),
        (("--weights", "cosine=1"), "wanted cosine=NUMBER,consistency=NUMBER"),
        (("--weights", "cosine=1,consistency=0,contradiction=0,prior=-1"), "prior = -1"),
        (("--weights", "cosine=nan,consistency=0,contradiction=0,prior=0"), "cosine=nan"),
        (("--weights", "cosine=1,cosine=1,contradiction=0,prior=0"), "name each once"),
        (
            ("--weights", "cosine=1,consistency=0,contradiction=0,prior=0", "--cosine-range", "1,0"),
            "--cosine-range '1,0'",
        ),
        (("--weights", "cosine=1,consistency=0,contradiction=0,prior=0", "--export", "nowhere"), "ra-guard log export"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...], says: str) -> None:
    code, _, problem = run(*arguments)
    assert (code, problem.count("\n")) == (2, 1)
    assert says in problem
