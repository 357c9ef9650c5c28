"""clip_image: ``image BYTES [1]``, an encoded image, ``-> image_embeds FP32 [dim]``, unit length.

`ra-guard models build` puts the tower's kind beside this file as ``encoder.py``, and the server's ``imaging.py``.
"""

from __future__ import annotations

from pathlib import Path

import imaging
import numpy as np
import triton_python_backend_utils as pb_utils
from encoder import Encoder


class TritonPythonModel:
    def initialize(self, _args: dict[str, str]) -> None:
        self._encoder = Encoder(Path(__file__).parent)
        self._limits = imaging.Limits()

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()[:, 0]
        try:
            # One image a run, so that an image's bits do not depend on the batch that it arrived in.
            embeds = np.stack([self._encoder.embed(imaging.decode(image, self._limits)) for image in images])
        except imaging.ImageError as error:
            invalid = pb_utils.TritonError(f"image: {error}", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse([], invalid)
        return pb_utils.InferenceResponse([pb_utils.Tensor("image_embeds", embeds.astype(np.float32))])
