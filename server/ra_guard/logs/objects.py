"""The object store of logs: a folder (default) or S3, through obstore. Objects are written once, whole, by name.

A folder's objects are synced, and so are the folders that name them, before `put_new` returns: what was shipped is
then deleted at its source, and must outlive a power cut. S3 gives that promise with its answer.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import IO, Final, Protocol, Self

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, ObjectStore, S3Store

from ra_guard.logs.durable import sync
from ra_guard.logs.errors import BadObjectsUrl, NoSuchObject, ObjectsDenied, ObjectsFull, ObjectsUnreachable
from ra_guard.logs.layout import SEALED, Kind, day_of, day_prefix

REQUEST_TIMEOUT: Final = timedelta(seconds=60)
"""One request: a whole segment goes up in it."""
CONNECT_TIMEOUT: Final = timedelta(seconds=5)
RETRIES: Final = 3
RETRY_FOR: Final = timedelta(seconds=20)
"""Longer outages are the next pass's."""
DELETE_AT_ONCE: Final = 1000
_FULL_WORDS = ("StorageFull", "QuotaExceeded", "FilesystemQuotaExceeded", "507 Insufficient", "os error 27")
"""What a full store says: no space, no quota, a file too large for the process."""


class Put(Enum):
    """What became of an object that was put."""

    STORED = "stored"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Listed:
    """One object as a listing shows it."""

    key: str
    size: int
    modified: datetime | None = field(default=None, compare=False)
    """By the store's clock; None where it does not say."""


class Objects(Protocol):
    """What shipping, export and retention ask of a store. Every method may raise ObjectsUnreachable or its siblings."""

    def put_new(self, key: str, data: IO[bytes] | bytes) -> Put:
        """Stores an object unless one has its name already."""

    def replace(self, key: str, data: bytes) -> None:
        """Stores an object, whatever had its name."""

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""

    def read(self, key: str) -> bytes:
        """A small object. Raises NoSuchObject."""

    def under(self, prefix: str) -> Iterator[Listed]:
        """The objects whose names begin with a folder, ``/`` at its end."""

    def days(self, kind: Kind) -> list[date]:
        """The days that have segments, in order."""

    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        """A context with a file that holds the object. Raises NoSuchObject."""

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects; one that is gone already is no error."""


def segments_of(objects: Objects, kind: Kind, day: date) -> list[Listed]:
    """The segments of one day, by name, and so by writer and time."""
    listed = (each for each in objects.under(day_prefix(kind, day)) if each.key.endswith(SEALED))
    return sorted(listed, key=lambda each: each.key)


class StoredObjects:
    """Objects behind obstore. Thread-safe."""

    def __init__(self, store: ObjectStore, url: str, folder: Path | None) -> None:
        self.url = url
        self._store = store
        self._folder = folder

    @classmethod
    def open(cls, url: str) -> Self:
        """By ``s3://bucket/prefix``, ``file:///folder`` or the path of a folder, which is made.

        S3's endpoint, region and keys come from the environment's AWS_ variables. Raises BadObjectsUrl.
        """
        scheme, separator, rest = url.partition("://")
        if not separator or scheme == "file":
            return cls._open_folder(url, Path(rest if separator else url))
        if scheme != "s3" or not rest.partition("/")[0]:
            raise BadObjectsUrl(
                f"log.objects: found {url!r}, wanted a folder, file:///folder or s3://bucket/prefix; correct the option"
            )
        try:
            return cls(_s3(url), url, None)
        except (BaseError, ValueError) as error:
            raise BadObjectsUrl(f"log.objects: {url}: {_first_line(error)}; check it and the AWS_ variables") from None

    @classmethod
    def _open_folder(cls, url: str, folder: Path) -> Self:
        if not str(url).strip() or (url.startswith("file://") and not folder.is_absolute()):
            raise BadObjectsUrl(f"log.objects: found {url!r}, wanted file:///folder or a path; correct the option")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder, mkdir=True), url, folder.resolve())
        except (BaseError, OSError) as error:
            raise ObjectsDenied(f"{folder}: {_first_line(error)}; make the folder writable") from None

    def put_new(self, key: str, data: IO[bytes] | bytes) -> Put:
        """Stores an object unless one has its name already; it is durable in both cases."""
        with self._naming(key):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
                outcome = Put.STORED
            except AlreadyExistsError:
                outcome = Put.PRESENT
            self._sync(key)
        return outcome

    def replace(self, key: str, data: bytes) -> None:
        """Stores an object, whatever had its name."""
        with self._naming(key):
            obstore.put(self._store, key, data, use_multipart=False)
            self._sync(key)

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        try:
            with self._naming(key):
                return obstore.head(self._store, key)["size"]
        except NoSuchObject:
            return None

    def read(self, key: str) -> bytes:
        """A small object. Raises NoSuchObject."""
        with self._naming(key):
            return bytes(obstore.get(self._store, key).bytes())

    def under(self, prefix: str) -> Iterator[Listed]:
        """The objects whose names begin with a folder, ``/`` at its end; a folder's staging files are none."""
        with self._naming(prefix):
            for chunk in obstore.list(self._store, prefix):
                yield from (Listed(each["path"], each["size"], each["last_modified"]) for each in chunk)

    def days(self, kind: Kind) -> list[date]:
        """The days that have segments, in order; a folder that emptied is no day."""
        with self._naming(kind.value):
            prefixes = obstore.list_with_delimiter(self._store, f"{kind.value}/")["common_prefixes"]
        days = [(day, prefix) for prefix in prefixes if (day := day_of(prefix)) is not None]
        return sorted(day for day, prefix in days if next(self.under(f"{prefix}/"), None) is not None)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """The object's own file where the store is a folder, else a copy that goes with the context."""
        if self._folder is not None:
            path = self._folder / key
            if not path.is_file():
                raise NoSuchObject(f"{self.url}/{key}: found no such object")
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="ra-guard-") as scratch:
            path = Path(scratch) / key.rpartition("/")[2]
            with self._naming(key), path.open("wb") as file:
                for chunk in obstore.get(self._store, key):
                    file.write(chunk)
            yield path

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects; one that is gone already is no error."""
        batch: list[str] = []
        for key in keys:
            batch.append(key)
            if len(batch) == DELETE_AT_ONCE:
                self._delete(batch)
                batch = []
        self._delete(batch)

    def _delete(self, keys: list[str]) -> None:
        if self._folder is not None:  # one by one: a missing file ends obstore's batch
            for key in keys:
                with self._naming(key):
                    (self._folder / key).unlink(missing_ok=True)
        elif keys:
            with self._naming(keys[0]):
                obstore.delete(self._store, keys)

    def _sync(self, key: str) -> None:
        """Makes an object of a folder durable, and the names that lead to it."""
        if self._folder is None:
            return
        path = self._folder / key
        sync(path)
        for folder in path.parents:
            sync(folder)
            if folder == self._folder:
                return

    @contextmanager
    def _naming(self, key: str) -> Iterator[None]:
        """What the store says, as errors with a cause and a cure."""
        place = f"{self.url}/{key}"
        try:
            yield
        except FileNotFoundError:
            raise NoSuchObject(f"{place}: found no such object") from None
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise ObjectsDenied(f"{place}: {_first_line(error)}; let this process read and write there") from None
        except (BaseError, OSError) as error:
            if any(word in str(error) for word in _FULL_WORDS):
                raise ObjectsFull(f"{place}: {_first_line(error)}; free space there, nothing is lost") from None
            raise ObjectsUnreachable(f"{place}: {_first_line(error)}; nothing is lost, it is tried again") from None


def _s3(url: str) -> S3Store:
    return S3Store.from_url(
        url,
        client_options={
            "allow_http": True,  # of an endpoint that says so itself, such as a store on the same machine
            "connect_timeout": CONNECT_TIMEOUT,
            "timeout": REQUEST_TIMEOUT,
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
