"""A definition is read strictly: what is misspelt, missing or of the wrong type is refused, never defaulted."""

import pytest
from ra_guard.experiments import model
from ra_guard.experiments.definition import MAX_DEFINITION_BYTES, default_definition, parse_definition

MINIMAL = """
key = "k"
{more}
[default_weights]
cosine = 1.0
consistency = 0.3
contradiction = 0.5
prior = 0
"""


def minimal(more: str = "") -> str:
    return MINIMAL.format(more=more)


def test_the_template_that_ships() -> None:
    experiment = parse_definition(default_definition())
    assert experiment.key == "ra_guard_enhancement"
    assert (experiment.lease_s, experiment.ramp_bp, experiment.killed, experiment.salt) == (60, 0, False, "")
    assert experiment.domain_weights
    assert (experiment.revision, experiment.epoch) == (1, 1)


def test_what_is_left_out_is_harmless() -> None:
    experiment = parse_definition(minimal())
    assert (experiment.ramp_bp, experiment.killed, experiment.lease_s) == (0, False, 60)


def test_every_option_arrives() -> None:
    text = minimal(f'salt = "s"\nramp_percent = 0.25\nkilled = true\nlease_s = 5\nspaces = ["{"a" * 32}"]')
    text += "[domain_weights.food]\ncosine = 2\nconsistency = 0\ncontradiction = 0\nprior = 0\n"
    experiment = parse_definition(text)
    assert (experiment.salt, experiment.ramp_bp, experiment.killed, experiment.lease_s) == ("s", 25, True, 5)
    assert experiment.spaces == ("a" * 32,)
    assert experiment.domain_weights["food"].cosine == 2.0


@pytest.mark.parametrize("word", ["kiled = true", "ramp = 5", "ramp_bp = 5"])
def test_unknown_option_names_the_allowed_ones(word: str) -> None:
    with pytest.raises(model.UnknownOption) as refused:
        parse_definition(minimal(word))
    assert "killed" in refused.value.wanted
    assert "ramp_percent" in refused.value.wanted


def test_unknown_weight() -> None:
    with pytest.raises(model.UnknownOption) as refused:
        parse_definition(minimal() + "cosin = 1\n")
    assert "cosine" in refused.value.wanted


@pytest.mark.parametrize(
    "line",
    [
        "lease_s = true",
        "lease_s = 1.5",
        'killed = "false"',
        "killed = 0",
        'ramp_percent = "5"',
        "ramp_percent = true",
        "ramp_percent = nan",
        "ramp_percent = 0.001",
        "salt = 1",
        "spaces = [1]",
        'spaces = "x"',
        "domain_weights = 1",
        "[domain_weights.food]\ncosine = 1",
    ],
)
def test_wrong_value(line: str) -> None:
    with pytest.raises(model.BadDefinition):
        parse_definition(minimal(line))


@pytest.mark.parametrize("text", ["", "key = 'k'", "key = ", "\x00", "x" * (MAX_DEFINITION_BYTES + 1)])
def test_no_definition_at_all(text: str) -> None:
    with pytest.raises(model.BadDefinition):
        parse_definition(text)


def test_ramp_out_of_range() -> None:
    with pytest.raises(model.RampOutOfRange):
        parse_definition(minimal("ramp_percent = 50.01"))
