"""The ramp: what ends an epoch at once, in every state, and what it waits for before it goes up."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations

import pytest
from ra_guard.experiments import model
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition.safety import Guardrail
from ra_guard.experiments.definition.vocabulary import Action
from ra_guard.experiments.model import MAX_WHY_BYTES, Author, Experiment, Pace
from ra_guard.experiments.monitor.outcomes import Advance, Assessment, Hold, Judged, RollBack, Tick, Verdict, Watched
from ra_guard.experiments.monitor.rollout import (
    Condition,
    must_roll_back,
    next_move,
    rollback_due,
)
from ra_guard.stats.srm import sample_ratio

from tests.stand_ins.assessments import TOO_FEW, firing, healthy, judged, quiet, untold
from tests.stand_ins.definitions import definition

START = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
PLAN = definition()
STAGES = [stage.ramp_bp for stage in PLAN.stages]
LATENCY, ERRORS, RATINGS = PLAN.metrics.guardrails


def at_stage(ramp_bp: int) -> Experiment:
    experiment = model.first(PLAN, START).approve(STAGES[0])
    return experiment.ramp(ramp_bp, Pace.SKIPPING_STAGES, START) if ramp_bp else experiment


STATES: dict[str, tuple[Experiment, bool]] = {
    "not started": (model.first(PLAN, START), False),
    **{f"at {ramp_bp} bp": (at_stage(ramp_bp), True) for ramp_bp in STAGES},
    **{f"killed at {ramp_bp} bp": (at_stage(ramp_bp).kill(), False) for ramp_bp in STAGES},
    "back at ramp 0": (at_stage(500).ramp(0, Pace.BY_STAGE, START), False),
    "rolled back": (at_stage(500).roll_back(START), False),
    "resumed": (at_stage(500).roll_back(START).resume(START), False),
    "resumed and ramped": (
        at_stage(500).kill().resume(START).approve(100).ramp(100, Pace.BY_STAGE, START),
        True,
    ),
}
"""Every state, and whether anybody is treated in it."""

Of = Callable[..., Watched]
TRIGGERS: dict[str, tuple[tuple[Of, ...], bool]] = {
    "none": ((quiet, quiet, quiet), False),
    "insufficient": ((untold, untold, untold), False),
    "insufficient beside quiet": ((untold, quiet, untold), False),
    "error rate": ((firing, quiet, quiet), True),
    "latency": ((quiet, firing, quiet), True),
    "nDCG": ((quiet, quiet, firing), True),
    "several": ((firing, quiet, firing), True),
    "one beside insufficient": ((untold, firing, untold), True),
    "all": ((firing, firing, firing), True),
}
"""Of the template's triggers, in their order, and whether one fires."""


def tick(of: tuple[Of, ...], *guardrails: Judged) -> Tick:
    return Tick(7, tuple(make(trigger) for make, trigger in zip(of, PLAN.triggers, strict=True)), guardrails, ())


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("fires", TRIGGERS)
def test_every_state_with_every_trigger(state: str, fires: str) -> None:
    experiment, treats = STATES[state]
    of, must = TRIGGERS[fires]
    found = must_roll_back(tick(of))
    assert (found is not None) == must
    assert rollback_due(experiment, tick(of)) == (found if treats else None)
    if found is not None and treats:
        named = [trigger.metric for make, trigger in zip(of, PLAN.triggers, strict=True) if make is firing]
        assert all(f"trigger {metric}: " in found.why for metric in named)
        assert {f"trigger_{metric}" for metric in named} <= found.numbers.keys()
        assert experiment.roll_back(START).rolled_back


def test_the_template_has_the_triggers_of_this_table() -> None:
    assert [trigger.metric for trigger in PLAN.triggers] == ["error_rate", "latency_p95", "ndcg_at_10"]
    assert {len(of) for of, _ in TRIGGERS.values()} == {len(PLAN.triggers)}


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("guardrail", PLAN.metrics.guardrails, ids=lambda guardrail: guardrail.metric)
def test_only_a_failed_guardrail_that_rolls_back_does(guardrail: Guardrail, verdict: Verdict) -> None:
    found = must_roll_back(tick((quiet, quiet, quiet), judged(guardrail, verdict)))
    must = verdict is Verdict.FAIL and guardrail.action is Action.ROLL_BACK
    assert (found is not None) == must


def test_the_why_reads_as_the_ledger_has_it() -> None:
    found = must_roll_back(tick((firing, quiet, quiet)))
    assert found is not None
    assert found.why == (
        "trigger error_rate: above 2 % in treatment for 15 min; now 3.10 % of 1,240 calls (control 0.40 % of 1,251)"
    )
    assert found.numbers["trigger_error_rate"] == pytest.approx(3.1)
    assert found.numbers["trigger_error_rate_control_calls"] == 1_251
    assert not found.has_shared_cause


def test_a_trigger_fires_over_a_minute_without_a_reading() -> None:
    """Coverage allows for it; what is known is told all the same, of each trigger by itself."""
    first = replace(firing(PLAN.triggers[0]), reading=untold(PLAN.triggers[0]).reading)
    found = must_roll_back(Tick(7, (first, firing(PLAN.triggers[0])), (), ()))
    assert found is not None
    assert found.why.startswith("trigger error_rate: above 2 % in treatment for 15 min; no value: ")
    assert "trigger_error_rate" not in found.numbers
    assert found.numbers["trigger_error_rate_2"] == pytest.approx(3.1)
    assert found.numbers["trigger_error_rate_bound"] == found.numbers["trigger_error_rate_2_bound"] == 2


def test_a_cause_is_shared_only_if_all_are() -> None:
    both = firing(PLAN.triggers[0], has_shared_cause=True)
    alone = must_roll_back(Tick(7, (both,), (), ()))
    assert alone is not None
    assert alone.has_shared_cause
    assert alone.why.endswith("both arms fail: shared cause")
    for more in (
        Tick(7, (both, firing(PLAN.triggers[1])), (), ()),
        Tick(7, (both,), (judged(ERRORS, Verdict.FAIL),), ()),
    ):
        found = must_roll_back(more)
        assert found is not None
        assert not found.has_shared_cause


def test_any_number_of_causes_fits_a_line_of_the_ledger() -> None:
    crowd = Tick(7, tuple(firing(PLAN.triggers[0], has_shared_cause=True) for _ in range(12)), (), ())
    found = must_roll_back(crowd)
    assert found is not None
    assert len(found.why.encode()) <= MAX_WHY_BYTES
    assert found.why.endswith(" more")
    assert {"trigger_error_rate", "trigger_error_rate_2", "trigger_error_rate_12"} <= found.numbers.keys()
    Author(who="ra-guard watch", why=found.why)
    Entry("key", 1, START, "ra-guard watch", found.why, "roll back", found.numbers)


# Going up


def case(broken: frozenset[Condition]) -> tuple[Experiment, Assessment, datetime]:
    """At 5 %, all is well for a ramp to 10 %, but for the conditions named."""
    plan = definition(('percent = 10\nhold_hours = 24\nmonitoring = "high"\napproval = "none"', TEN_ASKS))
    experiment = model.first(plan, START).approve(100).approve(1_000).ramp(500, Pace.SKIPPING_STAGES, START)
    at = START + timedelta(hours=23.9 if Condition.HELD in broken else 24)
    age = timedelta(minutes=62 if Condition.EVIDENCE in broken else 3)
    assessment = healthy(plan, as_of=int((at - age).timestamp()) // 60, ramp_bp=500)
    for condition, spoil in SPOILT.items():
        if condition in broken:
            assessment = spoil(assessment)
    if Condition.APPROVAL in broken:
        experiment = replace(experiment, approved_bp=frozenset({100}))
    return experiment.kill() if Condition.LIVE in broken else experiment, assessment, at


TEN_ASKS = 'percent = 10\nhold_hours = 24\nmonitoring = "high"\napproval = "required"'
SPOILT: Mapping[Condition, Callable[[Assessment], Assessment]] = {
    Condition.GATES: lambda was: replace(was, gates=(replace(was.gates[0], verdict=Verdict.INSUFFICIENT),)),
    Condition.GUARDRAILS: lambda was: replace(was, guardrails=(judged(LATENCY, Verdict.FAIL), *was.guardrails[1:])),
    Condition.TRIGGERS: lambda was: replace(
        was, tick=replace(was.tick, triggers=(replace(was.tick.triggers[0], crossed=True, minutes_crossed=1),))
    ),
    Condition.SAMPLE_RATIO: lambda was: replace(was, sample_ratio=sample_ratio((2_700, 2_300), (1, 1))),
    Condition.CROSSOVER: lambda was: replace(was, crossover_percent=0.11),
}
BREAKABLE = [Condition.LIVE, Condition.HELD, Condition.EVIDENCE, *SPOILT, Condition.APPROVAL]


def names(hold: Hold) -> set[str]:
    return {reason.split(":")[0] for reason in hold.reasons}


def test_each_condition_that_does_not_hold_is_named_and_no_other() -> None:
    subsets = chain.from_iterable(combinations(BREAKABLE, size) for size in range(1, len(BREAKABLE) + 1))
    for broken in map(frozenset, subsets):
        move = next_move(*case(broken))
        assert isinstance(move, Hold)
        assert names(move) == broken


def test_when_all_hold_the_ramp_goes_up_by_one_stage() -> None:
    experiment, assessment, at = case(frozenset())
    move = next_move(experiment, assessment, at)
    assert isinstance(move, Advance)
    assert experiment.ramp(move.ramp_bp, Pace.BY_STAGE, at).ramp_bp == 1_000
    assert "24.0 h at 5 %" in move.why
    assert "gate latency P95 below control + 100 ms" in move.why
    assert {"held_h", "gate_latency_p95", "sample_ratio_p", "crossover_percent"} <= move.numbers.keys()


@pytest.mark.parametrize("ramp_bp", [0, *STAGES])
def test_from_every_stage(ramp_bp: int) -> None:
    at = START + timedelta(days=2)
    move = next_move(at_stage(ramp_bp), healthy(PLAN, int(at.timestamp()) // 60 - 2, ramp_bp), at)
    if ramp_bp == 0:
        assert isinstance(move, Hold)
        assert names(move) == {Condition.RAMPED}
    elif ramp_bp == STAGES[-1]:
        assert isinstance(move, Hold)
        assert names(move) == {Condition.NEXT_STAGE}
    else:
        assert isinstance(move, Advance)
        assert move.ramp_bp == STAGES[STAGES.index(ramp_bp) + 1]


def test_a_ramp_on_no_stage_holds() -> None:
    experiment, assessment, at = case(frozenset())
    move = next_move(replace(experiment, ramp_bp=700), assessment, at)
    assert isinstance(move, Hold)
    assert names(move) == {Condition.GATES}


def changed(**values: object) -> tuple[Experiment, Assessment, datetime]:
    experiment, assessment, at = case(frozenset())
    return experiment, replace(assessment, **values), at  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "condition"),
    [
        ({"gates": ()}, Condition.GATES),
        ({"gates": healthy(PLAN, ramp_bp=1_000).gates}, Condition.GATES),
        ({"sample_ratio": TOO_FEW}, Condition.SAMPLE_RATIO),
        ({"crossover_percent": None}, Condition.CROSSOVER),
        ({"crossover_percent": float("nan")}, Condition.CROSSOVER),
        ({"guardrails": (judged(ERRORS, Verdict.FAIL),)}, Condition.GUARDRAILS),
        ({"guardrails": (judged(LATENCY, Verdict.ERROR),)}, Condition.GUARDRAILS),
    ],
)
def test_what_is_not_known_does_not_pass(values: dict[str, object], condition: Condition) -> None:
    move = next_move(*changed(**values))
    assert isinstance(move, Hold)
    assert names(move) == {condition}


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.PASS])
def test_a_gate_passes_by_pass_alone(verdict: Verdict) -> None:
    experiment, assessment, at = case(frozenset())
    gate = judged(assessment.gates[0].requirement, verdict)
    move = next_move(experiment, replace(assessment, gates=(gate,)), at)
    assert isinstance(move, Hold)
    assert f"({verdict})" in move.reasons[0]


def test_what_is_analysed_at_a_limit_or_not_told_yet_does_not_hold_the_ramp() -> None:
    few = tuple(judged(guardrail, Verdict.INSUFFICIENT) for guardrail in PLAN.metrics.guardrails)
    for guardrails in (few, (judged(RATINGS, Verdict.FAIL),)):
        assert isinstance(next_move(*changed(guardrails=guardrails)), Advance)
    assert isinstance(next_move(*changed(crossover_percent=0.1)), Advance)  # at the limit, not above it
    at_night = Tick(case(frozenset())[1].tick.as_of, tuple(map(untold, PLAN.triggers)), (), ())
    assert isinstance(next_move(*changed(tick=at_night)), Advance)


@pytest.mark.parametrize(
    "counting",
    [
        replace(quiet(PLAN.triggers[0]), crossed=True, minutes_crossed=1),
        replace(untold(PLAN.triggers[0]), minutes_crossed=9),  # bridging a minute without a reading
        firing(PLAN.triggers[0]),
    ],
)
def test_a_trigger_that_counts_holds_the_ramp(counting: Watched) -> None:
    as_of = case(frozenset())[1].tick.as_of
    move = next_move(*changed(tick=Tick(as_of, (counting,), (), ())))
    assert isinstance(move, Hold)
    assert names(move) == {Condition.TRIGGERS}


def test_evidence_of_the_stage_before_does_not_count() -> None:
    experiment, assessment, _ = case(frozenset())
    early = START + timedelta(minutes=1)
    stale = replace(assessment, tick=replace(assessment.tick, as_of=int(START.timestamp()) // 60 - 1))
    move = next_move(experiment, stale, early)
    assert isinstance(move, Hold)
    assert names(move) == {Condition.HELD, Condition.EVIDENCE}


def test_a_rollback_is_a_value_that_ends_the_epoch() -> None:
    found = must_roll_back(tick((firing, firing, firing)))
    assert isinstance(found, RollBack)
    after = at_stage(500).roll_back(START)
    assert rollback_due(after, tick((firing, firing, firing))) is None
