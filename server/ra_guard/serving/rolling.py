"""Closes log segments every so often, so that what was logged leaves this machine though traffic is thin."""

import threading
from collections.abc import Callable, Sequence

Roll = Callable[[], None]


class LogRolling:
    """One thread. ``rolls`` seal what each log holds; one that fails is tried again with the next turn."""

    def __init__(self, rolls: Sequence[Roll], *, every_s: float, report: Callable[[BaseException], None]) -> None:
        self._rolls = rolls
        self._every_s = every_s
        self._report = report
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-rolling", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def roll(self) -> None:
        """Seals once."""
        for roll in self._rolls:
            try:
                roll()
            except BaseException as error:  # noqa: BLE001 (the other log, and the next turn)
                self._report(error)

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            self.roll()
