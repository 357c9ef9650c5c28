"""Loads a pair of towers as Triton will, embeds a text and an image, and prints what came out as one line of JSON.

``trial.py TEXT_FOLDER IMAGE_FOLDER``. A step of `ra-guard models build` and `pull`, so that a model which cannot work
is refused before it is published. Runs in the Triton environment.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def load(folder: Path) -> Any:
    """The tower's Encoder; both towers' files are called encoder.py, so neither may be imported by that name."""
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(f"encoder_of_{folder.parent.name}", folder / "encoder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Encoder(folder)


def facts(embedding: np.ndarray) -> dict[str, object]:
    return {"dim": embedding.size, "dtype": str(embedding.dtype), "norm": float(np.linalg.norm(embedding))}


if __name__ == "__main__":
    text, image = map(Path, sys.argv[1:])
    ramp = np.linspace(0, 255, 96 * 64 * 3, dtype=np.uint8).reshape(64, 96, 3)
    report = {
        "text": facts(load(text).embed("a photo of a cat")),
        "image": facts(load(image).embed(Image.fromarray(ramp))),
    }
    sys.stdout.write(json.dumps(report))
