"""The go/no-go criteria: which lines of the checklist each of them rests on."""

from collections.abc import Callable, Mapping
from typing import Final

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.people import ChecklistLine
from ra_guard.experiments.definition.vocabulary import Area, GoNoGo
from ra_guard.launch.ledger import APPROVED_LINE

_ONE_BY_ONE: Final[Mapping[GoNoGo, tuple[str, ...]]] = {
    GoNoGo.STAKEHOLDER_APPROVAL: (APPROVED_LINE,),
    GoNoGo.RISK_MITIGATION_IN_PLACE: ("risks_assessed", "rollback_tested"),
}
"""Criteria that rest on lines of these names, whatever else the checklist has."""
_AS_A_WHOLE: Final[Mapping[GoNoGo, Callable[[ChecklistLine], bool]]] = {
    GoNoGo.CHECKLIST_COMPLETE: lambda _: True,
    GoNoGo.NO_CRITICAL_INFRASTRUCTURE_ISSUE: lambda line: line.area is Area.INFRASTRUCTURE,
}
"""Criteria that rest on every line of a kind."""


def lines_of(criterion: GoNoGo, definition: Definition) -> tuple[str, ...]:
    """The ids of the lines that must all hold. One that the checklist lacks is named all the same: it does not hold."""
    if criterion in _ONE_BY_ONE:
        return _ONE_BY_ONE[criterion]
    return tuple(line.id for line in definition.checklist if _AS_A_WHOLE[criterion](line))
