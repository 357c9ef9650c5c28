"""One file checked: is it an image, has the gallery seen it, under which id does it go in."""

import datetime
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import imagehash
import xxhash

from ra_guard.gallery.catalogue import Catalogue, ImageRecord
from ra_guard.gallery.errors import (
    BadId,
    BadName,
    FileTooLarge,
    IdTaken,
    RefusedImage,
    TooManyPixels,
    UndecodableImage,
)
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.sources import shown
from ra_guard.models import imaging

MAX_ID_BYTES: Final = 128
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_REFUSALS: Final[dict[str, type[RefusedImage]]] = {
    "TOO_MANY_BYTES": FileTooLarge,
    "TOO_MANY_PIXELS": TooManyPixels,
    "NOT_AN_IMAGE": UndecodableImage,
    "BROKEN": UndecodableImage,
}


class IdSource(StrEnum):
    """Where an image's id comes from."""

    DIGEST = "digest"
    """Provider and content digest: the same image has the same id everywhere."""
    NAME = "name"
    """The file's name without its suffix, for galleries that people read."""


@dataclass(frozen=True)
class Provenance:
    """What a person says about the images of one ingest. Raises BadName."""

    domain: str
    licence: str = ""
    provider: str = "internal"
    id_source: IdSource = IdSource.DIGEST

    def __post_init__(self) -> None:
        for field, name in (("domain", self.domain), ("licence", self.licence), ("provider", self.provider)):
            if not _NAME.fullmatch(name) and (field != "licence" or name):
                raise BadName(
                    f"{field}: found {name!r}, wanted 1 to 32 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
                )


def refusal(error: imaging.ImageError) -> RefusedImage:
    """The refusal that stands for an image that cannot be decoded."""
    return _REFUSALS[error.variant](str(error))


def content_digest(data: bytes) -> str:
    """xxh3-128 of the encoded bytes, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def inspect(
    path: Path, data: bytes, provenance: Provenance, limits: imaging.Limits, now: datetime.datetime
) -> ImageRecord:
    """Decodes an image that is new to the gallery and fills in its record. Raises RefusedImage."""
    image_id = _new_id(path, content_digest(data), provenance)
    try:
        image = imaging.decode(data, limits)
    except imaging.ImageError as error:
        raise refusal(error) from error
    return ImageRecord(
        id=image_id,
        digest=content_digest(data),
        url_path=Objects.url_path(image_id),
        domain=provenance.domain,
        provider=provenance.provider,
        license=provenance.licence,
        phash=str(imagehash.phash(image)),
        width=image.width,
        height=image.height,
        bytes=len(data),
        source=shown(path),
        created_at=now.isoformat(timespec="seconds"),
    )


def require_free(catalogue: Catalogue, record: ImageRecord) -> None:
    """Refuses an id that stands for other content: what lies under an id never changes. Raises IdTaken."""
    holder = catalogue.by_id(record.id)
    if holder is not None and holder.digest != record.digest:
        raise IdTaken(f"id {record.id!r} belongs to {holder.source}; rename the file, or ingest with --id-from digest")


def _new_id(path: Path, digest: str, provenance: Provenance) -> str:
    if provenance.id_source is IdSource.DIGEST:
        return f"{provenance.provider}-{digest}"
    try:
        length = len(path.stem.encode())
    except UnicodeEncodeError:
        raise BadId("found a file name that is not UTF-8; rename the file, or ingest with --id-from digest") from None
    if length > MAX_ID_BYTES:
        raise BadId(
            f"found a name of {length} bytes, wanted at most {MAX_ID_BYTES}; rename it, or use --id-from digest"
        )
    return path.stem
