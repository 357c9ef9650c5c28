"""The ``clip_onnx`` text tower, a CLIP text model with its projection: ``input_ids -> text_embeds``."""

from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

CONTEXT_TOKENS = 77
"""The context length of every published CLIP, start and end tokens included."""

Array = np.ndarray


class Encoder:
    """Embeds texts with ``model.onnx`` and ``tokenizer.json`` in ``folder``."""

    def __init__(self, folder: Path) -> None:
        options = SessionOptions()
        # One thread and one text a run: the same bits whatever else is in the batch.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = folder / "model.onnx"
        self._session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._inputs = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        length = self._inputs["input_ids"][1]
        self._fixed_length = length if isinstance(length, int) else None
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._fixed_length or CONTEXT_TOKENS)

    def embed(self, text: str) -> Array:
        """The unit embedding of a text, ``(dim,) float32``."""
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        mask = np.ones_like(ids)
        if self._fixed_length is not None:
            # CLIP pools at the first end token and attends only backwards, so end tokens after it change nothing.
            missing = self._fixed_length - ids.shape[1]
            ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=ids[0, -1])
            mask = np.pad(mask, ((0, 0), (0, missing)))
        feed = {"input_ids": ids, "attention_mask": mask}
        (embeds,) = self._session.run(["text_embeds"], {name: feed[name] for name in self._inputs})
        return (embeds[0] / np.linalg.norm(embeds[0])).astype(np.float32)
