"""Stand-ins for the models behind Triton, with real answers' types: what they see is the image's own pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image
from ra_guard.errors import TritonRejected, TritonUnavailable
from ra_guard.models.space import Space, Tower

DIM = 24
LABELS = ("red thing", "green thing", "blue thing")
SPACE = Space(
    name="standin",
    dim=DIM,
    cosine_range=(0.0, 1.0),
    preprocessing="none",
    text=Tower("hash", "0" * 64),
    image=Tower("conse", "1" * 64),
    labels=LABELS,
)


@dataclass(frozen=True)
class StandInDetection:
    label: int
    confidence: float
    corners: tuple[float, float, float, float]


class StandInModels:
    """Embeds an image as a direction that its digest chooses, and detects its strongest colour. Counts its calls."""

    def __init__(self) -> None:
        self.images = 0
        self.texts = 0

    def embed_text(self, text: str, timeout_s: float) -> NDArray[np.float32]:
        self.texts += 1
        return direction(text.encode())

    def embed_images(self, images: Sequence[bytes], timeout_s: float) -> NDArray[np.float32]:
        self.images += len(images)
        return np.stack([direction(image) for image in images])

    def detect(self, images: Sequence[bytes], timeout_s: float) -> list[list[StandInDetection]]:
        return [[strongest_colour(image)] for image in images]


class UnreachableModels(StandInModels):
    """Triton is not there."""

    def embed_text(self, text: str, timeout_s: float) -> NDArray[np.float32]:
        raise TritonUnavailable("connection refused; start Triton")

    def embed_images(self, images: Sequence[bytes], timeout_s: float) -> NDArray[np.float32]:
        raise TritonUnavailable("connection refused; start Triton")


class WrongShapeModels(StandInModels):
    """Answers vectors of another space."""

    def embed_images(self, images: Sequence[bytes], timeout_s: float) -> NDArray[np.float32]:
        return super().embed_images(images, timeout_s)[:, 1:]


class NotFiniteModels(StandInModels):
    """What numpy 2 under Triton's Python stub has been seen to do: everything looks right but the values."""

    def embed_images(self, images: Sequence[bytes], timeout_s: float) -> NDArray[np.float32]:
        vectors = super().embed_images(images, timeout_s)
        vectors[-1, 3] = np.nan
        return vectors


class PickyModels(StandInModels):
    """Refuses images of one size, and with them the whole batch, as Triton does."""

    def __init__(self, refused_width: int) -> None:
        super().__init__()
        self._refused_width = refused_width

    def embed_images(self, images: Sequence[bytes], timeout_s: float) -> NDArray[np.float32]:
        if any(Image.open(BytesIO(image)).width == self._refused_width for image in images):
            raise TritonRejected("clip_image refuses the input: cannot read it")
        return super().embed_images(images, timeout_s)


def direction(data: bytes) -> NDArray[np.float32]:
    """A unit vector that the bytes alone decide."""
    vector = np.random.default_rng(xxhash.xxh3_64_intdigest(data)).standard_normal(DIM)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def strongest_colour(image: bytes) -> StandInDetection:
    pixels = np.asarray(Image.open(BytesIO(image)).convert("RGB")).reshape(-1, 3)
    return StandInDetection(int(pixels.mean(axis=0).argmax()), 0.75, (0.25, 0.25, 0.75, 0.75))
