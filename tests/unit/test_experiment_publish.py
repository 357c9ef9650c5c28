"""What replicas are told of an experiment: a plan that the core accepts, or nothing."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard import _core
from ra_guard.experiments import model
from ra_guard.experiments.errors import PlanRefused
from ra_guard.experiments.publish import plan_of, seal
from ra_guard.v1 import plan_pb2

from tests.stand_ins.definitions import definition

START = datetime(2026, 1, 2, tzinfo=UTC)
FIRST = model.first(definition(), START)


def test_a_plan_says_what_the_definition_says() -> None:
    plan = plan_of(FIRST)
    assert (plan.experiment_key, plan.salt, plan.ramp_bp, plan.killed) == ("ra_guard_enhancement", "", 0, False)
    assert (plan.lease_s, plan.epoch, plan.feedback_window_s, plan.retention_days) == (60, 1, 86_400, 90)
    assert plan.mode == plan_pb2.MODE_AB
    weights = FIRST.definition.weights
    assert plan.default_weights.cosine == pytest.approx(weights.default.cosine)
    assert [each.domain for each in plan.domain_weights] == sorted(weights.domain)


@pytest.mark.parametrize(
    ("mode", "sent"),
    [
        ("shadow", plan_pb2.MODE_SHADOW),
        ("interleaving", plan_pb2.MODE_INTERLEAVING),
        ("rollout", plan_pb2.MODE_ROLLOUT),
    ],
)
def test_every_mode_is_sent(mode: str, sent: int) -> None:
    assert plan_of(model.first(definition(('mode = "ab"', f'mode = "{mode}"')), START)).mode == sent


@given(
    revision=st.integers(1, 2**53),
    epoch=st.integers(1, 1000),
    ramp_bp=st.integers(0, 5000),
    killed=st.booleans(),
    salt=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=16),
)
def test_what_is_sealed_is_what_the_core_reads(
    *, revision: int, epoch: int, ramp_bp: int, killed: bool, salt: str
) -> None:
    experiment = replace(FIRST, revision=revision, epoch=epoch, ramp_bp=ramp_bp, killed=killed, salt=salt)
    sealed = seal(experiment)
    assert plan_pb2.Plan.FromString(_core.check_plan(sealed)) == plan_of(experiment)
    assert seal(experiment) == sealed, "the same plan is the same bytes"


@pytest.mark.parametrize("wrong", [{"revision": 0}, {"ramp_bp": 5001}, {"salt": "s" * 65}])
def test_the_core_has_the_last_word(wrong: dict[str, object]) -> None:
    with pytest.raises(PlanRefused) as refused:
        seal(replace(FIRST, **wrong))  # type: ignore[arg-type]
    assert "core" in refused.value.found
