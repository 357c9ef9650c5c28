"""The ``minilm`` text tower: all-MiniLM-L6-v2, a BERT of six layers, forward pass in numpy.

numpy rather than an ONNX graph: the weights are used as published, nothing is exported at build time, and one text at
a time on one thread gives the same bits whatever else is in the batch. A query of ten words takes a few milliseconds.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

HEADS = 12
MAX_TOKENS = 256
"""The length that the published model truncates at, [CLS] and [SEP] included."""

Array = np.ndarray


class Encoder:
    """Embeds texts with the weights in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._weights = load_file(folder / "model.safetensors")
        self._layers = 1 + max(int(name.split(".")[2]) for name in self._weights if name.startswith("encoder.layer."))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, text: str) -> Array:
        """The unit embedding of a text, ``(384,) float32``: the mean over its tokens, normalised."""
        mean = self._hidden_states(self._tokenizer.encode(text).ids).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _hidden_states(self, ids: list[int]) -> Array:
        """``(tokens, 384)``: the last layer. No padding, so attention needs no mask."""
        word, position, kind = (
            self._weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        x = self._normalise("embeddings", word[ids] + position[: len(ids)] + kind[0])
        for layer in range(self._layers):
            at = f"encoder.layer.{layer}"
            x = self._normalise(f"{at}.attention.output", x + self._attend(f"{at}.attention", x))
            wide = gelu(self._dense(f"{at}.intermediate.dense", x))
            x = self._normalise(f"{at}.output", x + self._dense(f"{at}.output.dense", wide))
        return x

    def _attend(self, at: str, x: Array) -> Array:
        # (tokens, 384) -> (heads, tokens, 32)
        query, key, value = (
            self._dense(f"{at}.self.{name}", x).reshape(len(x), HEADS, -1).swapaxes(0, 1)
            for name in ("query", "key", "value")
        )
        weights = softmax(query @ key.swapaxes(1, 2) / np.float32(np.sqrt(key.shape[2])))
        return self._dense(f"{at}.output.dense", (weights @ value).swapaxes(0, 1).reshape(x.shape))

    def _dense(self, at: str, x: Array) -> Array:
        return x @ self._weights[f"{at}.weight"].T + self._weights[f"{at}.bias"]

    def _normalise(self, at: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        return centred / deviation * self._weights[f"{at}.LayerNorm.weight"] + self._weights[f"{at}.LayerNorm.bias"]


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def gelu(x: Array) -> Array:
    return np.float32(0.5) * x * (1 + erf(x / np.float32(np.sqrt(2))))


def erf(x: Array) -> Array:
    """Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7, the resolution of float32 near 1."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    series = np.zeros_like(t)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(coefficient)) * t
    return np.sign(x) * (1 - series * np.exp(-x * x))
