"""A definition is read strictly: what is misspelt, missing or of the wrong type is refused, never defaulted."""

import math
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ra_guard.experiments import errors
from ra_guard.experiments.definition import MAX_DEFINITION_BYTES, differences, parse_definition, template
from ra_guard.experiments.definition.measures import MEASURES, Metric, Scale
from ra_guard.experiments.definition.treatment import Weights
from ra_guard.experiments.errors import ExperimentError

from tests.stand_ins.definitions import changed, definition


def refused(*replacements: tuple[str, str]) -> ExperimentError:
    with pytest.raises(ExperimentError) as caught:
        parse_definition(changed(*replacements))
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_text_is_kept() -> None:
    text = changed(("lease_s = 60", "lease_s = 7"))
    parsed = parse_definition(text)
    assert (parsed.text, parsed.lease_s) == (text, 7)


def test_the_template_under_another_key() -> None:
    assert parse_definition(template("other")).key == "other"
    assert differences(definition(), parse_definition(template("other"))) == ['key: "ra_guard_enhancement" -> "other"']


UNKNOWN = [
    (("lease_s = 60", "leas_s = 60"), "leas_s in the definition", "lease_s"),
    (("from_percent = 50", "from_percent = 50\nfrom = 3"), "from in arms.control", "from_percent"),
    (("cosine = 1.0", "cosin = 1.0"), "cosin in weights.default", "cosine"),
    (("monitoring = ", "monitorng = "), "monitorng in stages[0]", "monitoring"),
    (("bound_count = 0", "bound_cuont = 0"), "bound_cuont in stages[0].gates[0]", "bound_count"),
    (("severity = ", "severty = "), "severty in metrics.guardrails[0]", "severity"),
    (("bound_percent = 2.0", "bound_percents = 2.0"), "bound_percents in triggers[0]", "bound_percent"),
    (("[[alerts]]\n", "[[alrts]]\n"), "alrts in the definition", "alerts"),
    (('mode = "ab"', 'mode = "abc"'), "mode = 'abc'", "interleaving"),
    (('metric = "critical_errors"', 'metric = "critical_error"'), "'critical_error'", "critical_errors"),
    (('metric = "ndcg_at_10"\n# nDCG', 'metric = "ndcg"\n# nDCG'), "metrics.primary.metric = 'ndcg'", "ndcg_at_10"),
    (('when = "above"', 'when = "over"'), "triggers[0].when = 'over'", "above"),
    (('severity = "high"', 'severity = "hi"'), "metrics.guardrails[0].severity = 'hi'", "critical"),
    (('routes = ["slack", "email"]', 'routes = ["slak"]'), "alerts[0].routes[0] = 'slak'", "slack"),
    (('spending = "obrien_fleming"', 'spending = "pocock"'), "analysis.spending = 'pocock'", "obrien_fleming"),
]


@pytest.mark.parametrize(("change", "found", "allowed"), UNKNOWN)
def test_an_unknown_word_names_the_allowed_ones(change: tuple[str, str], found: str, allowed: str) -> None:
    error = refused(change)
    assert isinstance(error, errors.UnknownOption)
    assert found in error.found
    assert allowed in error.wanted


WRONG = [
    ("lease_s = 60", "lease_s = true"),
    ("lease_s = 60", "lease_s = 1.5"),
    ("lease_s = 60", "lease_s = 0"),
    ("lease_s = 60", "lease_s = 3601"),
    ("lease_s = 60", 'lease_s = "60"'),
    ('salt = ""', "salt = 1"),
    ('salt = ""', 'salt = "epoch-2"'),
    ('salt = ""', f'salt = "{"s" * 65}"'),
    ("spaces = []", "spaces = [1]"),
    ("spaces = []", 'spaces = "x"'),
    ("spaces = []", 'spaces = ["demo"]'),
    ("cosine = 1.0", "cosine = -0.1"),
    ("cosine = 1.0", "cosine = nan"),
    ("cosine = 1.0", "cosine = true"),
    ("prior = 0.1", ""),
    ("retention_days = 90", "retention_days = 0"),
    ("# launch_date = 2025-10-24", 'launch_date = "2025-10-24"'),
    ("# launch_date = 2025-10-24", "launch_date = 2025-10-24T00:00:00Z"),
    # Arms and ramp.
    ("from_percent = 50", "from_percent = 40"),
    ("percent = 50\nmonitoring", "percent = 50.01\nmonitoring"),
    ("percent = 5\n", "percent = 0.5\n"),
    ("percent = 5\n", "percent = 1\n"),
    ("percent = 1\n", "percent = 0\n"),
    ("percent = 1\n", "percent = 0.001\n"),
    ("hold_hours = 24\n", ""),
    ("percent = 50\nmonitoring", "percent = 50\nhold_hours = 24\nmonitoring"),
    ("hold_hours = 24\n", "hold_hours = 1000\n"),
    # Bounds.
    ("bound_count = 0", ""),
    ("bound_count = 0", "bound_count = 0\nbound_percent = 1.0"),
    ("bound_count = 0", "bound_percent = 0.0"),
    ("bound_added_ms = 100", "bound_added_ms = inf"),
    ("bound_percent = 2.0", "bound_percent = 200"),
    ("min_requests = 1000", ""),
    ("min_requests = 1000", "min_users = 1000"),
    ("bound_count = 0", "bound_count = 0\nmin_users = 1"),
    ('evidence = "observed"\nmust_be = "at_most"', 'evidence = "proven"\nmust_be = "at_most"'),
    ('must_be = "at_most"', 'must_be = "at_least"'),
    ('when = "above"', 'when = "below"'),
    ('evidence = "observed"\nwhen', 'evidence = "not_refuted"\nwhen'),
    ("coverage_percent = 90\n", ""),
    ("for_minutes = 0\n", "for_minutes = 0\ncoverage_percent = 90\n"),
    # What one says of the other.
    ("look_days = [3, 7, 10]", "look_days = [3, 10, 7]"),
    ("look_days = [3, 7, 10]", "look_days = [3, 7, 14]"),
    ("users = 5000", "users = 5001"),
    ("success_points = 2.97", "success_points = 5"),
    ("confidence_percent = 95", "confidence_percent = 100"),
    ('labels = "judgments"', 'labels = "clicks"'),
    ('labels = "judgments"', 'labels = "judgments"\npropensity = [1.0]'),
    ('labels = "judgments"', 'labels = "clicks"\npropensity = []'),
    ('labels = "judgments"', 'labels = "clicks"\npropensity = [1.0, 0.0]'),
    ('labels = "judgments"', 'labels = "clicks"\npropensity = [1.5]'),
    ('"guardrails_healthy", "success"]', '"success"]'),
    ('otherwise = "keep_running"', 'otherwise = "deploy"'),
    ("level = 2", "level = 4"),
    ("escalates_to_level = 3", "escalates_to_level = 4"),
    ('id = "gallery_deployed"', 'id = "service_deployed"'),
]


@pytest.mark.parametrize("change", WRONG)
def test_wrong_value(change: tuple[str, str]) -> None:
    assert isinstance(refused(change), errors.BadDefinition)


def test_a_trigger_that_chance_would_fire() -> None:
    error = refused(('evidence = "proven"\nwhen = "below"', 'evidence = "observed"\nwhen = "below"'))
    assert "proven" in error.wanted


@pytest.mark.parametrize("found", ["2", '"1"', "true", "1.0"])
def test_another_format_is_told_before_its_words(found: str) -> None:
    error = refused(("format = 1", f"format = {found}\nunheard_of = 1"))
    assert isinstance(error, errors.UnknownFormat)


@pytest.mark.parametrize("text", ["", "key = 'k'", "key = ", "\x00", "x" * (MAX_DEFINITION_BYTES + 1)])
def test_no_definition_at_all(text: str) -> None:
    with pytest.raises(errors.BadDefinition):
        parse_definition(text)


@given(st.text(max_size=200))
def test_any_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ExperimentError):
        parse_definition(text)


LINES = template().splitlines(keepends=True)
FIELDS = [number for number, line in enumerate(LINES) if " = " in line and line.endswith(("\n",)) and line[0].isalpha()]


@given(st.sampled_from(FIELDS), st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12))
def test_no_field_can_be_misspelt(number: int, letters: str) -> None:
    word, _, value = LINES[number].partition(" = ")
    text = "".join([*LINES[:number], f"{word}{letters} = {value}", *LINES[number + 1 :]])
    # The one way that letters make another word that may stand there.
    if f"{word}{letters}" in {"bound_percent", "bound_points"}:
        return
    with pytest.raises((errors.UnknownOption, errors.BadDefinition)):
        parse_definition(text)


@given(st.sampled_from(FIELDS), st.sampled_from(["true", '"x"', "-1", "nan", "[]", "{}", "1e99", "1979-05-27"]))
def test_no_value_breaks_the_reader(number: int, value: str) -> None:
    word = LINES[number].partition(" = ")[0]
    text = "".join([*LINES[:number], f"{word} = {value}\n", *LINES[number + 1 :]])
    with suppress(ExperimentError):
        parse_definition(text)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -0.1])
def test_weight_that_cannot_order(weight: float) -> None:
    with pytest.raises(ValidationError):
        Weights(cosine=weight, consistency=0.0, contradiction=0.0, prior=0.0)


def test_every_metric_can_be_bound() -> None:
    assert set(MEASURES) == set(Metric)
    assert {scale for measure in MEASURES.values() for scale in measure.scales} == set(Scale)


# Differences


def test_one_line_a_field() -> None:
    other = definition(("percent = 10\n", "percent = 12\n"), ("spaces = []", f'spaces = ["{"a" * 32}"]'))
    assert differences(definition(), other) == [
        f'spaces: [] -> ["{"a" * 32}"]',
        "stages[2].percent: 10 -> 12",
    ]


def test_the_first_definition_is_new_in_every_field() -> None:
    lines = differences(None, definition())
    assert "lease_s: none -> 60" in lines
    assert all(": none -> " in line for line in lines)


@given(st.integers(1, 3600), st.integers(1, 3600))
def test_differences_are_those_of_the_values(one: int, other: int) -> None:
    before, after = (definition(("lease_s = 60", f"lease_s = {lease_s}")) for lease_s in (one, other))
    assert differences(before, after) == ([] if one == other else [f"lease_s: {one} -> {other}"])


def test_stages_ascend() -> None:
    assert all(lower.ramp_bp < higher.ramp_bp for lower, higher in pairwise(definition().stages))
