"""Decoding: caps before pixels, upright, first frame, RGB; one named cause for everything that is refused."""

import io
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from ra_guard.models import imaging
from ra_guard.models.imaging import ImageError, Limits

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (40, 20), right)
    image.paste(left, (0, 0, 20, 20))
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_lossless_formats_keep_their_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = imaging.decode(encode(halves(RED, BLUE), kind, **options), Limits())
    assert decoded.mode == "RGB"
    assert decoded.getpixel((5, 5)) == RED
    assert decoded.getpixel((35, 5)) == BLUE


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: the top row is on the right when shown.
    decoded = imaging.decode(encode(halves(RED, BLUE), "PNG", exif=exif), Limits())
    assert decoded.size == (20, 40)
    assert decoded.getpixel((10, 5)) == RED
    assert decoded.getpixel((10, 35)) == BLUE


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (GREEN, RED)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert imaging.decode(data, Limits()).getpixel((4, 4)) == GREEN


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_parts_become_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (*RED, 0)).convert(mode)
    assert imaging.to_rgb(clear).getpixel((4, 4)) == WHITE


def test_a_16_bit_grey_is_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert imaging.decode(encode(grey), Limits()).getpixel((4, 4)) == (128, 128, 128)


def test_cmyk_becomes_rgb() -> None:
    decoded = imaging.decode(encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), Limits())
    assert decoded.getpixel((4, 4)) == WHITE


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8))


def oversized_header() -> bytes:
    """A PNG whose header says 60000 x 60000, without the pixels."""
    data = bytearray(encode(Image.new("L", (1, 1))))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "limits", "variant"),
    [
        (lambda: encode(halves(RED, BLUE)), Limits(bytes=10), "TOO_MANY_BYTES"),
        (lambda: encode(halves(RED, BLUE)), Limits(pixels=799), "TOO_MANY_PIXELS"),
        (oversized_header, Limits(), "TOO_MANY_PIXELS"),
        (lambda: b"", Limits(), "NOT_AN_IMAGE"),
        (lambda: b"<svg/>", Limits(), "NOT_AN_IMAGE"),
        (lambda: encode(halves(RED, BLUE), "BMP"), Limits(), "NOT_AN_IMAGE"),
        (lambda: encode(noise(), "JPEG")[:4000], Limits(), "BROKEN"),
        (lambda: encode(noise(), "PNG")[:4000], Limits(), "BROKEN"),
        (lambda: encode(noise(), "WEBP")[:4000], Limits(), "NOT_AN_IMAGE"),  # Its reader wants the whole file to open.
    ],
)
def test_what_is_refused_and_why(make: Callable[[], bytes], limits: Limits, variant: str) -> None:
    with pytest.raises(ImageError) as refused:
        imaging.decode(make(), limits)
    assert refused.value.variant == variant


def test_a_limit_is_inclusive() -> None:
    data = encode(halves(RED, BLUE))
    assert imaging.decode(data, Limits(bytes=len(data), pixels=800)).size == (40, 20)


def test_resize_whole_keeps_every_part() -> None:
    pixels = imaging.resize_whole(halves(RED, BLUE), 10, 10, Image.Resampling.BILINEAR)
    assert pixels.shape == (10, 10, 3)
    assert tuple(pixels[5, 0]) == RED
    assert tuple(pixels[5, 9]) == BLUE


def test_resize_and_crop_keeps_the_middle() -> None:
    image = Image.new("RGB", (60, 20), GREEN)
    image.paste(RED, (0, 0, 20, 20))
    image.paste(BLUE, (40, 0, 60, 20))
    pixels = imaging.resize_and_crop(image, 20, 20, Image.Resampling.BICUBIC)
    assert (pixels == GREEN).all()


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = imaging.resize_whole(Image.fromarray(stripes), 8, 8, Image.Resampling.BILINEAR)
    assert abs(int(pixels.mean()) - 127) <= 1
    assert pixels.std() < 8  # Without antialiasing every pixel would be black or white.
