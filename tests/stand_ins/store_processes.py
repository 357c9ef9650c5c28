"""Starts processes that use a store, and hears what they say; see `store_process`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TREE = Path(__file__).parents[2]


class StoreProcess:
    def __init__(self, *arguments: str, launcher: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "tests.stand_ins.store_process", *arguments],
            cwd=TREE,
            env={**os.environ, "PYTHONPATH": f"{TREE / 'server'}:{TREE}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def id(self) -> int:
        return self._process.pid

    def heard(self) -> dict[str, object] | None:
        """The next thing that it said; None when it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def rest(self) -> list[dict[str, object]]:
        return list(iter(self.heard, None))

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def hold_still(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


Started = Callable[..., StoreProcess]
