"""From an image's bytes to the pixels that a model sees: one implementation for the gallery and Triton's models.

`ra-guard models build` copies this file into every image model's folder, and its digest is part of the embedding
space: a change here changes pixels, so it makes another space. It needs Pillow and numpy only, reads no clock and no
file, and gives the same pixels for the same bytes (for one version of Pillow, whose decoders it trusts).
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
"""What Pillow may try. A phone's multi-picture JPEG comes in under JPEG."""

Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
"""``(height, width, 3) uint8``, RGB."""


@dataclass(frozen=True)
class Limits:
    """What an image may cost. Both are checked before any pixel is decoded."""

    bytes: int = 32 * 1024 * 1024
    pixels: int = 64 * 1000 * 1000


class ImageError(ValueError):
    """An image that will not be decoded. ``variant``: TOO_MANY_BYTES, TOO_MANY_PIXELS, NOT_AN_IMAGE or BROKEN."""

    def __init__(self, variant: str, message: str) -> None:
        super().__init__(message)
        self.variant = variant


def decode(data: bytes, limits: Limits) -> Image.Image:
    """The first frame, upright (EXIF orientation applied), as RGB; transparent parts become white.

    Raises `ImageError`.
    """
    if len(data) > limits.bytes:
        raise ImageError("TOO_MANY_BYTES", f"found {len(data)} bytes, wanted at most {limits.bytes}; shrink the image")
    try:
        with warnings.catch_warnings():
            # The cap on pixels is ours, below; Pillow's own is a process-wide setting that only warns at first.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError("TOO_MANY_PIXELS", f"{error}; wanted at most {limits.pixels} pixels") from error
    except Exception as error:  # Pillow's parsers raise whatever a hostile header leads them to.
        wanted = ", ".join(FORMATS)
        raise ImageError("NOT_AN_IMAGE", f"found {len(data)} bytes that are no image, wanted {wanted}") from error
    if image.width * image.height > limits.pixels:
        found = f"{image.width} x {image.height}"
        raise ImageError("TOO_MANY_PIXELS", f"found {found} pixels, wanted at most {limits.pixels}; shrink the image")
    try:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:
        raise ImageError("BROKEN", f"a {image.format} image that ends early or is damaged: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16-bit greys are scaled rather than clipped, transparency is laid over white."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(np.minimum(grey, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def resize_whole(image: Image.Image, width: int, height: int, resample: Image.Resampling) -> Pixels:
    """The whole image at exactly this size, antialiased, whatever that does to its proportions."""
    return np.asarray(image.resize((width, height), resample))


def resize_and_crop(image: Image.Image, shortest_edge: int, crop: int, resample: Image.Resampling) -> Pixels:
    """Scales the shortest edge, antialiased, then cuts the ``crop`` x ``crop`` square in the middle.

    A crop larger than the scaled image is filled with black around it.
    """
    scale = shortest_edge / min(image.size)
    # The long edge is cut down, not rounded: the rule of CLIP's own preprocessing.
    width, height = (shortest_edge if edge == min(image.size) else int(edge * scale) for edge in image.size)
    scaled = image.resize((width, height), resample)
    left, top = (width - crop) // 2, (height - crop) // 2
    return np.asarray(scaled.crop((left, top, left + crop, top + crop)))
