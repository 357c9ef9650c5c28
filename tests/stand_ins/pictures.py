"""Small images on disk, good and bad."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 20), "green": (20, 200, 30), "blue": (30, 40, 210)}


def picture(colour: str = "red", size: tuple[int, int] = (64, 48), seed: int = 0, kind: str = "PNG") -> bytes:
    """An encoded image with some texture, mostly of one colour."""
    noise = np.random.default_rng(seed).integers(-20, 21, (size[1], size[0], 3))
    pixels = (np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def pixel_bomb(width: int, height: int) -> bytes:
    """A valid PNG header of any size in a file of a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def write_pictures(folder: Path, count: int = 6) -> list[Path]:
    """``count`` different images, named by number and colour."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        colour = list(COLOURS)[number % 3]
        path = folder / f"{number:03}-{colour}.png"
        path.write_bytes(picture(colour, seed=number))
        paths.append(path)
    return paths
