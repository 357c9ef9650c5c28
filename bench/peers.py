"""Which worker answers a connection: workers share a port, and only the kernel knows to whom it gave a connection.

It says so in /proc: the server's end of a connection has an inode, and the process that accepted it holds a
descriptor of that inode.
"""

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TABLES = (PROC / "net" / "tcp6", PROC / "net" / "tcp")
"""gRPC listens on sockets that take IPv4 under mapped IPv6 addresses, where the machine has any."""
LISTEN = "0A"
WORKER, CONTROL = "ra_guard.worker", "ra_guard.control"
"""Modules that a supervisor starts."""
PATIENCE_S = 30.0
"""A connection that nobody accepts for so long has reached a server that does not serve."""
PAUSE_S = 0.002


class NobodyAcceptsError(RuntimeError):
    """A connection that no process took."""


def started_by(supervisor: int, module: str) -> list[int]:
    """Process ids of what a supervisor has running of a module."""
    return sorted(pid for pid in _children(supervisor) if module.encode() in _command(pid).split(b"\0"))


def holder(client: socket.socket, processes: Sequence[int]) -> int:
    """The process, of those given, that holds the other end of an IPv4 connection on this machine.

    Waits until it has accepted. Raises NobodyAcceptsError.
    """
    server_port, client_port = client.getpeername()[1], client.getsockname()[1]
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        inode = _inode(server_port, client_port)
        found = [pid for pid in processes if inode and f"socket:[{inode}]" in _descriptors(pid)]
        if found:
            return found[0]
        time.sleep(PAUSE_S)
    raise NobodyAcceptsError(
        f"found a connection to port {server_port} that none of {processes} accepted in {PATIENCE_S:.0f} s, "
        "wanted one that a worker holds"
    )


def listening(port: int, processes: Sequence[int]) -> list[int]:
    """Those of the processes that take connections to a port."""
    open_ = {
        f"socket:[{fields[9]}]" for fields in _sockets() if fields[1][-5:] == f":{port:04X}" and fields[3] == LISTEN
    }
    return [pid for pid in processes if open_ & _descriptors(pid)]


def _inode(local_port: int, remote_port: int) -> int:
    """Of the socket with those ports; 0 while nobody has accepted it."""
    ends = f":{local_port:04X}", f":{remote_port:04X}"
    return next((int(fields[9]) for fields in _sockets() if (fields[1][-5:], fields[2][-5:]) == ends), 0)


def _sockets() -> Iterator[list[str]]:
    """Lines of the kernel's tables: number, local and remote address, state, ..., the tenth is the inode."""
    for table in filter(Path.exists, TABLES):
        for line in table.read_text().splitlines()[1:]:
            yield line.split()


def _descriptors(pid: int) -> set[str]:
    """What the descriptors of a process point to; what ends meanwhile is left out."""
    links = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                links.add(str(descriptor.readlink()))
    return links


def _children(parent: int) -> Iterable[int]:
    for folder in PROC.glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # The name, in brackets, may hold spaces; the parent is the second field after it.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(folder.name)


def _command(pid: int) -> bytes:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
