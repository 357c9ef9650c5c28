"""Where the ``cosine_range`` of a logged call's space comes from; whoever prints a number made with it says so.

A space's fingerprint covers its cosine_range, so whatever carries the fingerprint has the range that was served: the
generation that the calls name, the generation in force, or a built space. An option stands in for all of them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ra_guard import _core
from ra_guard.errors import ConfigError
from ra_guard.evaluation.calls import Scale
from ra_guard.evaluation.errors import UnknownScale
from ra_guard.models.space import Space, UnknownSpace, names


@dataclass(frozen=True)
class FoundScale:
    """A scale and who says so."""

    scale: Scale
    source: str


def parsed_scale(text: str) -> Scale:
    """``LOW,HIGH``. Raises ConfigError."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    # False for what is not a number, too.
    if not -1 <= low < high <= 1:
        raise ConfigError(f"found --cosine-range {text!r}, wanted LOW,HIGH between -1 and 1; such as 0.1,0.35")
    return Scale(low, high)


def found_scales(generations: Mapping[str, int], gallery: Path, models: Path) -> dict[str, FoundScale]:
    """By space, of ``generations``: the latest one that the calls name, by space. Raises UnknownScale."""
    found = {}
    for space, generation in generations.items():
        scale = next(_scales_of(space, generation, gallery, models), None)
        if scale is None:
            raise UnknownScale(
                found=f"no cosine_range of space {space} in {gallery} or {models}",
                wanted=f"generation {generation}, or the built space",
                cure="say --gallery, or --cosine-range LOW,HIGH",
            )
        found[space] = scale
    return found


def _scales_of(space: str, named: int, gallery: Path, models: Path) -> Iterator[FoundScale]:
    for number in (named, None):
        try:
            generation = _core.Generation.open(str(gallery), number)
        except _core.ShardError:
            continue
        if generation.space == space:
            low, high = json.loads(generation.space_json)["cosine_range"]
            yield FoundScale(Scale(low, high), f"generation {generation.number} of {gallery}")
    for name in names(models):
        try:
            built = Space.load(models / name)
        except UnknownSpace:
            continue
        if built.fingerprint == space:
            yield FoundScale(Scale(*built.cosine_range), f"{models / name}")
