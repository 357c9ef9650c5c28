import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ra_guard.gallery.catalogue import Catalogue, ImageRecord
from ra_guard.gallery.errors import BadId, BadName, IdTaken, RefusedImage
from ra_guard.gallery.intake import IdSource, Provenance, content_digest, inspect, refusal, require_free
from ra_guard.models.imaging import ImageError

from tests.stand_ins.gallery_setup import LIMITS, NOW
from tests.stand_ins.pictures import picture, pixel_bomb


def inspected(data: bytes, name: str = "rose.jpg", provenance: Provenance | None = None) -> ImageRecord:
    return inspect(Path(name), data, provenance or Provenance("flowers", "cc0"), LIMITS, NOW)


def test_a_record_says_what_the_image_is() -> None:
    data = picture(size=(64, 48))
    record = inspected(data)
    assert record.id == f"internal-{content_digest(data)}"
    assert (record.width, record.height, record.bytes) == (64, 48, len(data))
    assert (record.domain, record.license, record.source) == ("flowers", "cc0", "rose.jpg")
    assert len(record.id.encode()) <= 128


def test_orientation_is_applied_before_anything_is_measured() -> None:
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 20)).save(buffer, "JPEG", exif=exif)
    record = inspected(buffer.getvalue())
    assert (record.width, record.height) == (20, 60)


def test_an_animation_counts_as_its_first_frame() -> None:
    buffer = BytesIO()
    gradient = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    first, second = (Image.fromarray(pixels) for pixels in (gradient, 255 - gradient))
    first.save(buffer, "GIF", save_all=True, append_images=[second])
    still = BytesIO()
    first.save(still, "GIF")
    reverse = BytesIO()
    second.save(reverse, "GIF")
    phash = inspected(buffer.getvalue()).phash
    assert phash == inspected(still.getvalue()).phash
    assert phash != inspected(reverse.getvalue()).phash


def test_the_perceptual_hash_survives_another_encoding() -> None:
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    image = coarse.resize((256, 256), Image.Resampling.BICUBIC)
    hashes = []
    for kind, size in (("PNG", 256), ("JPEG", 256), ("WEBP", 128)):
        buffer = BytesIO()
        image.resize((size, size)).save(buffer, kind)
        hashes.append(int(inspected(buffer.getvalue()).phash, 16))
    assert max((hashes[0] ^ other).bit_count() for other in hashes) <= 6


@pytest.mark.parametrize(
    ("data", "variant"),
    [
        (b"just some text, whatever its name says\n", "UndecodableImage"),
        (picture(kind="JPEG", size=(200, 200))[:700], "UndecodableImage"),
        (picture()[:-200], "UndecodableImage"),
        (pixel_bomb(40_000, 40_000), "TooManyPixels"),
        (pixel_bomb(1001, 1000), "TooManyPixels"),
        (b"\x89PNG\r\n\x1a\n", "UndecodableImage"),
        (b"\0" * 1000, "UndecodableImage"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "UndecodableImage"),
    ],
)
def test_what_is_no_image_is_refused_by_name(data: bytes, variant: str) -> None:
    with pytest.raises(RefusedImage) as refused:
        inspected(data)
    assert refused.value.variant == variant


def test_every_refusal_of_the_decoder_has_a_name_here() -> None:
    variants = {
        refusal(ImageError(variant, "")).variant
        for variant in ("TOO_MANY_BYTES", "TOO_MANY_PIXELS", "NOT_AN_IMAGE", "BROKEN")
    }
    assert variants == {"FileTooLarge", "TooManyPixels", "UndecodableImage"}


@pytest.mark.parametrize("name", ["", "Flowers", "flo wers", "../x", "-x", "x" * 33, "blüten", "a\n", "a/b"])
def test_names_that_cannot_be_a_domain(name: str) -> None:
    with pytest.raises(BadName, match="domain: found"):
        Provenance(name)
    with pytest.raises(BadName, match="provider: found"):
        Provenance("flowers", provider=name)


def test_a_licence_may_be_unknown() -> None:
    assert Provenance("flowers", licence="").licence == ""
    with pytest.raises(BadName, match="licence: found"):
        Provenance("flowers", licence="CC BY")


def test_ids_from_names() -> None:
    by_name = Provenance("flowers", id_source=IdSource.NAME)
    assert inspected(picture(), "in/red rose.jpg", by_name).id == "red rose"
    with pytest.raises(BadId, match="not UTF-8"):
        inspected(picture(), os.fsdecode(b"caf\xe9.jpg"), by_name)
    with pytest.raises(BadId, match="129 bytes"):
        inspected(picture(), "x" * 129 + ".jpg", by_name)


def test_an_id_stands_for_one_content_for_ever(tmp_path: Path) -> None:
    record = inspected(picture(seed=1), "rose.jpg", Provenance("flowers", id_source=IdSource.NAME))
    with Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        require_free(catalogue, record)
        catalogue.add([record])
        require_free(catalogue, record)
        with pytest.raises(IdTaken, match=r"belongs to rose\.jpg"):
            require_free(catalogue, replace(record, digest="00" * 16))
