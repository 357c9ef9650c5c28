"""Images that could not be used: a copy of the bytes and a JSON record of why, for a person to look at.

Records are named by the digest of where the image came from: refusing the same file again rewrites one record, and
accepting it later clears it.
"""

import datetime
import json
from pathlib import Path

import xxhash

from ra_guard.gallery.errors import RefusedImage
from ra_guard.gallery.folder import write_whole


class Quarantine:
    """The quarantine folder of one gallery."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, source: str, error: RefusedImage, data: bytes | None, now: datetime.datetime) -> Path:
        """Keeps a refused image; ``data`` is None when its bytes were never read. Returns the record's path."""
        name = _name(source)
        record = {
            "source": source,
            "variant": error.variant,
            "reason": str(error),
            "bytes": None if data is None else len(data),
            "quarantined_at": now.isoformat(timespec="seconds"),
        }
        if data is not None:
            write_whole(self._folder / f"{name}.image", data)
        path = self._folder / f"{name}.json"
        write_whole(path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
        return path

    def clear(self, source: str) -> None:
        """Forgets a source that has been accepted after all."""
        for suffix in ("image", "json"):
            (self._folder / f"{_name(source)}.{suffix}").unlink(missing_ok=True)


def _name(source: str) -> str:
    return xxhash.xxh3_128_hexdigest(source.encode())
