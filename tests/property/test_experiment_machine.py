"""Any order of changes: what must hold of an experiment whoever does what when, however much of it is refused."""

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ra_guard import _core
from ra_guard.experiments import model
from ra_guard.experiments.allocation import Arm, arm_of, hash_seed
from ra_guard.experiments.definition import parse_definition
from ra_guard.experiments.errors import NotAllowedNow, RampOutOfRange
from ra_guard.experiments.model import Experiment, Pace
from ra_guard.experiments.publish import plan_of, seal
from ra_guard.v1 import plan_pb2

from tests.stand_ins.definitions import changed

TEXTS = [
    changed(),
    changed(("lease_s = 60", "lease_s = 30")),
    changed(("cosine = 1.0", "cosine = 0.5")),
    changed(("percent = 10\n", "percent = 12\n")),
    changed(("percent = 1\n", "percent = 2\n")),
    changed(('salt = ""', 'salt = "spring"')),
    changed(('mode = "ab"', 'mode = "shadow"')),
    changed(('approval = "none"', 'approval = "required"')),
]
DEFINITIONS = {text: parse_definition(text) for text in TEXTS}
UNITS = [f"user-{number}" for number in range(200)]
RAMPS = st.sampled_from([0, 100, 500, 1000, 5000, -1, 1, 200, 1200, 2500, 5001])


def assignment(experiment: Experiment) -> dict[str, Arm]:
    """The arm of each enrolled unit."""
    seed = hash_seed(experiment.key, experiment.salt)
    arms = {unit: arm_of(_core.bucket(seed, unit), experiment.ramp_bp) for unit in UNITS}
    return {unit: arm for unit, arm in arms.items() if arm is not Arm.NOT_ENROLLED}


class Changes(RuleBasedStateMachine):
    """One experiment, changed at random."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.experiment = model.first(DEFINITIONS[TEXTS[0]], self.now)
        self.seen: dict[str, Arm] = {}
        """The arm in which each unit was first enrolled in this epoch."""
        self.treatment: plan_pb2.Plan | None = None
        """The plan with which the first unit of this epoch was treated."""

    def become(self, after: Experiment) -> None:
        before = self.experiment
        self.now += timedelta(hours=1)
        if after is before:
            return
        assert after.revision == before.revision + 1
        assert after.epoch in {before.epoch, before.epoch + 1}
        assert model.describe(before, after)
        assert model.numbers_of(before, after, self.now)["held_s"] >= 0
        if after.epoch != before.epoch:
            assert before.killed
            assert (after.salt, after.ramp_bp, after.killed, after.approved_bp) == (
                f"epoch-{after.epoch}",
                0,
                False,
                frozenset(),
            )
            self.seen, self.treatment = {}, None
        self.experiment = after
        assert model.experiment_from(after.definition.text, model.state_of(after)) == after

    @rule(ramp_bp=RAMPS, pace=st.sampled_from(Pace))
    def ramp(self, ramp_bp: int, pace: Pace) -> None:
        before = self.experiment
        try:
            after = before.ramp(ramp_bp, pace, self.now)
        except (NotAllowedNow, RampOutOfRange):
            return
        assert after.ramp_bp == ramp_bp
        climbed = [stage for stage in after.definition.stages if before.ramp_bp < stage.ramp_bp <= ramp_bp]
        assert pace is Pace.SKIPPING_STAGES or len(climbed) <= 1
        assert all(stage.approval == "none" or stage.ramp_bp in after.approved_bp for stage in climbed)
        self.become(after)

    @precondition(lambda self: not self.experiment.killed)
    @rule()
    def climb(self) -> None:
        """As a person does it: approve what asks for it, then the next stage. Most of what matters happens above 0."""
        climbed = (stage for stage in self.experiment.definition.stages if stage.ramp_bp > self.experiment.ramp_bp)
        stage = next(climbed, None)
        if stage is None:
            return
        if stage.approval == "required":
            self.become(self.experiment.approve(stage.ramp_bp))
        self.become(self.experiment.ramp(stage.ramp_bp, Pace.BY_STAGE, self.now))

    @precondition(lambda self: self.experiment.ramp_bp > 0 and not self.experiment.killed)
    @rule()
    def empty(self) -> None:
        self.become(self.experiment.ramp(0, Pace.BY_STAGE, self.now))

    @rule(ramp_bp=RAMPS)
    def approve(self, ramp_bp: int) -> None:
        try:
            after = self.experiment.approve(ramp_bp)
        except NotAllowedNow:
            return
        assert after.approve(ramp_bp) is after
        assert after.ramp_bp == self.experiment.ramp_bp
        self.become(after)

    @rule(text=st.sampled_from(TEXTS))
    def apply(self, text: str) -> None:
        try:
            after = self.experiment.apply(DEFINITIONS[text])
        except NotAllowedNow:
            return
        assert (after.ramp_bp, after.epoch, after.killed) == (
            self.experiment.ramp_bp,
            self.experiment.epoch,
            self.experiment.killed,
        )
        self.become(after)

    @precondition(lambda self: self.experiment.ramp_bp > 0)
    @rule()
    def kill(self) -> None:
        after = self.experiment.kill()
        assert after.ramp_bp == self.experiment.ramp_bp
        self.become(after)

    @precondition(lambda self: self.experiment.ramp_bp > 0)
    @rule()
    def roll_back(self) -> None:
        self.become(self.experiment.roll_back(self.now))
        assert self.experiment.rolled_back

    @precondition(lambda self: self.experiment.killed)
    @rule()
    def resume(self) -> None:
        self.become(self.experiment.resume(self.now))

    @invariant()
    def the_ramp_stands_on_a_stage(self) -> None:
        assert self.experiment.ramp_bp in {0, *(stage.ramp_bp for stage in self.experiment.definition.stages)}
        assert self.experiment.ramp_bp <= self.experiment.widest_bp

    @invariant()
    def a_closed_epoch_treats_nobody(self) -> None:
        if self.experiment.rolled_back:
            assert self.experiment.killed
            assert self.experiment.ramp_bp == 0

    @invariant()
    def nobody_changes_arms_within_an_epoch(self) -> None:
        for unit, arm in assignment(self.experiment).items():
            assert self.seen.setdefault(unit, arm) is arm

    @invariant()
    def an_epoch_has_one_treatment(self) -> None:
        """Of live plans with users in them: salt, mode, weights and spaces are the same throughout the epoch."""
        plan = plan_of(self.experiment)
        if plan.killed or plan.ramp_bp == 0:
            return
        plan.ClearField("revision")
        plan.ClearField("ramp_bp")
        plan.ClearField("lease_s")
        if self.treatment is None:
            self.treatment = plan
        assert plan == self.treatment

    @invariant()
    def the_core_accepts_the_plan(self) -> None:
        plan = plan_pb2.Plan.FromString(_core.check_plan(seal(self.experiment)))
        assert (plan.revision, plan.epoch, plan.killed) == (
            self.experiment.revision,
            self.experiment.epoch,
            self.experiment.killed,
        )


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
