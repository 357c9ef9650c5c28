"""`ra-guard experiment` as a person runs it: arguments in, text and exit code out, replicas that obey."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ra_guard import _core
from ra_guard.cli import main
from ra_guard.experiments.control_store import ControlStore
from ra_guard.v1 import rerank_pb2

from tests.stand_ins.control_plane import KEY, ME, Clock, Instance, instance
from tests.stand_ins.control_server import fleet, served
from tests.stand_ins.definitions import changed
from tests.stand_ins.serving_process import enrol_everyone, store_url

VECTORS = Path(__file__).parents[1] / "vectors" / "growthbook_hash.json"
USERS = [f"user-{number}" for number in range(60)]
WHY = ("--why", "a test")
ENROLLED = {rerank_pb2.ARM_TREATMENT, rerank_pb2.ARM_CONTROL}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    error: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("RA_GUARD_STATE_DIR", str(tmp_path / "state"))

    def run(*arguments: str) -> Ran:
        code = main(arguments)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control(tmp_path: Path, clock: Clock) -> Iterator[Instance]:
    control = instance(f"sqlite:///{tmp_path / 'control.db'}", clock).lead()
    control.plane.create_default(ME)
    yield control
    control.close()


@dataclass(frozen=True)
class Fleet:
    """A control plane and two replicas of it, and a command line that knows where they are."""

    run: Run
    address: str
    engines: tuple[_core.Engine, ...]

    def experiment(self, command: str, *arguments: str) -> Ran:
        return self.run("experiment", command, *arguments, "--control", self.address)

    def change(self, command: str, *arguments: str) -> dict[str, Any]:
        """A change that is made, and that both replicas hold when the command returns."""
        ran = self.experiment(command, KEY, *arguments, *WHY, "--json")
        assert (ran.code, ran.error) == (0, "")
        assert (ran.json["acked"], ran.json["waiting"]) == (["w0", "w1"], [])
        assert [engine.plan_revision() for engine in self.engines] == [ran.json["revision"]] * 2
        return ran.json

    def refused(self, command: str, *arguments: str) -> str:
        """A change that is refused, in one line, and changes nothing."""
        before = self.engines[0].plan_revision()
        ran = self.experiment(command, *arguments, *WHY)
        assert (ran.code, ran.error.count("\n"), ran.error.startswith("error: found ")) == (1, 1, True), ran
        assert ", wanted " in ran.error
        assert self.engines[0].plan_revision() == before
        return ran.error

    def arms(self) -> dict[str, int]:
        """The arm of each user who is enrolled; both replicas agree."""
        seen = [{user: engine.rerank(call(user)).assigned_arm for user in USERS} for engine in self.engines]
        assert seen[0] == seen[1]
        return {user: arm for user, arm in seen[0].items() if arm in ENROLLED}


def call(user: str) -> bytes:
    return rerank_pb2.RerankRequest(
        request_id="r", user_id=user, text="a dog", candidate_ids=["a", "b"]
    ).SerializeToString()


@pytest.fixture
def at(control: Instance, run: Run, tmp_path: Path) -> Iterator[Fleet]:
    with served(control) as server, fleet([server.address], tmp_path / "plans") as engines:
        yield Fleet(run, server.address, engines)


def definition(folder: Path, *replacements: tuple[str, str]) -> str:
    path = folder / "definition.toml"
    path.write_text(changed(*replacements))
    return str(path)


def test_the_whole_ramp_with_every_refusal_on_the_way(at: Fleet, tmp_path: Path) -> None:
    status = at.experiment("status", KEY, "--json").json
    assert (status["revision"], status["ramp_percent"], status["killed"]) == (1, 0.0, False)
    assert "not approved in epoch 1" in at.refused("ramp", KEY, "1%")
    assert "asks for no approval" in at.refused("approve", KEY, "5%")
    assert "a stage of the definition: 1 %, 5 %, 10 %, 25 %, 50 %" in at.refused("approve", KEY, "3%")
    assert at.change("approve", "1%")["approved_percent"] == [1.0]
    assert "a stage of the definition" in at.refused("ramp", KEY, "2.5%")
    assert "the next stage" in at.refused("ramp", KEY, "5%")
    assert "nothing to resume" in at.refused("resume", KEY)
    enrolled: dict[str, int] = {}
    for share in ("1", "5%", "10 %", "25", "50"):
        assert at.change("ramp", share)["ramp_percent"] == float(share.strip(" %"))
        arms = at.arms()
        assert arms.items() >= enrolled.items(), "who is enrolled stays, in the same arm"
        enrolled = arms
        assert "weights" in at.refused("apply", definition(tmp_path, ("cosine = 1.0", "cosine = 0.5")))
    assert set(enrolled) == set(USERS)
    assert "on which the ramp stands" in at.refused(
        "apply", definition(tmp_path, ("percent = 50\nmonitoring", "percent = 45\nmonitoring"))
    )
    killed = at.change("kill")
    assert (killed["killed"], killed["ramp_percent"]) == (True, 50.0)
    for command in ("ramp", "approve"):
        assert "resume it first" in at.refused(command, KEY, "1%")
    resumed = at.change("resume")
    assert (resumed["epoch"], resumed["salt"], resumed["ramp_percent"]) == (2, "epoch-2", 0.0)
    assert "not approved in epoch 2" in at.refused("ramp", KEY, "1%")
    at.change("approve", "1%")
    at.change("ramp", "10%", "--skip-stages")
    rolled_back = at.change("rollback")
    assert (rolled_back["rolled_back"], rolled_back["ramp_percent"]) == (True, 0.0)
    assert "rolled back in epoch 2" in at.refused("ramp", KEY, "1%")
    assert at.change("resume")["epoch"] == 3
    whats = [line["what"] for line in at.experiment("status", KEY, "--json").json["history"]]
    assert [what for what in whats if "reached" not in what] == [
        "create at ramp 0 %",
        "approve 1 %",
        "ramp 0 % to 1 %",
        "ramp 1 % to 5 %",
        "ramp 5 % to 10 %",
        "ramp 10 % to 25 %",
        "ramp 25 % to 50 %",
        "kill at ramp 50 %",
        "resume as epoch 2, salt epoch-2, ramp 0 %",
        "approve 1 %",
        "ramp 0 % to 10 %, skipping 1 %, 5 %",
        "roll back from ramp 10 %, close epoch 2",
        "resume as epoch 3, salt epoch-3, ramp 0 %",
    ]


def test_kill_says_how_long_it_took(at: Fleet) -> None:
    ran = at.experiment("kill", KEY, *WHY)
    assert (ran.code, ran.out) == (
        0,
        f"{KEY}: killed, ramp 0 %, revision 2, 2 replicas acknowledged, 0.000 s\n",
    ), "on a clock that stands"
    again = at.experiment("kill", KEY, *WHY, "--json").json
    assert (again["revision"], again["acknowledged_s"], again["acked"]) == (2, 0.0, ["w0", "w1"])


def test_a_replica_whose_lease_ran_out_is_not_waited_for(at: Fleet, control: Instance, clock: Clock) -> None:
    control.plane.replicas.hear(KEY, "gone", 1, 1)
    clock.advance(61)
    control.seat.step()
    ran = at.experiment("kill", KEY, *WHY)
    assert ran.code == 0
    assert "2 replicas acknowledged, 1 lost the lease" in ran.out


def test_a_replica_that_does_not_take_the_change_up_is_named(at: Fleet, control: Instance) -> None:
    control.plane.replicas.hear(KEY, "stuck", 1, 1)
    wait = control.plane.wait
    control.plane.wait = lambda changed, timeout_s=None: wait(changed, 0)  # type: ignore[method-assign]
    ran = at.experiment("kill", KEY, *WHY)
    assert ran.code == 1
    assert "stuck" in ran.error
    assert "stored and published" in ran.error


def test_a_definition_is_shown_then_applied(at: Fleet, tmp_path: Path) -> None:
    path = definition(tmp_path, ("lease_s = 60", "lease_s = 30"), ('salt = ""', 'salt = "spring"'))
    shown = at.experiment("apply", path, "--dry-run")
    assert shown.out.splitlines() == [
        f"{KEY}: changes to revision 1",
        '  salt: "" -> "spring"',
        "  lease_s: 60 -> 30",
    ]
    assert at.experiment("apply", path, "--dry-run", "--json").json["revision"] == 1
    assert at.engines[0].plan_revision() == 1
    assert at.experiment("apply", path).code == 2, "why is missing"
    applied = at.experiment("apply", path, *WHY, "--json").json
    assert (applied["revision"], applied["lease_s"], len(applied["differences"])) == (2, 30, 2)
    again = at.experiment("apply", path)
    assert (again.code, again.out) == (0, f"{KEY}: nothing changes, revision 2 stays in force\n")


def test_another_operator_was_quicker(at: Fleet, control: Instance, tmp_path: Path, monkeypatch: Any) -> None:
    """Between what is shown and what is applied, somebody else changes the experiment."""
    monkeypatch.setattr("ra_guard.cli.experiment.print_changes", lambda _: control.plane.kill(KEY, ME))
    ran = at.experiment("apply", definition(tmp_path, ("lease_s = 60", "lease_s = 30")), *WHY)
    assert ran.code == 1
    assert "found revision 2 in force, wanted revision 1; read the experiment again and decide anew" in ran.error
    assert "ABORTED" in ran.error
    assert control.plane.current(KEY).lease_s == 60


def test_the_template_makes_an_experiment_of_another_key(at: Fleet, tmp_path: Path) -> None:
    (tmp_path / "second.toml").write_text(at.run("experiment", "template", "--key", "second").out)
    created = at.experiment("apply", str(tmp_path / "second.toml"), *WHY)
    assert created.code == 0
    assert created.out.startswith("second: new experiment, ")
    assert at.experiment("list").out == f"{KEY}: live, ramp 0 %, revision 1\nsecond: live, ramp 0 %, revision 1\n"
    assert [each["key"] for each in at.experiment("list", "--json").json["experiments"]] == [KEY, "second"]
    at.experiment("kill", "second", *WHY)
    assert [engine.plan_revision() for engine in at.engines] == [1, 1], "these replicas are of the first"


def test_status_for_people(at: Fleet) -> None:
    at.experiment("approve", KEY, "1%", "--why", "[bold]go[/bold]", "--who", "ana")
    at.change("ramp", "1%")
    ran = at.experiment("status", KEY)
    assert ran.code == 0
    for shown in (
        KEY,
        "live, ramp 1 %",
        "w0",
        "w1",
        "in force",
        "given",
        "<- here",
        "[bold]go[/bold]",
        "ana",
        "term 1",
    ):
        assert shown in ran.out


def test_assign_through_the_control_plane(at: Fleet) -> None:
    at.change("approve", "1%")
    at.change("ramp", "50%", "--skip-stages")
    found = at.experiment("assign", KEY, "--unit", "u", "--json").json
    assert found["bucket"] == _core.bucket(KEY, "u") / 10_000
    assert found["arm"] == found["served_arm"]
    at.change("kill")
    assert at.experiment("assign", KEY, "--unit", "u", "--json").json["reason"] == "killed"


# Without a control plane


@pytest.mark.parametrize(("seed", "unit", "version", "bucket"), json.loads(VECTORS.read_text())["cases"])
def test_assign_offline_gives_the_published_buckets(
    run: Run, seed: str, unit: str, version: int, bucket: float
) -> None:
    assert version == 2
    ran = run("experiment", "assign", seed, "--salt", "", "--unit", unit, "--json")
    assert (ran.code, ran.error) == (0, "")
    assert ran.json["bucket"] == bucket


def test_assign_offline_salts_the_seed_and_shows_ranges(run: Run) -> None:
    ran = run("experiment", "assign", "k", "--salt", "s", "--unit", "u", "--ramp", "10%", "--json")
    assert ran.json["bucket"] == _core.bucket("k:s", "u") / 10_000
    assert (ran.json["treatment"], ran.json["control"]) == ([0.0, 0.1], [0.5, 0.6])
    assert ran.json["arm"] in {"treatment", "control", "not_enrolled"}


def test_offline_is_for_the_hour_when_no_control_plane_lives(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    enrol_everyone(state, lease_s=1)
    monkeypatch.setenv("RA_GUARD_CONTROL__WRITER_LEASE_S", "1")
    store = ControlStore.open(store_url(state))
    living = store.acquire("a control plane that lives", 600)
    assert living is not None
    ran = run("experiment", "kill", KEY, *WHY, "--offline")
    assert (ran.code, ran.out) == (1, "")
    assert "a control plane that lives as the writer" in ran.error
    assert run("experiment", "status", KEY, "--offline").code == 1
    store.remember(KEY, "w0", 3, lease=living)
    store.release(living)
    killed = run("experiment", "kill", KEY, *WHY, "--offline", "--json")
    assert (killed.code, killed.error) == (0, "")
    assert (killed.json["killed"], killed.json["expired"], killed.json["acked"]) == (True, ["w0"], [])
    assert run("experiment", "status", KEY, "--offline", "--json").json["killed"]
    assert store.writer() is None, "it was given back"
    store.close()


NOBODY = ("--control", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("experiment", "ramp", KEY, "51", *WHY, *NOBODY), 2),
        (("experiment", "ramp", KEY, "0.001", *WHY, *NOBODY), 2),
        (("experiment", "ramp", KEY, "lots", *WHY, *NOBODY), 2),
        (("experiment", "ramp", KEY, "nan", *WHY, *NOBODY), 2),
        (("experiment", "ramp", KEY, "1e999999", *WHY, *NOBODY), 2),
        (("experiment", "ramp", KEY, "5", *NOBODY), 2),
        (("experiment", "kill", KEY, *NOBODY), 2),
        (("experiment", "kill", *WHY, *NOBODY), 2),
        (("experiment", "kill", KEY, "--why", "\udcff", *NOBODY), 2),
        (("experiment", "kill", KEY, *WHY, *NOBODY), 1),
        (("experiment", "status", KEY, *NOBODY), 1),
        (("experiment", "list", *NOBODY), 1),
        (("experiment", "status", KEY, "--colour"), 2),
        (("experiment", "apply", "missing.toml", *WHY, *NOBODY), 1),
        (("experiment", "apply", str(VECTORS.parent / "record-v1.bin"), *WHY, *NOBODY), 2),
        (("experiment", "assign", KEY, "--unit", "u", "--ramp", "5", *NOBODY), 2),
        (("experiment", "assign", "a/b", "--salt", "", "--unit", "u"), 2),
        (("experiment", "assign", "k", "--salt", "", "--unit", ""), 2),
        (("explode",), 2),
        (("experiment", "explode"), 2),
        (("rerank",), 2),
        (("rerank", "q", "a", "--pool-size", "3", "--server", "127.0.0.1:1"), 2),
        (("rerank", "q", "a", "-", "--server", "127.0.0.1:1"), 2),
        (("rerank", "q", "a", "--colour", "--server", "127.0.0.1:1"), 2),
        (("rerank", "q", "--ids-from", "missing.txt", "--server", "127.0.0.1:1"), 1),
        (("rerank", "q", "a", "--server", "127.0.0.1:1"), 1),
    ],
)
def test_failures_are_one_line_and_an_exit_code(run: Run, arguments: tuple[str, ...], code: int) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.error.startswith("error: ")
    assert ran.error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("resume", KEY, *WHY), 1),
        (("status", "nobody"), 2),
        (("status", "../x"), 2),
        (("ramp", KEY, "1", "--why", "w" * 600), 2),
        (("kill", KEY, "--why", ""), 2),
        (("kill", KEY, *WHY, "--who", " "), 2),
    ],
)
def test_a_refusal_of_the_control_plane_is_an_exit_code_too(
    control: Instance, run: Run, arguments: tuple[str, ...], code: int
) -> None:
    with served(control) as server:
        ran = run("experiment", *arguments, "--control", server.address)
    assert (ran.code, ran.out) == (code, "")
    assert "wanted" in ran.error
