"""The ``conse`` image tower: a classifier's best guesses, as a point in the text tower's space.

Convex combination of semantic embeddings (Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic
Embeddings", 2013): the mean of the label embeddings of the ten most probable classes, weighted by probability. The
classifier is EfficientNet-lite3 on ImageNet's thousand classes, quantised to eight bits.
"""

from pathlib import Path

import imaging
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

TOP_CLASSES = 10
EDGE = 280
SHORTEST_EDGE = 320
"""The classifier's evaluation crop: the middle 7/8 of the shortest edge."""

Array = np.ndarray


class Encoder:
    """Embeds images with ``classifier.tflite`` and ``label_embeddings.npy (classes, dim) float32`` in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._classifier = Interpreter(str(folder / "classifier.tflite"), num_threads=1)
        self._classifier.allocate_tensors()
        (self._input,) = self._classifier.get_input_details()
        (self._output,) = self._classifier.get_output_details()
        self._label_embeddings: Array = np.load(folder / "label_embeddings.npy")

    def embed(self, image: Image.Image) -> Array:
        """The unit embedding of a decoded image, ``(dim,) float32``."""
        probabilities = self._classify(imaging.resize_and_crop(image, SHORTEST_EDGE, EDGE, Image.Resampling.BILINEAR))
        best = np.argsort(-probabilities, kind="stable")[:TOP_CLASSES]
        mean = probabilities[best] @ self._label_embeddings[best]
        return mean / np.linalg.norm(mean)

    def _classify(self, pixels: Array) -> Array:
        """``(classes,) float32``: probabilities, up to the resolution of eight bits."""
        self._classifier.set_tensor(self._input["index"], pixels[None])
        self._classifier.invoke()
        scale, zero = self._output["quantization"]
        stored = self._classifier.get_tensor(self._output["index"])[0]
        return (stored.astype(np.float32) - zero) * np.float32(scale)
