"""clip_text: ``text BYTES [1] -> text_embeds FP32 [dim]``, unit length.

`ra-guard models build` puts the tower's kind beside this file as ``encoder.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from encoder import Encoder


class TritonPythonModel:
    def initialize(self, _args: dict[str, str]) -> None:
        self._encoder = Encoder(Path(__file__).parent)

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()[:, 0]
        try:
            # One text a run, so that a text's bits do not depend on the batch that it arrived in.
            embeds = np.stack([self._encoder.embed(text.decode("utf-8")) for text in texts])
        except UnicodeDecodeError as error:
            invalid = pb_utils.TritonError(f"text: {error}, wanted UTF-8", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse([], invalid)
        return pb_utils.InferenceResponse([pb_utils.Tensor("text_embeds", embeds.astype(np.float32))])
