"""Transitions of an experiment: pure, typed in what they refuse, idempotent where a repetition is harmless."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from ra_guard.experiments import allocation, errors, model
from ra_guard.experiments.allocation import Arm
from ra_guard.experiments.definition import parse_definition, template
from ra_guard.experiments.model import Author, Experiment, Pace

from tests.stand_ins.definitions import changed, definition

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = START + timedelta(hours=24)


def new() -> Experiment:
    return model.first(definition(), START)


def at_first_stage() -> Experiment:
    return new().approve(100).ramp(100, Pace.BY_STAGE, START)


def test_a_new_experiment_treats_nobody() -> None:
    experiment = new()
    assert (experiment.revision, experiment.epoch, experiment.ramp_bp, experiment.salt) == (1, 1, 0, "")
    assert not experiment.killed


def test_ramp_sets_the_share_and_nothing_else() -> None:
    before = at_first_stage()
    after = before.ramp(500, Pace.BY_STAGE, LATER)
    assert (after.revision, after.ramp_bp, after.widest_bp, after.stage_since) == (4, 500, 500, LATER)
    assert (after.epoch, after.salt, after.killed, after.definition) == (
        before.epoch,
        before.salt,
        before.killed,
        before.definition,
    )


def test_a_repeated_ramp_changes_nothing() -> None:
    ramped = at_first_stage()
    assert ramped.ramp(100, Pace.BY_STAGE, LATER) is ramped


@pytest.mark.parametrize("ramp_bp", [-1, 5001, 10_000])
def test_ramp_out_of_range(ramp_bp: int) -> None:
    with pytest.raises(errors.RampOutOfRange) as refused:
        new().ramp(ramp_bp, Pace.BY_STAGE, START)
    assert refused.value.variant == "RampOutOfRange"
    assert refused.value.found
    assert refused.value.wanted
    assert refused.value.cure


def test_ramp_to_what_is_no_stage() -> None:
    with pytest.raises(errors.NotAStage) as refused:
        at_first_stage().ramp(200, Pace.SKIPPING_STAGES, START)
    assert "1 %, 5 %, 10 %, 25 %, 50 %" in refused.value.wanted


def test_ramp_over_a_stage_names_the_next_one() -> None:
    with pytest.raises(errors.StageSkipped) as refused:
        at_first_stage().ramp(1000, Pace.BY_STAGE, LATER)
    assert "5 %" in refused.value.wanted
    assert at_first_stage().ramp(1000, Pace.SKIPPING_STAGES, LATER).ramp_bp == 1000


def test_ramp_down_needs_neither_order_nor_approval() -> None:
    high = new().approve(100).ramp(5000, Pace.SKIPPING_STAGES, START)
    low = high.ramp(500, Pace.BY_STAGE, LATER)
    assert (low.ramp_bp, low.widest_bp) == (500, 5000)
    assert low.ramp(0, Pace.BY_STAGE, LATER).ramp_bp == 0


def test_a_stage_that_nobody_approved() -> None:
    with pytest.raises(errors.ApprovalMissing) as refused:
        new().ramp(100, Pace.BY_STAGE, START)
    assert "approve ra_guard_enhancement 1%" in refused.value.cure


def test_skipping_is_no_way_around_an_approval() -> None:
    with pytest.raises(errors.ApprovalMissing):
        new().ramp(5000, Pace.SKIPPING_STAGES, START)


def test_approval_is_idempotent_and_ends_with_its_epoch() -> None:
    approved = new().approve(100)
    assert approved.approve(100) is approved
    resumed = approved.kill().resume(LATER)
    with pytest.raises(errors.ApprovalMissing):
        resumed.ramp(100, Pace.BY_STAGE, LATER)


def test_approval_that_nobody_asked_for() -> None:
    with pytest.raises(errors.ApprovalNotNeeded):
        new().approve(500)
    with pytest.raises(errors.NotAStage):
        new().approve(200)


def test_kill_is_idempotent_and_keeps_what_was_running() -> None:
    killed = at_first_stage().kill()
    assert (killed.killed, killed.ramp_bp, killed.salt, killed.revision) == (True, 100, "", 4)
    assert killed.kill() is killed


def test_nothing_of_a_killed_experiment_moves() -> None:
    killed = at_first_stage().kill()
    with pytest.raises(errors.AlreadyKilled):
        killed.ramp(0, Pace.BY_STAGE, LATER)
    with pytest.raises(errors.AlreadyKilled):
        killed.approve(100)


def test_resume_starts_a_new_epoch_at_zero() -> None:
    resumed = at_first_stage().kill().resume(LATER)
    assert (resumed.epoch, resumed.salt, resumed.ramp_bp, resumed.widest_bp) == (2, "epoch-2", 0, 0)
    assert (resumed.killed, resumed.approved_bp, resumed.stage_since) == (False, frozenset(), LATER)
    again = resumed.kill().resume(LATER)
    assert (again.epoch, again.salt) == (3, "epoch-3")


def test_resume_of_a_live_experiment() -> None:
    with pytest.raises(errors.AlreadyLive):
        new().resume(LATER)


def test_roll_back_closes_the_epoch() -> None:
    closed = at_first_stage().roll_back(LATER)
    assert (closed.killed, closed.rolled_back, closed.ramp_bp, closed.epoch) == (True, True, 0, 1)
    assert closed.roll_back(LATER) is closed
    assert closed.kill() is closed
    with pytest.raises(errors.RolledBack):
        closed.ramp(0, Pace.BY_STAGE, LATER)
    with pytest.raises(errors.RolledBack):
        closed.approve(100)
    resumed = closed.resume(LATER)
    assert (resumed.killed, resumed.rolled_back, resumed.epoch) == (False, False, 2)


def test_roll_back_of_a_killed_experiment_still_closes_the_epoch() -> None:
    assert at_first_stage().kill().roll_back(LATER).rolled_back


# Applying a definition


def test_what_says_the_same_changes_nothing() -> None:
    experiment = at_first_stage()
    assert experiment.apply(definition(("# Who is assigned", "# Who"))) is experiment


def test_what_touches_no_treatment_applies_at_any_time() -> None:
    applied = at_first_stage().apply(
        definition(("lease_s = 60", "lease_s = 30"), ("for_minutes = 15", "for_minutes = 5"))
    )
    assert (applied.lease_s, applied.ramp_bp, applied.epoch, applied.revision) == (30, 100, 1, 4)


TREATMENT = [
    ('mode = "ab"', 'mode = "shadow"'),
    ("spaces = []", f'spaces = ["{"0" * 32}"]'),
    ("cosine = 1.0", "cosine = 0.9"),
    ("feedback_window_s = 86_400", "feedback_window_s = 3600"),
    ("success_points = 2.97", "success_points = 2.0"),
    ("look_days = [3, 7, 10]", "look_days = [3, 7]"),
    ("sd_points = 35", "sd_points = 30"),
]


@pytest.mark.parametrize("change", TREATMENT)
def test_what_changes_treatment_or_analysis_waits_for_a_new_epoch(change: tuple[str, str]) -> None:
    other = definition(change)
    assert new().apply(other).definition == other
    with pytest.raises(errors.UsersEnrolled) as refused:
        at_first_stage().apply(other)
    assert "kill, apply, resume" in refused.value.cure
    applied = at_first_stage().kill().apply(other)
    assert applied.definition == other
    assert applied.resume(LATER).epoch == 2


@pytest.mark.parametrize("change", TREATMENT)
def test_users_of_an_epoch_stay_its_users_at_ramp_zero(change: tuple[str, str]) -> None:
    emptied = at_first_stage().ramp(0, Pace.BY_STAGE, LATER)
    with pytest.raises(errors.UsersEnrolled):
        emptied.apply(definition(change))


def test_the_key_never_changes() -> None:
    with pytest.raises(errors.KeyChanged):
        new().apply(parse_definition(template("other")))


def test_the_salt_is_free_until_users_were_drawn_with_it() -> None:
    salted = definition(('salt = ""', 'salt = "spring"'))
    assert new().apply(salted).salt == "spring"
    for drawn in (at_first_stage(), at_first_stage().kill(), new().kill().resume(LATER)):
        with pytest.raises(errors.SaltInUse):
            drawn.apply(salted)


def test_the_stage_in_force_stays() -> None:
    without = definition(("percent = 1\n", "percent = 2\n"))
    with pytest.raises(errors.StageInForce):
        at_first_stage().apply(without)
    assert at_first_stage().roll_back(LATER).apply(without).definition == without


def test_a_stage_that_changes_loses_its_approval() -> None:
    approved = new().approve(100)
    assert approved.apply(definition(("lease_s = 60", "lease_s = 30"))).approved_bp == {100}
    assert approved.apply(definition(("hold_hours = 24", "hold_hours = 1"))).approved_bp == frozenset()


# What is kept


def test_the_state_survives_the_store() -> None:
    text = changed(('salt = ""', 'salt = "spring"'))
    experiment = model.first(parse_definition(text), START)
    for step in (
        experiment,
        experiment.approve(100),
        experiment.approve(100).ramp(500, Pace.SKIPPING_STAGES, LATER),
        experiment.roll_back(LATER),
    ):
        assert model.experiment_from(text, model.state_of(step)) == step


@pytest.mark.parametrize(
    "damage",
    [
        {"revision": 0},
        {"revision": "3"},
        {"ramp_bp": 200},
        {"ramp_bp": 500},
        {"killed": 0},
        {"rolled_back": True},
        {"approved_bp": [200]},
        {"stage_since": "2026-01-02T03:04:05"},
        {"unheard_of": 1},
    ],
)
def test_a_state_that_no_transition_leads_to(damage: dict[str, object]) -> None:
    state = {**model.state_of(at_first_stage()), **damage}
    with pytest.raises(errors.StateCorrupt):
        model.experiment_from(template(), state)


def test_a_state_with_a_word_missing() -> None:
    state = model.state_of(at_first_stage())
    for word in state:
        with pytest.raises(errors.StateCorrupt):
            model.experiment_from(template(), {key: value for key, value in state.items() if key != word})


def test_what_the_ledger_says() -> None:
    created = new()
    approved = created.approve(100)
    ramped = approved.ramp(100, Pace.BY_STAGE, START)
    skipped = ramped.ramp(2500, Pace.SKIPPING_STAGES, LATER)
    killed = ramped.kill()
    applied = killed.apply(definition(("lease_s = 60", "lease_s = 30")))
    assert model.describe(None, created) == "create at ramp 0 %"
    assert model.describe(created, approved) == "approve 1 %"
    assert model.describe(approved, ramped) == "ramp 0 % to 1 %"
    assert model.describe(ramped, skipped) == "ramp 1 % to 25 %, skipping 5 %, 10 %"
    assert model.describe(ramped, killed) == "kill at ramp 1 %"
    assert model.describe(killed, applied) == "apply: lease_s: 60 -> 30"
    assert model.describe(ramped, ramped.roll_back(LATER)) == "roll back from ramp 1 %, close epoch 1"
    assert model.describe(killed, killed.resume(LATER)) == "resume as epoch 2, salt epoch-2, ramp 0 %"


def test_a_ledger_line_is_bounded() -> None:
    other = parse_definition(re.sub(r"item = .*", 'item = "x"', template()))
    line = model.describe(new(), new().apply(other))
    assert line.count(" -> ") == model.MAX_TOLD
    assert line.endswith("more")


def test_numbers_of_the_ledger() -> None:
    ramped = at_first_stage()
    assert model.numbers_of(None, new(), START) == {"epoch": 1, "ramp_percent": 0}
    after = ramped.ramp(500, Pace.BY_STAGE, LATER)
    numbers = model.numbers_of(ramped, after, LATER)
    assert numbers == {"epoch": 1, "ramp_percent": 5, "ramp_percent_before": 1, "held_s": 86_400}


@pytest.mark.parametrize("key", ["", "a/b", "..", ".", "a b", "ключ", "k" * 65, "k\n"])
def test_bad_key(key: str) -> None:
    with pytest.raises(errors.BadKey):
        model.require_key(key)
    with pytest.raises(errors.BadKey):
        parse_definition(template(key))


@pytest.mark.parametrize(("who", "why", "missing"), [("", "y", "WhoMissing"), ("  ", "y", "WhoMissing")])
def test_who_missing(who: str, why: str, missing: str) -> None:
    with pytest.raises(errors.WhoMissing) as refused:
        Author(who, why)
    assert refused.value.variant == missing


@pytest.mark.parametrize("why", ["", "\n", "w" * 513])
def test_why_missing(why: str) -> None:
    with pytest.raises(errors.WhyMissing):
        Author("me", why)


def test_author_bounds_are_bytes() -> None:
    assert Author("é" * 64, "w" * 512)
    with pytest.raises(errors.WhoMissing):
        Author("é" * 65, "w")


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
    assert allocation.arm_of(bucket, ramp_bp) is arm


def test_seed_with_and_without_salt() -> None:
    assert allocation.hash_seed("k", "") == "k"
    assert allocation.hash_seed("k", "epoch-2") == "k:epoch-2"
