"""detector: ``image BYTES [1] -> labels INT32 [32], scores FP32 [32], boxes FP32 [32, 4]``.

Boxes are x0, y0, x1, y1 as fractions of width and height, best first; places without a box have label -1, score 0.
A label is a position in ``labels.json``. `ra-guard models build` puts the kind beside this file as ``finder.py``.
"""

from __future__ import annotations

from pathlib import Path

import imaging
import numpy as np
import triton_python_backend_utils as pb_utils
from finder import Finder

PLACES = 32


class TritonPythonModel:
    def initialize(self, _args: dict[str, str]) -> None:
        self._finder = Finder(Path(__file__).parent)
        self._limits = imaging.Limits()

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()[:, 0]
        labels = np.full((len(images), PLACES), -1, np.int32)
        scores = np.zeros((len(images), PLACES), np.float32)
        boxes = np.zeros((len(images), PLACES, 4), np.float32)
        try:
            # One image a run, so that an image's bits do not depend on the batch that it arrived in.
            for row, image in enumerate(images):
                for place, found in enumerate(self._finder.find(imaging.decode(image, self._limits))[:PLACES]):
                    labels[row, place], scores[row, place], boxes[row, place] = found
        except imaging.ImageError as error:
            invalid = pb_utils.TritonError(f"image: {error}", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse([], invalid)
        tensors = [("labels", labels), ("scores", scores), ("boxes", boxes)]
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, values) for name, values in tensors])
