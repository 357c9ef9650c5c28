"""Where the parts of a gallery lie, and the locks that keep writers apart.

Readers never lock: a generation is immutable and `CURRENT` is replaced by rename.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ra_guard._core import Generation, ShardError
from ra_guard.gallery.errors import AlreadyRunning, DiskFull, NotStored

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class GalleryFolder:
    """Names inside one gallery folder. Nothing is created before `create`."""

    path: Path

    @property
    def shards(self) -> Path:
        """Feature shards, ``<name>.shard``, each with its ``<name>.pool`` folder."""
        return self.path / "shards"

    @property
    def generations(self) -> Path:
        """Manifests, ``0000000007.json``."""
        return self.path / "generations"

    @property
    def objects(self) -> Path:
        """Encoded images as they came."""
        return self.path / "objects"

    @property
    def quarantine(self) -> Path:
        """What could not be used, and why."""
        return self.path / "quarantine"

    @property
    def catalogue(self) -> Path:
        """Metadata of every image."""
        return self.path / "catalogue.sqlite"

    def create(self) -> None:
        """Makes the folders that are missing."""
        for folder in (self.shards, self.generations, self.objects, self.quarantine):
            folder.mkdir(parents=True, exist_ok=True)

    def current(self) -> Generation | None:
        """The generation in force; None before the first."""
        try:
            return Generation.open(str(self.path))
        except ShardError as error:
            if error.variant == "NoGeneration":
                return None
            raise

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Names what the file system refuses. Raises DiskFull or NotStored; the core raises its own ShardError."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFull(f"{self.path}: {error.strerror}; free space, then run again: nothing is lost") from error
            raise NotStored(f"{self.path}: {error}; make the gallery folder writable") from error
        except sqlite3.Error as error:
            # A full disk reaches SQLite as an I/O error as often as by its own name.
            if error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                raise DiskFull(f"{self.catalogue}: {error}; free space, then run again: nothing is lost") from error
            raise NotStored(
                f"{self.catalogue}: {error}; move the file away, an ingest of the images rebuilds it"
            ) from error

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Waits its turn to replace the generation: read the current one, write, publish, all inside.

        Held for the length of a publish, not of an ingest, so that cold features and an ingest do not starve each
        other. A process that dies gives it back.
        """
        with _locked(self.path / "WRITER", fcntl.LOCK_EX):
            yield

    @contextmanager
    def ingesting(self) -> Iterator[None]:
        """Refuses to run beside another ingest of the same gallery. Raises AlreadyRunning."""
        try:
            with _locked(self.path / "INGEST", fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise AlreadyRunning(
                f"{self.path}: another ingest is running here; wait for it to finish, its work is not lost"
            ) from None


@contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Puts a file in place as a whole or not at all: temporary file, fsync, rename.

    The folder is not synced: an object that a power cut takes away is found missing and fetched again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
