"""The checklist and its decision: what passes, what fails, what needs a person, and GO only if everything holds."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.experiments.definition.vocabulary import Area, GoNoGo, Proof, Role
from ra_guard.launch.checks import REGISTRY
from ra_guard.launch.criteria import lines_of
from ra_guard.launch.ledger import APPROVED_LINE, Signature, roles_to_sign, signed_as
from ra_guard.launch.readiness import (
    DRILLED_LINE,
    Check,
    Found,
    Measured,
    Readiness,
    Result,
    checklist,
    decide,
    failed,
    needs_a_person,
    passed,
)

from tests.stand_ins.definitions import definition

NOW = datetime(2025, 10, 23, tzinfo=UTC)
PLAN = definition()
IDS = [line.id for line in PLAN.checklist]
CHECKED = [line.id for line in PLAN.checklist if line.proof is not Proof.SIGNATURE]
TO_SIGN = [
    signed_as(line.id, role)
    for line in PLAN.checklist
    if line.proof is not Proof.CHECK
    for role in (roles_to_sign(PLAN, line.id) or (None,))
]
SIGNED = {item: Signature(item, "ada", "seen\nit", NOW) for item in TO_SIGN}
PASSING: Mapping[str, Check] = dict.fromkeys(CHECKED, lambda: passed("fine"))


def measured(
    checks: Mapping[str, Check] = PASSING, signatures: Mapping[str, Signature] = SIGNED, limit_s: float = 30
) -> dict[str, Found]:
    return {each.line.id: each.found for each in checklist(PLAN, 1, checks, signatures, limit_s)}


def test_every_line_that_the_template_wants_checked_has_a_check() -> None:
    assert set(CHECKED) <= set(REGISTRY)
    assert set(REGISTRY) - set(CHECKED) == {DRILLED_LINE}


def test_all_of_it_is_go() -> None:
    lines = checklist(PLAN, 1, PASSING, SIGNED, 30)
    assert [each.line.id for each in lines] == IDS
    assert all(each.holds for each in lines)
    found = Readiness("key", 2, 1, NOW, lines, decide(PLAN, lines))
    assert found.is_go
    shown = found.to_json()
    assert (shown["decision"], shown["criteria"][0]["holds"], len(shown["lines"])) == ("GO", True, 26)
    assert {"id", "area", "item", "proof", "owner", "result", "evidence", "seconds"} == set(shown["lines"][0])


def test_a_check_that_raises_fails_in_one_line_and_the_others_go_on() -> None:
    def breaks() -> Found:
        raise OSError("no\nsuch host")

    def panics() -> Found:
        raise BaseException("a panic of the core")  # noqa: TRY002

    found = measured({**PASSING, "service_deployed": breaks, "gallery_deployed": panics})
    assert found["service_deployed"] == failed("OSError: no such host")
    assert found["gallery_deployed"] == failed("BaseException: a panic of the core")
    assert found["pools_prepared"].result is Result.PASS


def test_a_check_that_hangs_fails_and_is_left_behind() -> None:
    released = threading.Event()
    try:
        found = measured({**PASSING, "pools_prepared": lambda: passed(str(released.wait(60)))}, limit_s=0.05)
    finally:
        released.set()
    assert found["pools_prepared"].result is Result.FAIL
    assert "no answer after 0.05 s" in found["pools_prepared"].evidence


def test_a_line_without_a_check_or_a_signature_needs_a_person_and_says_which() -> None:
    without = {name: check for name, check in PASSING.items() if name != "gallery_validated"}
    found = measured(without, {})
    assert found["gallery_validated"].result is Result.NEEDS_A_PERSON
    assert "no check gallery_validated" in found["gallery_validated"].evidence
    assert found["legal_reviewed"] == needs_a_person("nobody has signed it in epoch 1; sign it")
    assert measured()["legal_reviewed"] == passed("signed by ada on 2025-10-23: seen it")


def test_a_check_never_stands_in_for_a_signature_but_a_drill_does() -> None:
    checks = {**PASSING, "legal_reviewed": lambda: passed("?"), DRILLED_LINE: lambda: failed("too late")}
    found = measured(checks, {})
    assert found["legal_reviewed"].result is Result.NEEDS_A_PERSON
    assert found[DRILLED_LINE] == failed("too late")
    undrilled = {**PASSING, DRILLED_LINE: lambda: needs_a_person("measure it")}
    assert measured(undrilled)[DRILLED_LINE].result is Result.PASS, "somebody signed instead"
    assert measured(undrilled, {})[DRILLED_LINE].evidence.endswith("sign it, or measure it")


def test_a_line_that_takes_both_passes_by_both_alone() -> None:
    both = "dashboards_operational"
    unsigned = {item: each for item, each in SIGNED.items() if item != both}
    assert measured(signatures=unsigned)[both] == needs_a_person("fine; nobody has signed it in epoch 1; sign it")
    assert measured()[both] == passed("fine; signed by ada on 2025-10-23: seen it")
    assert measured({**PASSING, both: lambda: failed("no series")})[both] == failed("no series")
    unchecked = {name: check for name, check in PASSING.items() if name != both}
    assert measured(unchecked)[both].result is Result.NEEDS_A_PERSON, "a signature without the check"


def test_an_approval_says_who_gave_it_and_who_did_not() -> None:
    (lead,) = (each for each in SIGNED if each.endswith("technical_lead"))
    assert measured(signatures={lead: SIGNED[lead]})[APPROVED_LINE] == needs_a_person(
        "signed as technical_lead by ada on 2025-10-23: seen it; "
        "nobody has signed it as product_manager, as engineering_manager in epoch 1; sign it"
    )


@given(st.sets(st.sampled_from([None, *Role])), st.sets(st.sampled_from(Role), min_size=1))
def test_an_approval_takes_every_decision_maker_and_nobody_else(
    who_signed: set[Role | None], deciding: set[Role]
) -> None:
    makers = tuple(each for each in PLAN.decision_makers if each.role in deciding)
    plan = PLAN.model_copy(update={"decision_makers": makers})
    signatures = dict.fromkeys((signed_as(APPROVED_LINE, role) for role in who_signed), SIGNED[TO_SIGN[0]])
    found = {each.line.id: each for each in checklist(plan, 1, PASSING, signatures, 30)}[APPROVED_LINE]
    assert found.holds is (deciding <= who_signed)
    assert all((f"as {role.value}" in found.found.evidence) is (role in deciding) for role in Role)


def test_each_criterion_rests_on_lines_of_the_checklist() -> None:
    assert set(lines_of(GoNoGo.CHECKLIST_COMPLETE, PLAN)) == set(IDS)
    for criterion in GoNoGo:
        assert set(lines_of(criterion, PLAN)) <= set(IDS)
        assert lines_of(criterion, PLAN)


def test_a_checklist_without_the_line_that_a_criterion_rests_on_is_no_go() -> None:
    for checklist_ in ((), tuple(line for line in PLAN.checklist if line.id != "stakeholders_approved")):
        lacking = PLAN.model_copy(update={"checklist": checklist_})
        lines = checklist(lacking, 1, PASSING, SIGNED, 30)
        holding = {each.criterion: each.holds for each in decide(lacking, lines)}
        assert not holding[GoNoGo.STAKEHOLDER_APPROVAL]
        assert holding[GoNoGo.CHECKLIST_COMPLETE] is bool(checklist_)


@given(st.lists(st.sampled_from([*Result, Result.PASS, Result.PASS, Result.PASS]), min_size=26, max_size=26))
def test_it_is_go_exactly_if_every_line_passes(results: list[Result]) -> None:
    lines = [Measured(line, Found(result, "."), 0.0) for line, result in zip(PLAN.checklist, results, strict=True)]
    criteria = {each.criterion: each for each in decide(PLAN, lines)}
    assert all(each.holds for each in criteria.values()) is (set(results) == {Result.PASS})
    infrastructure = {each.line.id for each in lines if each.line.area is Area.INFRASTRUCTURE and not each.holds}
    assert set(criteria[GoNoGo.NO_CRITICAL_INFRASTRUCTURE_ISSUE].missing) == infrastructure


@pytest.mark.parametrize("result", [result for result in Result if result is not Result.PASS])
def test_only_a_pass_passes(result: Result) -> None:
    line = PLAN.checklist[0]
    assert not Measured(line, Found(result, "."), 0.0).holds
