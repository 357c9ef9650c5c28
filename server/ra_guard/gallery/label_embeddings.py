"""Text embeddings of the detector's labels: what a query's vector is compared with when it names no label.

Every shard carries them, so they are computed once for a space and a label list and kept beside the space. A label is
phrased as the space's image vectors were: CLIP was trained on captions, so ``a photo of a dog``; the embedded demo
space averages the vectors of bare class names, so ``dog``.
"""

import io
from pathlib import Path

import numpy as np
import xxhash

from ra_guard.gallery.features import FeatureSpace, ImageModels, unit_rows
from ra_guard.gallery.folder import write_whole
from ra_guard.gallery.rows import Float32
from ra_guard.models.space import Space

_CAPTION = "a photo of a {label}"
_BARE = "{label}"


def template(space: Space) -> str:
    """How a label is phrased in a space."""
    return _BARE if space.image.kind == "conse" else _CAPTION


def open_feature_space(models: ImageModels, folder: Path, dtype: str, timeout_s: float) -> FeatureSpace:
    """The space in a folder of ``models/``, with its label embeddings. Raises UnknownSpace and what those raise."""
    space = Space.load(folder)
    return FeatureSpace(space, dtype, label_embeddings(models, space, folder, timeout_s))


def label_embeddings(models: ImageModels, space: Space, folder: Path, timeout_s: float) -> Float32:
    """``(n_labels, dim) float32`` unit rows; read from the space's folder once they are there.

    Raises UnusableFeatures for a nonsensical answer and the client's errors when the models cannot be reached.
    """
    phrase = template(space)
    shape = (len(space.labels), space.dim)
    path = folder / f"label-embeddings-{_digest(space, phrase)}.npy"
    if path.exists():
        return unit_rows(np.load(path), shape, str(path))
    answers = [models.embed_text(phrase.format(label=label), timeout_s) for label in space.labels]
    rows = unit_rows(np.stack(answers), shape, "clip_text")
    buffer = io.BytesIO()
    np.save(buffer, rows)
    write_whole(path, buffer.getvalue())
    return rows


def _digest(space: Space, phrase: str) -> str:
    return xxhash.xxh3_128_hexdigest(f"{space.fingerprint} {space.labels_digest} {phrase}".encode())
