"""The ``clip_onnx`` image tower, a CLIP vision model with its projection: ``pixel_values -> image_embeds``.

``preprocessor_config.json`` beside it says size, crop, filter, mean and deviation, in the names of CLIP's publishers.
"""

import json
from pathlib import Path

import imaging
import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from PIL import Image

Array = np.ndarray


class Encoder:
    """Embeds images with ``model.onnx`` and ``preprocessor_config.json`` in ``folder``."""

    def __init__(self, folder: Path) -> None:
        options = SessionOptions()
        # One thread and one image a run: the same bits whatever else is in the batch.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = folder / "model.onnx"
        self._session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        config = json.loads((folder / "preprocessor_config.json").read_text())
        self._crop = edge(config["crop_size"])
        self._shortest_edge = edge(config["size"])
        self._resample = Image.Resampling(config.get("resample", Image.Resampling.BICUBIC))
        self._scale = np.float32(config.get("rescale_factor", 1 / 255))
        self._mean = np.array(config["image_mean"], np.float32)
        self._deviation = np.array(config["image_std"], np.float32)

    def embed(self, image: Image.Image) -> Array:
        """The unit embedding of a decoded image, ``(dim,) float32``."""
        pixels = imaging.resize_and_crop(image, self._shortest_edge, self._crop, self._resample)
        values = (pixels * self._scale - self._mean) / self._deviation
        feed = {"pixel_values": np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)}
        (embeds,) = self._session.run(["image_embeds"], feed)
        return (embeds[0] / np.linalg.norm(embeds[0])).astype(np.float32)


def edge(size: int | dict[str, int]) -> int:
    """One edge from the forms that publishers use: 224, {"shortest_edge": 224}, {"height": 224, "width": 224}."""
    return size if isinstance(size, int) else size.get("shortest_edge") or size["height"]
