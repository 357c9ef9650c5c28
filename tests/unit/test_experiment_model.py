"""Transitions of an experiment: pure, typed in what they refuse, idempotent where a repetition is harmless."""

import math

import pytest
from ra_guard.experiments import model
from ra_guard.experiments.model import Arm, Author, Experiment, Replica, Weights

WEIGHTS = Weights(cosine=1.0, consistency=0.3, contradiction=0.5, prior=0.1)


def live(**changed: object) -> Experiment:
    return Experiment(**{"key": "k", "default_weights": WEIGHTS, **changed})  # type: ignore[arg-type]


def test_ramp_sets_the_share_and_nothing_else() -> None:
    before = live()
    after = before.ramp(500)
    assert (after.revision, after.ramp_bp) == (2, 500)
    assert (after.epoch, after.salt, after.killed) == (before.epoch, before.salt, before.killed)


def test_a_repeated_ramp_changes_nothing() -> None:
    ramped = live().ramp(500)
    assert ramped.ramp(500) is ramped


@pytest.mark.parametrize("ramp_bp", [-1, 5001, 10_000])
def test_ramp_out_of_range(ramp_bp: int) -> None:
    with pytest.raises(model.RampOutOfRange) as refused:
        live().ramp(ramp_bp)
    assert refused.value.variant == "RampOutOfRange"
    assert refused.value.found
    assert refused.value.wanted
    assert refused.value.cure


def test_kill_is_idempotent_and_keeps_what_was_running() -> None:
    killed = live().ramp(500).kill()
    assert (killed.killed, killed.ramp_bp, killed.salt, killed.revision) == (True, 500, "", 3)
    assert killed.kill() is killed


def test_ramp_of_a_killed_experiment() -> None:
    with pytest.raises(model.AlreadyKilled):
        live().kill().ramp(100)


def test_resume_starts_a_new_epoch_at_zero() -> None:
    resumed = live().ramp(500).kill().resume()
    assert (resumed.epoch, resumed.salt, resumed.ramp_bp, resumed.killed) == (2, "epoch-2", 0, False)
    again = resumed.kill().resume()
    assert (again.epoch, again.salt) == (3, "epoch-3")


def test_resume_of_a_live_experiment() -> None:
    with pytest.raises(model.AlreadyLive):
        live().resume()


def test_a_first_epoch_may_not_take_the_salt_of_a_later_one() -> None:
    with pytest.raises(model.BadDefinition):
        live(salt="epoch-2")


@pytest.mark.parametrize("key", ["", "a/b", "..", ".", "a b", "ключ", "k" * 65, "k\n"])
def test_bad_key(key: str) -> None:
    with pytest.raises(model.BadKey):
        live(key=key)


@pytest.mark.parametrize("lease_s", [0, -1, 3601])
def test_lease_out_of_bounds(lease_s: int) -> None:
    with pytest.raises(model.BadDefinition):
        live(lease_s=lease_s)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -0.1])
def test_weight_that_cannot_order(weight: float) -> None:
    with pytest.raises(model.BadDefinition):
        Weights(cosine=weight, consistency=0.0, contradiction=0.0, prior=0.0)


def test_space_that_is_no_fingerprint() -> None:
    with pytest.raises(model.BadDefinition):
        live(spaces=("demo",))


@pytest.mark.parametrize(("who", "why", "missing"), [("", "y", "WhoMissing"), ("  ", "y", "WhoMissing")])
def test_who_missing(who: str, why: str, missing: str) -> None:
    with pytest.raises(model.WhoMissing) as refused:
        Author(who, why)
    assert refused.value.variant == missing


@pytest.mark.parametrize("why", ["", "\n", "w" * 513])
def test_why_missing(why: str) -> None:
    with pytest.raises(model.WhyMissing):
        Author("me", why)


def test_author_bounds_are_bytes() -> None:
    assert Author("é" * 64, "w" * 512)
    with pytest.raises(model.WhoMissing):
        Author("é" * 65, "w")


def test_what_the_history_says() -> None:
    first = live()
    ramped = first.ramp(25)
    killed = ramped.kill()
    assert model.describe(None, first) == "create at ramp 0 %"
    assert model.describe(first, ramped) == "ramp 0 % to 0.25 %"
    assert model.describe(ramped, killed) == "kill"
    assert model.describe(killed, killed.resume()) == "resume as epoch 2, salt epoch-2, ramp 0 %"


@pytest.mark.parametrize(
    ("bucket", "ramp_bp", "arm"),
    [
        (0, 0, Arm.NOT_ENROLLED),
        (0, 1, Arm.TREATMENT),
        (99, 100, Arm.TREATMENT),
        (100, 100, Arm.NOT_ENROLLED),
        (4999, 5000, Arm.TREATMENT),
        (5000, 100, Arm.CONTROL),
        (5099, 100, Arm.CONTROL),
        (5100, 100, Arm.NOT_ENROLLED),
        (9999, 5000, Arm.CONTROL),
    ],
)
def test_ranges_of_the_arms(bucket: int, ramp_bp: int, arm: Arm) -> None:
    assert model.arm_of(bucket, ramp_bp) is arm


def test_seed_with_and_without_salt() -> None:
    assert model.hash_seed("k", "") == "k"
    assert model.hash_seed("k", "epoch-2") == "k:epoch-2"


def test_rollout_is_done_when_nobody_live_is_behind() -> None:
    seen = [Replica("a", 3, 0.1), Replica("b", 2, 60.9), Replica("c", 2, 61.0), Replica("d", 4, 0.0)]
    spread = model.rollout(seen, revision=3, lease_s=60)
    assert (spread.acked, spread.waiting, spread.expired) == (("a", "d"), ("b",), ("c",))
    assert not spread.done
    assert model.rollout(seen[2:], revision=3, lease_s=60).done
    assert model.rollout([], revision=3, lease_s=60).done
