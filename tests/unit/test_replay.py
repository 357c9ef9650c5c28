"""Replay at the boundary to the core: what a real engine logged, computed again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ra_guard import _core
from ra_guard.v1 import plan_pb2, rerank_pb2

from tests.stand_ins.serving_process import publish_gallery, request

CALLS = 20


def sealed(mode: plan_pb2.Mode, revision: int = 1) -> bytes:
    weights = rerank_pb2.Weights(cosine=1, consistency=0.5, contradiction=0.5, prior=0.25)
    plan = plan_pb2.Plan(
        revision=revision, experiment_key="test", ramp_bp=5000, lease_s=60, mode=mode, default_weights=weights
    )
    return _core.seal_plan(plan.SerializeToString())


Logged = Callable[[plan_pb2.Mode], list[bytes]]


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    publish_gallery(tmp_path, objects=2)

    def call(mode: plan_pb2.Mode) -> list[bytes]:
        logs = tmp_path / f"logs-{mode}"
        engine = _core.Engine(query_cache_entries=1, log_dir=str(logs))
        engine.publish_generation(_core.Generation.open(str(tmp_path / "gallery")))
        engine.publish_plan(sealed(mode))
        for user in range(CALLS):
            engine.rerank(request(user=f"user-{user}"))
        engine.flush_log()
        return [record for segment in sorted(logs.glob("*.open")) for record in _core.read_log(str(segment))]

    return call


@pytest.mark.parametrize("mode", plan_pb2.Mode.values()[1:])
def test_what_an_engine_logs_replays_by_any_kernel(logged: Logged, tmp_path: Path, mode: plan_pb2.Mode) -> None:
    records = logged(mode)
    assert len(records) == CALLS
    for kernel in _core.KERNELS:
        replay = _core.Replay(str(tmp_path / "gallery"), kernel=kernel)
        replay.add_plan(sealed(mode))
        assert [replay.check(record) for record in records] == [None] * CALLS


def test_modes_are_described(logged: Logged) -> None:
    shadow = _core.describe_record(logged(plan_pb2.MODE_SHADOW)[0])
    assert (shadow["mode"], shadow["reason"]) == (plan_pb2.MODE_SHADOW, rerank_pb2.REASON_SHADOW)
    assert shadow["teams"] is None
    assert shadow["ranking"] == list(range(50))
    assert sorted(shadow["treatment_ranking"]) == shadow["ranking"]  # type: ignore[call-overload]
    drafted = _core.describe_record(logged(plan_pb2.MODE_INTERLEAVING)[0])
    assert drafted["served_arm"] == rerank_pb2.ARM_INTERLEAVED
    teams = drafted["teams"]
    assert isinstance(teams, bytes)
    assert (teams.count(rerank_pb2.ARM_CONTROL), teams.count(rerank_pb2.ARM_TREATMENT)) == (25, 25)


def test_a_difference_is_said_in_words(logged: Logged, tmp_path: Path) -> None:
    record = logged(plan_pb2.MODE_SHADOW)[0]
    replay = _core.Replay(str(tmp_path / "gallery"))
    replay.add_plan(sealed(plan_pb2.MODE_SHADOW))
    last = record[:-1] + bytes([record[-1] ^ 1])
    with pytest.raises(_core.LogError):
        replay.check(last)
    other = record[:-2] + bytes([record[-2] ^ 1, record[-1]])
    difference = replay.check(other)
    assert difference is not None
    assert difference.startswith("treatment ranking, place 49: found ")


def test_what_is_missing_is_an_error_of_its_own(logged: Logged, tmp_path: Path) -> None:
    record = logged(plan_pb2.MODE_AB)[0]
    replay = _core.Replay(str(tmp_path / "gallery"))
    with pytest.raises(_core.PlanError) as unknown:
        replay.check(record)
    assert unknown.value.variant == "UnknownPlan"
    replay.add_plan(sealed(plan_pb2.MODE_AB))
    assert replay.check(record) is None
    with pytest.raises(_core.PlanError) as conflict:
        replay.add_plan(sealed(plan_pb2.MODE_SHADOW))
    assert conflict.value.variant == "Conflict"
    elsewhere = _core.Replay(str(tmp_path / "elsewhere"))
    elsewhere.add_plan(sealed(plan_pb2.MODE_AB))
    with pytest.raises(_core.ShardError):
        elsewhere.check(record)
