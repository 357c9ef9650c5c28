"""A gRPC load generator that costs a few tens of microseconds a call: HTTP/2 frames over non-blocking sockets.

On a machine with few cores the client competes with the servers it measures. A grpcio client spends 50-100 us of
processor time a call, so that two workers could never show what they serve. This one sends frames that were encoded
beforehand, with a constant header block that neither side has to remember, and reads only frame headers and the
answers' data; it never decodes response headers. A call that ends without a message is an error.

Each connection carries one caller with one call in flight: the kernel spreads connections, hence callers, over workers
that share a port.
"""

import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
FRAME_HEADER = struct.Struct(">HBBBI")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
LARGEST_FRAME = 16_384
SETTINGS_INITIAL_WINDOW_SIZE = 4
GRPC_PREFIX = struct.Struct(">BI")
RECEIVE_BYTES = 65_536


class LoadError(Exception):
    """The server broke off, or a call came back without an answer."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame (RFC 9113, section 4.1)."""
    return FRAME_HEADER.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def header_block(path: str) -> bytes:
    """Request headers without reference to any table but HPACK's static one (RFC 7541, appendix A)."""

    def literal(name: bytes, value: bytes) -> bytes:
        return name + bytes([len(value)]) + value

    post, http = b"\x83", b"\x86"
    return b"".join(
        [
            post,
            http,
            literal(b"\x04", path.encode()),
            literal(b"\x01", b"localhost"),
            literal(b"\x0f\x10", b"application/grpc"),
            literal(b"\x00\x02te", b"trailers"),
        ]
    )


def prefixed(message: bytes) -> bytes:
    """A message as gRPC frames it: uncompressed flag, length, bytes."""
    return GRPC_PREFIX.pack(0, len(message)) + message


@dataclass
class Caller:
    """One connection and its one call in flight."""

    connection: socket.socket
    head: bytes
    bodies: deque[bytes]
    stream: int = -1
    started_ns: int = 0
    window: int = INITIAL_WINDOW
    held: bytes = b""
    answer: bytes = b""
    unread: bytes = b""

    @classmethod
    def connect(cls, port: int, path: str, messages: Iterable[bytes]) -> "Caller":
        """Opens a connection to this machine and says hello, without a call yet."""
        bodies = deque(prefixed(message) for message in messages)
        longest = max(len(body) for body in bodies)
        if longest > LARGEST_FRAME:
            raise ValueError(f"a message takes {longest} bytes; one frame holds {LARGEST_FRAME}")
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = struct.pack(">HI", SETTINGS_INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
        grow = struct.pack(">I", LARGEST_WINDOW - INITIAL_WINDOW)
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, grow))
        connection.settimeout(0)
        return cls(connection, header_block(path), bodies)

    def start(self, moment_ns: int) -> None:
        """Sends the next request, or holds it until the server's window has room; latency counts from ``moment_ns``."""
        self.stream += 2
        body = self.bodies[0]
        self.bodies.rotate(-1)
        self.answer = b""
        self.started_ns = moment_ns
        opening = frame(HEADERS, END_HEADERS, self.stream, self.head)
        self.held = opening + frame(DATA, END_STREAM, self.stream, body)
        self._send_held()

    def receive(self) -> bool:
        """Takes in what has arrived; True when the call in flight is complete and `answer` holds its message."""
        arrived = self.connection.recv(RECEIVE_BYTES)
        if not arrived:
            raise LoadError("the server closed the connection in the middle of a call")
        buffer = self.unread + arrived
        position, finished = 0, False
        while len(buffer) - position >= FRAME_HEADER.size:
            high, low, kind, flags, stream = FRAME_HEADER.unpack_from(buffer, position)
            end = position + FRAME_HEADER.size + (high << 8 | low)
            if end > len(buffer):
                break
            payload = buffer[position + FRAME_HEADER.size : end]
            position = end
            finished |= self._take(kind, flags, stream, payload)
        self.unread = buffer[position:]
        return finished

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        if kind == DATA:
            self.answer += payload
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload)
            self._send_held()
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self.connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind in (RESET, GOAWAY):
            raise LoadError(f"the server refused: frame type {kind}, {payload[:64]!r}")
        if kind in (DATA, HEADERS) and flags & END_STREAM and stream == self.stream:
            return self._finish()
        return False

    def _finish(self) -> bool:
        if len(self.answer) < GRPC_PREFIX.size:
            raise LoadError("a call ended without a message: see the server's log for its status")
        self.answer = self.answer[GRPC_PREFIX.size :]
        return True

    def _send_held(self) -> None:
        cost = len(self.held)
        if self.held and cost <= self.window:
            self.window -= cost
            self.connection.sendall(self.held)
            self.held = b""
