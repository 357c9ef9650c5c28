"""Definitions for tests: the template with some of its lines changed."""

import re

from ra_guard.experiments.definition import Definition, parse_definition, template


def changed(*replacements: tuple[str, str], text: str | None = None) -> str:
    """The template with each first occurrence replaced; a replacement that finds nothing is a mistake of the test."""
    text = template() if text is None else text
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def definition(*replacements: tuple[str, str]) -> Definition:
    """That text, parsed."""
    return parse_definition(changed(*replacements))


def unmeasured() -> str:
    """The template without what was measured of its triggers."""
    return re.sub(r"\[triggers\.measured\]\n(?:[a-z_]+ = .*\n)+", "", template())
