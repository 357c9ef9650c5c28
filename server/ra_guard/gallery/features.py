"""Images in, features out, through the models that Triton serves, with nothing taken on trust.

What comes back must be finite, of the space's dimension and of unit length, or the run stops: a model that answers
nonsense once would otherwise fill a gallery with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ra_guard._core import Generation
from ra_guard.errors import TritonRejected
from ra_guard.gallery.errors import RefusedByModel, SpaceConflict, UnusableFeatures
from ra_guard.gallery.rows import Features, Float32
from ra_guard.models.space import Space

UNIT_LENGTH_TOLERANCE = 1e-3
"""How far from 1 the length of a model's answer may be; within it, the answer is scaled to 1."""


class FoundObject(Protocol):
    """One detection; `serving.triton.Detection` is one."""

    @property
    def label(self) -> int: ...
    @property
    def confidence(self) -> float: ...
    @property
    def corners(self) -> tuple[float, float, float, float]: ...


class ImageModels(Protocol):
    """The part of `serving.triton.TritonModels` that a gallery needs."""

    def embed_text(self, text: str, timeout_s: float) -> Float32: ...
    def embed_images(self, images: Sequence[bytes], timeout_s: float) -> Float32: ...
    def detect(self, images: Sequence[bytes], timeout_s: float) -> Sequence[Sequence[FoundObject]]: ...


@dataclass(frozen=True)
class FeatureSpace:
    """What makes the features of a gallery comparable: an embedding space, a detector, a storage type."""

    space: Space
    dtype: str
    """How shards store embeddings: f32, f16 or i8."""
    label_embeddings: Float32
    """``(n_labels, dim) float32``, unit rows."""

    def require(self, generation: Generation) -> None:
        """Refuses to add features to a gallery that holds others. Raises SpaceConflict."""
        if generation.space != self.space.fingerprint:
            raise SpaceConflict(
                f"the gallery's embedding space is {generation.space}, the models answer in {self.space.fingerprint}; "
                "serve the gallery's space, or ingest into an empty gallery folder"
            )
        if tuple(generation.labels) != self.space.labels:
            raise SpaceConflict(
                f"the gallery knows {len(generation.labels)} labels, the detector {len(self.space.labels)} others; "
                "serve the gallery's detector, or ingest into an empty gallery folder"
            )
        if generation.dtype != self.dtype:
            raise SpaceConflict(
                f"the gallery stores {generation.dtype} embeddings, gallery.dtype is {self.dtype}; "
                f"set gallery.dtype to {generation.dtype}, or ingest into an empty gallery folder"
            )


class Featurizer:
    """Computes features in batches."""

    def __init__(self, models: ImageModels, space: Space, timeout_s: float) -> None:
        self._models = models
        self._space = space
        self._timeout_s = timeout_s

    def features(self, images: Sequence[bytes]) -> list[Features | RefusedByModel]:
        """Features of each image, in order; an image that only the models cannot read is refused alone.

        Raises UnusableFeatures for a nonsensical answer and the client's errors when the models cannot be reached.
        """
        try:
            return [*self._batch(images)]
        except TritonRejected as error:
            if len(images) == 1:
                return [RefusedByModel(str(error))]
        return [outcome for image in images for outcome in self.features([image])]

    def _batch(self, images: Sequence[bytes]) -> Iterator[Features]:
        embeddings = self._models.embed_images(images, self._timeout_s)
        detections = self._models.detect(images, self._timeout_s)
        units = unit_rows(embeddings, (len(images), self._space.dim), "clip_image")
        if len(detections) != len(images):
            raise UnusableFeatures(f"detector: found {len(detections)} answers, wanted {len(images)}; check the model")
        for unit, found in zip(units, detections, strict=True):
            boxes = [(item.label, item.confidence, *item.corners) for item in found]
            yield Features(unit, np.array(boxes, np.float32).reshape(-1, 6))


def unit_rows(found: Float32, shape: tuple[int, int], model: str) -> Float32:
    """A model's embeddings, scaled to unit length in double precision. Raises UnusableFeatures."""
    if found.shape != shape:
        raise UnusableFeatures(f"{model}: found shape {found.shape}, wanted {shape}; serve the model of this space")
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).all(axis=1)))
        raise UnusableFeatures(f"{model}: embedding {row} of the batch is not finite; check the model")
    norms = np.linalg.norm(found.astype(np.float64), axis=1, keepdims=True)
    if (abs(norms - 1) > UNIT_LENGTH_TOLERANCE).any():
        worst = float(norms[np.argmax(abs(norms - 1)), 0])
        raise UnusableFeatures(f"{model}: found an embedding of length {worst:.4g}, wanted 1; the model must normalise")
    return np.asarray(found / norms, np.float32)
