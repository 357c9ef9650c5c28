"""What a gallery holds, for people and scripts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ra_guard._core import Generation
from ra_guard.gallery.catalogue import Catalogue
from ra_guard.gallery.errors import NoSuchImage
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.pools import Pools
from ra_guard.gallery.rows import stored_row


@dataclass(frozen=True)
class ShardDescription:
    """One shard of the generation in force."""

    file: str
    rows: int
    bytes: int
    has_pool: bool


@dataclass(frozen=True)
class GalleryDescription:
    """The generation in force."""

    gallery: str
    generation: int
    space: str
    rows: int
    bytes: int
    dim: int
    dtype: str
    domains: tuple[str, ...]
    licences: tuple[str, ...]
    labels: tuple[str, ...]
    shards: tuple[ShardDescription, ...]
    """Newest first."""
    resident: float
    """Share of the files in memory, 0..1."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return asdict(self)


def describe(folder: Path, generation: Generation) -> GalleryDescription:
    """Describes a generation of the gallery in ``folder``."""
    without_pool = set(Pools.open(folder, generation).missing)
    return GalleryDescription(
        gallery=str(folder),
        generation=generation.number,
        space=generation.space,
        rows=generation.rows,
        bytes=generation.bytes,
        dim=generation.dim,
        dtype=generation.dtype,
        domains=tuple(generation.domains),
        licences=tuple(generation.licences),
        labels=tuple(generation.labels),
        shards=tuple(
            ShardDescription(file, rows, size, file not in without_pool) for file, rows, size in generation.shards
        ),
        resident=generation.resident(),
    )


def show(folder: GalleryFolder, image_id: str) -> dict[str, Any]:
    """Everything known about one image, as plain values. Raises NoSuchImage and ShardError."""
    generation = Generation.open(str(folder.path))
    stored = stored_row(generation, image_id)
    record = None
    if folder.catalogue.exists():
        with Catalogue.open(folder.catalogue) as catalogue:
            record = catalogue.by_id(image_id)
    if stored is None:
        raise NoSuchImage(
            f"{image_id!r}: no row in generation {generation.number}; `ra-guard gallery describe` counts its rows"
        )
    return {
        "id": image_id,
        "generation": generation.number,
        "domain": stored.domain,
        "licence": stored.licence,
        "phash": f"{stored.phash:016x}",
        "has_embedding": stored.has_embedding,
        "has_detections": stored.has_detections,
        "detections": [
            {"label": label, "confidence": confidence, "box": box} for label, confidence, *box in stored.detections
        ],
        "object": Objects(folder.objects).path(image_id).is_file(),
        "record": asdict(record) if record else None,
    }
