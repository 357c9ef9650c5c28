"""What differs between two definitions, one line a field: ``stages[2].percent: 10 -> 12``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ra_guard.experiments.definition.whole import Definition

_ABSENT = "none"


def differences(before: Definition | None, after: Definition) -> list[str]:
    """One line for each field that ``after`` changes, in the order of the definition; all of them when none was before.

    Tables in a list are compared by position, a list of words or numbers as one value.
    """
    old = {} if before is None else dict(_fields(before.model_dump(mode="json", exclude_none=True)))
    new = dict(_fields(after.model_dump(mode="json", exclude_none=True)))
    return [
        f"{place}: {old.get(place, _ABSENT)} -> {new.get(place, _ABSENT)}"
        for place in dict.fromkeys((*new, *old))
        if old.get(place) != new.get(place)
    ]


def _fields(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for word, below in value.items():
                yield from _fields(below, f"{place}.{word}" if place else word)
        case list() if any(isinstance(below, dict) for below in value):
            for number, below in enumerate(value):
                yield from _fields(below, f"{place}[{number}]")
        case _:
            yield place, _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
