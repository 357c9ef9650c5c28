"""SSD MobileNet v2 trained on COCO, run by OpenCV's network module on the whole image at 300x300."""

import json
from pathlib import Path

import cv2
import imaging
import numpy as np
from PIL import Image

EDGE = 300
LEAST_SCORE = 0.2
"""Below it the network mostly guesses, and many guesses would add up to a presence that nothing shows."""

Found = tuple[int, float, tuple[float, float, float, float]]
"""Label, score, corners."""


class Finder:
    """Finds objects with ``network.pb``, ``network.pbtxt`` and ``classes.json`` in ``folder``."""

    def __init__(self, folder: Path) -> None:
        cv2.setNumThreads(1)
        self._network = cv2.dnn.readNetFromTensorflow(str(folder / "network.pb"), str(folder / "network.pbtxt"))
        # COCO numbers its 80 classes 1 to 90, with gaps; a label is a class's place in the list.
        classes = json.loads((folder / "classes.json").read_text())
        self._labels = {number: label for label, (number, _) in enumerate(classes)}

    def find(self, image: Image.Image) -> list[Found]:
        """The objects in a decoded image, best first."""
        pixels = imaging.resize_whole(image, EDGE, EDGE, Image.Resampling.BILINEAR)
        self._network.setInput(cv2.dnn.blobFromImage(pixels))
        # (boxes, 7): always 0, class, score, x0, y0, x1, y1
        rows = self._network.forward()[0, 0]
        rows = rows[np.argsort(-rows[:, 2], kind="stable")]
        found = []
        for _, number, score, *corners in rows[rows[:, 2] >= LEAST_SCORE]:
            x0, y0, x1, y1 = np.clip(corners, 0.0, 1.0)
            if int(number) in self._labels and x0 < x1 and y0 < y1:
                found.append((self._labels[int(number)], score, (x0, y0, x1, y1)))
        return found
