"""How a decision is shown: the same names in JSON whatever is known, and no number that people do not see."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from ra_guard.cli.experiment_decide import plain, print_decision
from ra_guard.experiments.definition.words import in_words
from ra_guard.experiments.monitor.decision import decide
from ra_guard.experiments.monitor.outcomes import Assessment, Look, Verdict
from rich.console import Console

from tests.stand_ins.assessments import TOO_FEW, guarded, healthy, look
from tests.stand_ins.definitions import definition

PLAN = definition()
HEALTHY = healthy(PLAN, as_of=29_000_000)
UNKNOWN = replace(
    HEALTHY, sample_ratio=TOO_FEW, crossover_percent=None, primary=TOO_FEW, power_percent=None, guardrails=()
)
CASES: list[tuple[Sequence[Look], Assessment]] = [
    ([], HEALTHY),
    ([look(7, 4.1)], HEALTHY),
    ([look(14, 0.3)], HEALTHY),
    ([look(7, 4.1)], guarded(HEALTHY, Verdict.PASS, Verdict.INSUFFICIENT, Verdict.FAIL)),
    ([look(7, 4.1)], replace(HEALTHY, corrected=HEALTHY.primary)),
    ([], replace(HEALTHY, corrected=TOO_FEW)),
    ([], UNKNOWN),
    ([look(7, 4.1)], replace(UNKNOWN, crossover_percent=float("nan"), power_percent=float("inf"))),
]


def shape(value: object) -> object:
    """The names of a JSON value below which nothing depends on what is known."""
    return sorted(value) if isinstance(value, dict) else None


@pytest.mark.parametrize(("looks", "assessment"), CASES)
def test_json_has_the_same_names_whatever_is_known(looks: Sequence[Look], assessment: Assessment) -> None:
    values = json.loads(json.dumps(plain(decide(PLAN, looks, assessment), assessment), allow_nan=False))
    whole = json.loads(json.dumps(plain(decide(PLAN, *CASES[1]), CASES[1][1])))
    assert shape(values) == shape(whole)
    for name in ("between_looks", "sample_ratio"):
        assert shape(values[name]) == shape(whole[name])
    assert [found["finding"] for found in values["findings"]] == [found["finding"] for found in whole["findings"]]
    assert (values["look"] is None) == (not looks)


def test_json_has_every_number() -> None:
    decided = decide(PLAN, [look(7, 4.1)], HEALTHY)
    values = json.loads(json.dumps(plain(decided, HEALTHY)))
    assert values["outcome"] == "deploy"
    assert values["look"]["standard_error"] == 0.684
    assert values["boundary_z"] == decided.boundary_z
    assert values["findings"][4]["numbers"] == dict(decided.findings[4].numbers)
    assert values["guardrails"][1]["control_count"] == 1_251
    assert values["as_of"] == "2025-02-19T21:21Z"


@pytest.mark.parametrize(("looks", "assessment"), CASES)
def test_people_see_the_outcome_its_reason_and_each_finding(looks: Sequence[Look], assessment: Assessment) -> None:
    decided = decide(PLAN, looks, assessment)
    shown = io.StringIO()
    print_decision(Console(file=shown, width=400), decided, assessment)
    text = shown.getvalue()
    assert text.startswith(f"{decided.outcome.replace('_', ' ')}: {decided.why}\n")
    for found in decided.findings:
        assert found.finding.replace("_", " ") in text
        assert found.why in text
    for judged in assessment.guardrails:
        assert in_words(judged.requirement) in text
    assert ("corrected for position" in text) is (assessment.corrected is not None)
