"""Plans and leases at the boundary to the core, on the real clock."""

import time

import pytest
from ra_guard import _core
from ra_guard.v1 import plan_pb2, rerank_pb2

HOUR_NS = 3600 * 10**9


def sealed(revision: int, *, mode: plan_pb2.Mode = plan_pb2.MODE_AB) -> bytes:
    plan = plan_pb2.Plan(
        revision=revision, experiment_key="test", lease_s=60, mode=mode, default_weights=rerank_pb2.Weights(cosine=1)
    )
    return _core.seal_plan(plan.SerializeToString())


@pytest.fixture
def engine() -> _core.Engine:
    return _core.Engine(query_cache_entries=1)


def age_s(engine: _core.Engine) -> float:
    age = engine.plan_age_s()
    assert age is not None
    return age


def test_a_lease_runs_from_the_contact(engine: _core.Engine) -> None:
    asked_ns = time.monotonic_ns() - 5 * 10**9
    assert engine.publish_plan(sealed(1), asked_ns) == 1
    assert age_s(engine) >= 5
    assert engine.renew_lease(1)
    assert age_s(engine) < 5


def test_a_contact_in_the_future_counts_as_now(engine: _core.Engine) -> None:
    engine.publish_plan(sealed(1), time.monotonic_ns() + HOUR_NS)
    engine.revoke_lease()
    assert engine.renew_lease(1), "a later revocation is not outrun, and a later contact counts"


def test_only_the_revision_in_force_is_renewed(engine: _core.Engine) -> None:
    assert not engine.renew_lease(0)
    engine.publish_plan(sealed(2))
    assert not engine.renew_lease(1)
    assert not engine.renew_lease(3)


def test_a_restored_plan_waits_for_a_contact(engine: _core.Engine) -> None:
    assert engine.restore_plan(sealed(7)) == 7
    assert engine.plan_revision() == 7
    assert engine.plan_age_s() is None
    with pytest.raises(_core.PlanError) as refused:
        engine.restore_plan(sealed(6))
    assert refused.value.variant == "Stale"
    assert engine.renew_lease(7)
    assert engine.plan_age_s() is not None


def test_answers_on_their_way_survive_no_revocation(engine: _core.Engine) -> None:
    engine.publish_plan(sealed(1))
    asked_ns = time.monotonic_ns()
    engine.revoke_lease()
    assert engine.plan_age_s() is None
    assert not engine.renew_lease(1, asked_ns)
    assert engine.publish_plan(sealed(2), asked_ns) == 2
    assert engine.plan_age_s() is None
    assert engine.renew_lease(2)


def test_modes_beyond_those_known_are_refused() -> None:
    unknown = plan_pb2.Plan(revision=1, experiment_key="test", lease_s=60, default_weights=rerank_pb2.Weights())
    mode_5 = bytes([10 << 3, 5])
    with pytest.raises(_core.PlanError) as refused:
        _core.seal_plan(unknown.SerializeToString() + mode_5)
    assert refused.value.variant == "Mode"
