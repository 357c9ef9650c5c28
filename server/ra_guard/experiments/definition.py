"""An experiment's definition in TOML: read strictly, so that a misspelt safety setting never means a default."""

import math
import tomllib
from collections.abc import Collection, Mapping
from importlib import resources
from typing import TypeVar

from ra_guard.experiments.model import BadDefinition, Experiment, UnknownOption, Weights

MAX_DEFINITION_BYTES = 256 * 1024

_REQUIRED = ("key", "default_weights")
_OPTIONAL = ("salt", "ramp_percent", "killed", "lease_s", "spaces", "domain_weights")
_Value = TypeVar("_Value")
_TERMS = ("cosine", "consistency", "contradiction", "prior")


def default_definition() -> str:
    """The template that ships with the package."""
    return resources.files("ra_guard.experiments").joinpath("default_experiment.toml").read_text(encoding="utf-8")


def parse_definition(text: str) -> Experiment:
    """The experiment that a definition describes, at revision 1 of epoch 1.

    Raises UnknownOption for a word that means nothing here, BadKey, RampOutOfRange, BadDefinition for the rest.
    """
    if len(text.encode()) > MAX_DEFINITION_BYTES:
        raise BadDefinition(
            found=f"a definition of {len(text.encode())} bytes",
            wanted=f"at most {MAX_DEFINITION_BYTES}",
            cure="move what is not configuration elsewhere",
        )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise BadDefinition(
            found=f"text that is not TOML ({cause})", wanted="a TOML definition", cure="correct the line named"
        ) from cause
    _require_words(table, "the definition", required=_REQUIRED, optional=_OPTIONAL)
    domains = _typed(table, "domain_weights", dict, {})
    return Experiment(
        key=_typed(table, "key", str, ""),
        salt=_typed(table, "salt", str, ""),
        ramp_bp=_basis_points(_number(table, "ramp_percent", 0.0)),
        killed=_typed(table, "killed", bool, default=False),
        lease_s=_typed(table, "lease_s", int, 60),
        spaces=tuple(_strings(table, "spaces")),
        default_weights=_weights(table["default_weights"], "default_weights"),
        domain_weights={name: _weights(weights, f"domain_weights.{name}") for name, weights in domains.items()},
    )


def _basis_points(percent: float) -> int:
    basis_points = round(percent * 100)
    if abs(percent * 100 - basis_points) > 1e-6:
        raise BadDefinition(found=f"ramp_percent = {percent}", wanted="steps of 0.01", cure="round it")
    return basis_points


def _weights(value: object, where: str) -> Weights:
    if not isinstance(value, dict):
        raise _wrong_type(where, value, "a table of four weights")
    _require_words(value, where, required=_TERMS, optional=())
    return Weights(**{term: _number(value, term, 0.0) for term in _TERMS})


def _require_words(
    table: Mapping[str, object], where: str, *, required: Collection[str], optional: Collection[str]
) -> None:
    allowed = sorted({*required, *optional})
    if unknown := sorted(table.keys() - set(allowed)):
        raise UnknownOption(
            found=f"{', '.join(unknown)} in {where}", wanted=f"only {', '.join(allowed)}", cure="correct the spelling"
        )
    if missing := sorted(set(required) - table.keys()):
        raise BadDefinition(
            found=f"no {', '.join(missing)} in {where}", wanted=f"{', '.join(sorted(required))}", cure="add it"
        )


def _typed(table: Mapping[str, object], word: str, kind: type[_Value], default: _Value) -> _Value:
    value = table.get(word, default)
    # bool is an int to Python; a definition that says lease_s = true is a mistake all the same.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong_type(word, value, f"a value of type {kind.__name__}")
    return value


def _number(table: Mapping[str, object], word: str, default: float) -> float:
    value = table.get(word, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong_type(word, value, "a finite number")
    return float(value)


def _strings(table: Mapping[str, object], word: str) -> list[str]:
    values = _typed(table, word, list, [])
    if not all(isinstance(value, str) for value in values):
        raise _wrong_type(word, values, "a list of strings")
    return values


def _wrong_type(word: str, value: object, wanted: str) -> BadDefinition:
    return BadDefinition(found=f"{word} = {value!r}", wanted=wanted, cure="correct it in the definition")
