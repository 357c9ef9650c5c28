"""Files of a folder, and the bytes of one.

Names come from a file system and may be no UTF-8: they are shown with such bytes as ``\\xNN`` and never refused for it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ra_guard.gallery.errors import EmptyFile, FileTooLarge, NoSuchFolder, UnreadableFile


def image_files(folder: Path) -> list[Path]:
    """Every regular file below a folder but hidden ones, in a stable order. Raises NoSuchFolder."""
    if not folder.is_dir():
        raise NoSuchFolder(f"{shown(folder)}: not a folder; name the folder that holds the images")
    return list(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                yield path


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of one file, never more than the cap in memory. Raises EmptyFile, FileTooLarge or UnreadableFile."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UnreadableFile(f"{error.strerror}; make the file readable") from error
    if not data:
        raise EmptyFile("found 0 bytes, wanted an image; the copy may have failed")
    if len(data) > max_bytes:
        raise FileTooLarge(
            f"found {size} bytes, wanted at most {max_bytes}; shrink it or raise gallery.max_image_bytes"
        )
    return data


def shown(path: Path) -> str:
    """A path as text that any terminal and any JSON reader takes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
