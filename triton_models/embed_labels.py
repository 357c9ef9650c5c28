"""Embeds a list of labels with a text tower: ``embed_labels.py TOWER_FOLDER LABELS_TXT OUT_NPY``.

A step of `ra-guard models build` for image towers of kind ``conse``. Runs in the Triton environment.
"""

import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    tower, labels, out = map(Path, sys.argv[1:])
    sys.path.insert(0, str(tower))
    from encoder import Encoder

    encoder = Encoder(tower)
    np.save(out, np.stack([encoder.embed(label) for label in labels.read_text(encoding="utf-8").splitlines()]))
