"""An embedding space: which pair of models makes its vectors, and the fingerprint that everything compares.

The fingerprint is xxh3-128 of the space's canonical JSON. Shards, requests and Triton's model configurations carry it,
so vectors of different models, weights or preprocessing are never compared.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xxhash

from ra_guard.errors import Code, RaGuardError

SPACE_FILE = "space.json"
LABELS_FILE = "labels.json"
REPOSITORY_FOLDER = "repository"


class UnknownSpace(RaGuardError):
    """No such space among the built ones, or its files are not what `ra-guard models build` writes."""

    status_code = Code.NOT_FOUND


@dataclass(frozen=True)
class Tower:
    """One side of a pair of models."""

    kind: str
    weights_sha256: str


@dataclass(frozen=True)
class Space:
    """What makes a vector comparable with another. ``labels`` belong to the detector, not to the fingerprint."""

    name: str
    dim: int
    cosine_range: tuple[float, float]
    """Typical cosine of a text with an unrelated image and with a fitting one: the score's common scale."""
    preprocessing: str
    text: Tower
    image: Tower
    labels: tuple[str, ...]
    """The detector's labels; a detection names its label by position."""
    label_threshold: float | None = None
    """Cosine of two texts from which a label is what a query expects; None takes the high end of `cosine_range`."""

    def json(self) -> str:
        """Canonical: sorted keys, no spaces; a threshold that is not set is left out."""
        threshold = {} if self.label_threshold is None else {"label_threshold": self.label_threshold}
        return canonical_json(
            {
                **threshold,
                "cosine_range": list(self.cosine_range),
                "dim": self.dim,
                "dtype": "f32",
                "image": vars(self.image),
                "name": self.name,
                "preprocessing": self.preprocessing,
                "text": vars(self.text),
            }
        )

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits."""
        return xxhash.xxh3_128_hexdigest(self.json().encode())

    @cached_property
    def labels_digest(self) -> str:
        """32 hexadecimal digits over the labels in order."""
        return xxhash.xxh3_128_hexdigest(canonical_json(list(self.labels)).encode())

    def save(self, folder: Path) -> None:
        """Writes space.json and labels.json."""
        (folder / SPACE_FILE).write_text(self.json(), encoding="utf-8")
        (folder / LABELS_FILE).write_text(canonical_json(list(self.labels)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Space":
        """Reads what `save` wrote. Raises UnknownSpace."""
        try:
            values = json.loads((folder / SPACE_FILE).read_text(encoding="utf-8"))
            labels = json.loads((folder / LABELS_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            built = ", ".join(names(folder.parent)) or "none"
            message = f"found no space {folder.name!r}, there are: {built}; run `ra-guard models build` or `pull`"
            raise UnknownSpace(message) from error
        except ValueError as error:
            raise UnknownSpace(f"{folder} holds no space ({error}); build or pull it again") from error
        return cls._from_json(folder, values, labels)

    @classmethod
    def _from_json(cls, folder: Path, values: dict[str, Any], labels: Sequence[str]) -> "Space":
        try:
            low, high = values["cosine_range"]
            return cls(
                name=values["name"],
                dim=values["dim"],
                cosine_range=(low, high),
                preprocessing=values["preprocessing"],
                text=Tower(**values["text"]),
                image=Tower(**values["image"]),
                labels=tuple(labels),
                label_threshold=values.get("label_threshold"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnknownSpace(f"{folder / SPACE_FILE} lacks or garbles {error}; build or pull it again") from error


def canonical_json(value: object) -> str:
    """Sorted keys, no spaces, characters as they are: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def names(models_dir: Path) -> list[str]:
    """The spaces built under ``models_dir``, sorted."""
    if not models_dir.is_dir():
        return []
    return sorted(path.parent.name for path in models_dir.glob(f"[!.]*/{SPACE_FILE}"))
