"""Encoded images as they came, one file an image: what cold features and new embedding spaces are computed from.

An id may hold any UTF-8, so a file is named by the id with everything unusual percent-encoded, under a folder named
by two hex digits of the id's digest: at most 256 folders, evenly filled.
"""

from pathlib import Path
from urllib.parse import quote

import xxhash

from ra_guard.gallery.folder import write_whole

_LONGEST_NAME = 200
"""File systems allow 255 bytes; temporary names need some of them."""


class Objects:
    """The object folder of one gallery."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, image_id: str, data: bytes) -> None:
        """Stores an image; one that is there already stays, for the bytes under an id never change."""
        path = self.path(image_id)
        if not path.exists():
            write_whole(path, data)

    def read(self, image_id: str) -> bytes | None:
        """The encoded image; None where there is none."""
        try:
            return self.path(image_id).read_bytes()
        except FileNotFoundError:
            return None

    def path(self, image_id: str) -> Path:
        """Where an image lies or would lie: inside the object folder, whatever the id."""
        return self._folder / self.url_path(image_id)

    @staticmethod
    def url_path(image_id: str) -> str:
        """The same, relative to the object folder, with ``/`` between the parts."""
        digest = xxhash.xxh3_128_hexdigest(image_id.encode())
        name = quote(image_id, safe="").replace(".", "%2E") if image_id.startswith(".") else quote(image_id, safe="")
        # No percent-encoded name begins with "=", so the two kinds of name cannot collide.
        return f"{digest[:2]}/{name if len(name) <= _LONGEST_NAME else '=' + digest}"
