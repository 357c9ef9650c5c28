"""What follows from an analysis: the findings in their order, then the definition's table in the order of its fields.

Users that did not split as drawn, or crossed over, make the comparison of arms worthless: then nothing is decided from
the primary metric, and only a violated guardrail still rolls back. Between looks the latest look stands.
"""

from collections.abc import Mapping, Sequence

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Finding, Outcome
from ra_guard.experiments.monitor import findings
from ra_guard.experiments.monitor.looks import compares
from ra_guard.experiments.monitor.outcomes import Assessment, Decision, Found, Look

Findings = Mapping[Finding, Found]


def decide(definition: Definition, looks: Sequence[Look], assessment: Assessment) -> Decision:
    """The outcome, and all that it rests on."""
    sight = findings.latest(definition, looks)
    sound = findings.sample_ratio(definition, assessment), findings.crossover(definition, assessment)
    unsound = "; ".join(found.why for found in sound if not found.holds)
    if not compares(definition):
        unsound = f"mode {definition.mode} serves both arms alike"
    found = (
        *sound,
        findings.guardrails_healthy(definition, assessment),
        findings.guardrail_violated(definition, assessment),
        *(
            findings.unasked(f"nothing is decided from {findings.PRIMARY}: {unsound}")
            if unsound
            else findings.primary(definition, sight)
        ),
    )
    outcome, why = _follows(definition, {one.finding: one for one in found}, asked=sight is not None and not unsound)
    return Decision(
        outcome=outcome,
        findings=found,
        look=None if sight is None else sight.look,
        boundary_z=None if sight is None else sight.boundary_z,
        interval=None if sight is None else sight.interval,
        why=why,
    )


def _follows(definition: Definition, found: Findings, *, asked: bool) -> tuple[Outcome, str]:
    """``asked``: whether the primary metric was; nothing but a rollback follows where it was not."""
    table = definition.decision
    for finding in table.roll_back_when_any:
        if found[finding].holds:
            told = Finding.SUCCESS if finding is Finding.NO_SUCCESS else finding
            return Outcome.ROLL_BACK, found[told].why
    if not asked:
        return Outcome.KEEP_RUNNING, found[Finding.SUCCESS].why
    if _missing(table.deploy_when_all, found) is None:
        return Outcome.DEPLOY, f"{found[Finding.SUCCESS].why}; {found[Finding.GUARDRAILS_HEALTHY].why}"
    if _missing(table.iterate_when_all, found) is None:
        return Outcome.ITERATE, found[Finding.SUCCESS].why
    return table.otherwise, _why_not(definition, found)


def _missing(wanted: Sequence[Finding], found: Findings) -> Found | None:
    """The first that does not hold."""
    return next((found[finding] for finding in wanted if not found[finding].holds), None)


def _why_not(definition: Definition, found: Findings) -> str:
    """What the look shows, and what keeps a success, or a partial one, from counting."""
    table, seen = definition.decision, found[Finding.SUCCESS].why
    wanted = (
        table.deploy_when_all
        if found[Finding.SUCCESS].holds
        else table.iterate_when_all
        if found[Finding.PARTIAL_SUCCESS].holds
        else ()
    )
    missing = _missing(wanted, found)
    return seen if missing is None else f"{seen}; but {missing.why}"
