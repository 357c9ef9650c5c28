"""default.toml is the defaults: every option is there, documented, and read from nowhere else."""

import re
import tomllib
from itertools import pairwise

from ra_guard.config import Section, Settings, default_toml, load


def options() -> dict[str, set[str]]:
    sections: dict[str, set[str]] = {"": set()}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            sections[name] = set(field.annotation.model_fields)
        else:
            sections[""].add(name)
    return sections


def test_every_option_is_in_the_file_and_the_file_has_no_others() -> None:
    written = tomllib.loads(default_toml())
    found = {name: set(table) for name, table in written.items() if isinstance(table, dict)}
    found[""] = {name for name, value in written.items() if not isinstance(value, dict)}
    assert found == options()


def test_no_option_has_a_second_default_in_code() -> None:
    for name, field in Settings.model_fields.items():
        assert field.is_required(), name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for option, below in field.annotation.model_fields.items():
                assert below.is_required(), f"{name}.{option}"


def test_every_option_is_preceded_by_what_it_means() -> None:
    lines = default_toml().splitlines()
    for above, line in pairwise(lines):
        if re.match(r"[a-z_]+ = ", line):
            assert above.startswith("# "), f"no comment above {line!r}"


def test_the_defaults_are_valid() -> None:
    assert load(environ={}).model_dump(mode="json") == tomllib.loads(default_toml())
