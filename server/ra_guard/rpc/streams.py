"""The streams that are open: how many may be, and how they end when the server drains."""

import threading

import grpc

from ra_guard.errors import TooManyStreams


class OpenStream:
    """One stream. ``idle`` while it waits for the caller's next request."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.idle = True
        self._context = context

    def cut_if_idle(self) -> None:
        """Cancels a stream that waits for its next request: its thread cannot be told anything else."""
        if self.idle:
            self._context.cancel()


class OpenStreams:
    """At most ``limit`` streams. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.draining = False
        """A stream ends, with status OK, after the answer that it is giving."""
        self._streams: set[OpenStream] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, context: grpc.ServicerContext) -> OpenStream:
        """Counts a stream in. Raises TooManyStreams."""
        stream = OpenStream(context)
        with self._lock:
            if len(self._streams) >= self.limit:
                raise TooManyStreams(
                    f"found {len(self._streams)} streams open, at most {self.limit} are served by one worker; use "
                    "unary calls, close a stream, or raise server.max_streams"
                )
            self._streams.add(stream)
        return stream

    def close(self, stream: OpenStream) -> None:
        """Counts it out."""
        with self._lock:
            self._streams.discard(stream)

    def cut_idle(self) -> None:
        """Ends the streams that wait for a request."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.cut_if_idle()
