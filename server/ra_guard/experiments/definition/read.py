"""From text to a definition, or to one line: what was found and where, what is wanted, the cure."""

import json
import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ra_guard.experiments.definition.table import Mistake, UnknownWord, spelling
from ra_guard.experiments.definition.whole import FORMAT, Definition
from ra_guard.experiments.errors import BadDefinition, BadKey, ExperimentError, UnknownFormat, UnknownOption

MAX_DEFINITION_BYTES = 256 * 1024
TEMPLATE_KEY = "ra_guard_enhancement"


def template(key: str = TEMPLATE_KEY) -> str:
    """The template that ships with the package, for an experiment of that key."""
    text = resources.files("ra_guard.experiments").joinpath(f"{TEMPLATE_KEY}.toml").read_text(encoding="utf-8")
    return text.replace(f'key = "{TEMPLATE_KEY}"', f"key = {json.dumps(key)}", 1)


@lru_cache(maxsize=16)
def parse_definition(text: str) -> Definition:
    """The definition that a TOML text holds.

    Raises UnknownFormat, UnknownOption for a word that means nothing where it stands, BadKey, BadDefinition for the
    rest. The first mistake is named; a word that does not exist comes before a value that does not fit. The last few
    texts are remembered: reading one takes tens of milliseconds, and a definition is frozen.
    """
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_DEFINITION_BYTES:
        raise BadDefinition(
            found=f"a definition of {size} bytes",
            wanted=f"at most {MAX_DEFINITION_BYTES}",
            cure="move what is not configuration elsewhere",
        )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise BadDefinition(
            found=f"text that is not TOML ({cause})", wanted="a TOML definition", cure="correct the line named"
        ) from cause
    # Before anything else: another format may well have other words.
    if "format" in table and (type(table["format"]), table["format"]) != (int, FORMAT):
        raise UnknownFormat(
            found=f"format = {table['format']!r}", wanted=f"format = {FORMAT}", cure="use the ra-guard that wrote it"
        )
    try:
        return Definition.of(table, text)
    except ValidationError as refused:
        raise explained(refused.errors(), "the definition") from None


def explained(mistakes: Sequence[ErrorDetails], whole: str) -> ExperimentError:
    """The first mistake in words; a misspelt word first, since it is often why another one is missing.

    ``whole`` is what the tables belong to: "the definition".
    """
    return _in_words(min(mistakes, key=lambda mistake: not isinstance(_cause(mistake), UnknownWord)), whole)


def _in_words(mistake: ErrorDetails, whole: str) -> ExperimentError:
    cause, place, value = _cause(mistake), _place(mistake["loc"]), mistake.get("input")
    match mistake["type"]:
        case _ if isinstance(cause, UnknownWord):
            where = place or whole
            return UnknownOption(found=f"{cause.found} in {where}", wanted=cause.wanted, cure=cause.cure)
        case _ if cause is not None:
            kind = BadKey if place == "key" else BadDefinition
            return kind(found=f"{place}: {cause.found}" if place else cause.found, wanted=cause.wanted, cure=cause.cure)
        case "missing":
            where, word = _place(mistake["loc"][:-1]) or whole, mistake["loc"][-1]
            return BadDefinition(found=f"no {word} in {where}", wanted=f"a value for {word}", cure="add it")
        case "enum" | "literal_error":
            allowed = re.findall(r"'([^']*)'", mistake["ctx"]["expected"])
            return UnknownOption(
                found=f"{place} = {value!r}",
                wanted=f"one of {', '.join(allowed)}" if len(allowed) > 1 else f"{allowed[0]!r}",
                cure=spelling(str(value), allowed),
            )
    wanted = mistake["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return BadDefinition(found=f"{place} = {value!r}", wanted=wanted, cure=f"correct it in {whole}")


def _cause(mistake: ErrorDetails) -> Mistake | None:
    cause = mistake.get("ctx", {}).get("error")
    return cause if isinstance(cause, Mistake) else None


def _place(path: Sequence[int | str]) -> str:
    """``("stages", 2, "percent")`` as ``stages[2].percent``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
