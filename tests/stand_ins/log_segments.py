"""Log segments as bytes, and stores that fail: for tests of what happens to files, not of what they hold."""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

from ra_guard.logs.layout import Kind, Run, Segment
from ra_guard.logs.objects import Listed, Objects, Put, StoredObjects

NS = 1_000_000_000


def at(day: str, second: int = 0) -> int:
    """Unix nanoseconds of a time on a day."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() + second) * NS


def sealed_bytes(writer: str, created_ns: int, payloads: Iterable[bytes] = (), kind: int = 0) -> bytes:
    """A whole sealed segment, as FORMAT.md of the log says."""
    head = struct.pack("<8sIIQ32sI", b"RAGCLOG\n", 2, kind, created_ns, writer.encode(), 0)
    frames = b""
    number = 0
    for payload in payloads:
        frames += struct.pack("<III", len(payload), len(payload) ^ 0xFFFFFFFF, zlib.crc32(payload)) + payload
        number += 1
    count = struct.pack("<Q", number)
    return (
        head
        + struct.pack("<I", zlib.crc32(head))
        + frames
        + struct.pack("<III", 0, 0xFFFFFFFF, zlib.crc32(count))
        + count
    )


def put_segment(
    folder: Path, writer: str, created_ns: int, sequence: int = 0, payloads: Iterable[bytes] = (), kind: int = 0
) -> Path:
    """Writes a sealed segment under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Segment(Run(writer, created_ns), sequence).stem}.log"
    path.write_bytes(sealed_bytes(writer, created_ns, payloads, kind))
    return path


class Faulty:
    """A store that calls ``fault(step, key)`` before each step and ``after`` behind it; either may raise."""

    def __init__(
        self,
        inner: StoredObjects,
        fault: Callable[[str, str], None],
        after: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        self._inner: Objects = inner
        self._fault = fault
        self._after = after

    def put_new(self, key: str, data: IO[bytes] | bytes) -> Put:
        self._fault("put", key)
        put = self._inner.put_new(key, data)
        self._after("put", key)
        return put

    def replace(self, key: str, data: bytes) -> None:
        self._fault("replace", key)
        self._inner.replace(key, data)
        self._after("replace", key)

    def size(self, key: str) -> int | None:
        self._fault("size", key)
        return self._inner.size(key)

    def read(self, key: str) -> bytes:
        self._fault("read", key)
        return self._inner.read(key)

    def under(self, prefix: str) -> Iterator[Listed]:
        self._fault("list", prefix)
        return self._inner.under(prefix)

    def days(self, kind: Kind) -> list[date]:
        self._fault("list", kind.value)
        return self._inner.days(kind)

    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        self._fault("read", key)
        return self._inner.local_copy(key)

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self._fault("delete", keys[0] if keys else "")
        self._inner.delete(keys)
