"""Brings the gallery's current generation into service: opened, measured, checked, warmed, then swapped in whole."""

import threading
from collections.abc import Callable
from pathlib import Path

from ra_guard._core import Engine, Generation
from ra_guard.errors import GenerationTooLarge


class GenerationLoader:
    """Loads generations of one gallery into a core. Thread-safe: one at a time.

    ``prepare`` is called with each generation after it is warm and before it serves.
    """

    def __init__(
        self,
        core: Engine,
        gallery: Path,
        *,
        memory_limit_bytes: int,
        prepare: Callable[[Generation], None] = lambda _: None,
    ) -> None:
        self._core = core
        self._prepare = prepare
        self._gallery = gallery
        self._memory_limit_bytes = memory_limit_bytes
        self._lock = threading.Lock()

    def load(self, number: int | None = None) -> tuple[int, int]:
        """Serves the numbered generation, or the one that CURRENT names; returns its number and the previous one's.

        Raises ShardError or GenerationTooLarge; the generation in service then stays.
        """
        with self._lock:
            generation = Generation.open(str(self._gallery), number)
            if generation.bytes > self._memory_limit_bytes:
                raise GenerationTooLarge(
                    f"generation {generation.number}: found {generation.bytes} bytes, gallery.memory_limit_bytes is "
                    f"{self._memory_limit_bytes}; raise the limit, store f16 or i8, or split the gallery"
                )
            # Shards are written once: those that serve already were checked when they came.
            generation.verify_checksums(self._core.generation())
            generation.populate()
            self._prepare(generation)
            return generation.number, self._core.publish_generation(generation)

    def named(self) -> str | None:
        """What the gallery's CURRENT file says; None before the first publish."""
        try:
            return (self._gallery / "CURRENT").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None


class GenerationWatcher:
    """Polls CURRENT in a thread of its own and loads what it names."""

    def __init__(self, loader: GenerationLoader, *, poll_s: float, report: Callable[[BaseException], None]) -> None:
        self._loader = loader
        self._poll_s = poll_s
        self._report = report
        self._turn = threading.Lock()
        self._loaded: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generation-watch", daemon=True)

    def start(self) -> None:
        """Loads the current generation before it returns, then watches in the background."""
        self.poll()
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; a generation being loaded is finished first."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def poll(self) -> None:
        """Loads what CURRENT names, unless that was done already. A refused generation is tried again. Thread-safe."""
        try:
            with self._turn:
                named = self._loader.named()
                if named is not None and named != self._loaded:
                    self._loader.load()
                    self._loaded = named
        except BaseException as error:  # noqa: BLE001 (the generation in service goes on serving)
            self._report(error)

    def _run(self) -> None:
        while not self._closing.wait(self._poll_s):
            self.poll()
