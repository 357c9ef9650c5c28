"""Each fault ends in a rollback by what is there to find it, or has its name in the ledger."""

import pytest
from ra_guard.experiments.definition.vocabulary import Outcome
from ra_guard.simulation.measure import FAULT_OF
from ra_guard.simulation.play import NO_EVIDENCE, Run
from ra_guard.simulation.presets import FAULTS
from ra_guard.simulation.replicate import detection_minutes
from ra_guard.simulation.scenario import Fault, FaultKind

from tests.stand_ins.simulations import one_stage, played, short

DEFINITION = one_stage()


def told(run: Run) -> list[str]:
    return [entry.what for entry in run.ledger]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(kind=FaultKind.ERRORS, at_hour=1.0, hours=9.0, size=10.0), "trigger error_rate"),
        (Fault(kind=FaultKind.LATENCY, at_hour=1.0, hours=9.0, size=500.0), "trigger latency_p95"),
        (Fault(kind=FaultKind.NDCG, at_hour=0.0, hours=9.0, size=40.0), "trigger ndcg_at_10"),
    ],
)
def test_a_fault_is_found_by_the_trigger_that_is_there_for_it(fault: Fault, cause: str) -> None:
    run = played(short(5, fault), DEFINITION)
    assert run.ending is not None
    assert cause in run.ending.causes or "guardrail error_rate" in run.ending.causes
    assert run.experiment.rolled_back
    assert run.experiment.ramp_bp == 0
    # No trigger can tell in less than its own minutes.
    found = detection_minutes(run)
    trigger = next(each for each in DEFINITION.triggers if f"trigger {each.metric}" == cause)
    assert found is not None
    assert found >= (trigger.for_minutes if cause in run.ending.causes else 0)
    assert any("roll back from ramp 50 %" in what for what in told(run))
    assert next(entry.why for entry in run.ledger if entry.revision == run.experiment.revision) == run.ending.why


def test_an_hour_without_evidence_rolls_back_and_says_so() -> None:
    fault = Fault(kind=FaultKind.NO_EVIDENCE, at_hour=1.5, hours=9.0, size=0.0)
    run = played(short(4, fault), DEFINITION)
    assert run.ending is not None
    assert run.ending.causes == (NO_EVIDENCE,)
    assert "no evidence for 60 minutes" in run.ending.why
    # The latest evidence came in the minute before the fault.
    assert run.ending.minute == 90 - 1 + 60


def test_an_experiment_that_never_sees_evidence_is_rolled_back_as_soon() -> None:
    fault = Fault(kind=FaultKind.NO_EVIDENCE, at_hour=0.0, hours=9.0, size=0.0)
    run = played(short(3, fault), DEFINITION)
    assert run.ending is not None
    assert (run.ending.minute, run.ending.causes) == (60, (NO_EVIDENCE,))
    assert run.evidence.epoch.treatment.calls == 0


def test_half_an_hour_without_evidence_is_noted_and_nothing_more() -> None:
    fault = Fault(kind=FaultKind.NO_EVIDENCE, at_hour=1.25, hours=0.5, size=0.0)
    run = played(short(3, fault), DEFINITION)
    assert run.ending is None
    notes = [entry for entry in run.ledger if entry.what == "evidence is back"]
    assert [dict(note.numbers) for note in notes] == [{"minutes_without_evidence": 30.0}]


def test_a_replica_that_is_cut_off_is_missed_and_its_log_comes_later() -> None:
    fault = Fault(kind=FaultKind.PARTITION, at_hour=1.0, hours=1.0, size=1.0)
    run, calm = (played(short(3, *faults), DEFINITION) for faults in ((fault,), ()))
    assert run.ending is None
    assert [what for what in told(run) if "heard" in what] == ["2 of 3 replicas heard", "3 of 3 replicas heard"]
    # In the end every call is there, and less of treatment was treated.
    assert run.evidence.epoch.treatment.calls == calm.evidence.epoch.treatment.calls
    assert run.evidence.exposure == calm.evidence.exposure


def test_lost_exposures_are_a_sample_ratio_mismatch_and_nothing_is_decided() -> None:
    fault = Fault(kind=FaultKind.LOST_EXPOSURES, at_hour=0.0, hours=9.0, size=60.0)
    run = played(short(3, fault), DEFINITION)
    note = next(entry for entry in run.ledger if entry.what == "sample-ratio mismatch")
    assert note.numbers["p_value"] < 0.001
    assert note.numbers["treatment_lost"] > note.numbers["control_lost"] == 0
    assert run.decision.outcome is Outcome.KEEP_RUNNING


def test_nothing_happens_to_a_healthy_experiment() -> None:
    run = played(short(4), DEFINITION)
    assert run.ending is None
    assert told(run) == [
        "create at ramp 0 %",
        "ramp 0 % to 50 %",
        "decision: keep_running",
    ]


def test_every_trigger_of_the_template_has_a_fault_and_every_fault_a_preset() -> None:
    assert {trigger.metric for trigger in DEFINITION.triggers} <= FAULT_OF.keys()
    assert {fault.kind for fault in FAULTS.values()} == set(FaultKind)
