"""The killswitch as a feature flag, read by the real flagd provider from a file."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ra_guard.experiments.flag import BadFlagProvider, FlagState, NoFlag, open_feature_flags

from tests.stand_ins import flag_process
from tests.stand_ins.flag_files import environment, write, write_flag

KEY = "ra_guard_enhancement"
PATIENCE_S = 30.0
ON, OFF, UNREADABLE = FlagState.ON.value, FlagState.OFF.value, FlagState.UNREADABLE.value


class Flags:
    """A process that reads flags when told to."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(flag_process.__file__)],
            env={**os.environ, **environment(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self, key: str = KEY) -> tuple[str, str, str | None, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{key}\n")
        self._process.stdin.flush()
        provider, state, last, error = json.loads(self._process.stdout.readline())
        return provider, state, last, error

    def until(self, holds: Callable[[tuple[str, str, str | None, str]], bool]) -> tuple[str, str, str | None, str]:
        give_up = time.monotonic() + PATIENCE_S
        while not holds(reading := self.read()):
            assert time.monotonic() < give_up, reading
            time.sleep(0.02)
        return reading

    def close(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait(PATIENCE_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.json"


@pytest.fixture
def started() -> Iterator[Callable[[Path], Flags]]:
    made: list[Flags] = []

    def start(path: Path) -> Flags:
        made.append(Flags(path))
        return made[-1]

    yield start
    assert [flags.close() for flags in made] == [0] * len(made), "a provider's threads keep no process alive"


def test_editing_the_file_turns_the_flag(path: Path, started: Callable[[Path], Flags]) -> None:
    write_flag(path, KEY, "on")
    flags = started(path)
    assert flags.until(lambda reading: reading[1] == ON) == ("FlagdProvider", ON, ON, "")
    write_flag(path, KEY, "off")
    assert flags.until(lambda reading: reading[1] == OFF) == ("FlagdProvider", OFF, OFF, "")
    write_flag(path, KEY, "on")
    flags.until(lambda reading: reading[1] == ON)
    write_flag(path, "another", "on")
    _, state, last, error = flags.until(lambda reading: reading[1] == UNREADABLE)
    assert (state, last) == (UNREADABLE, ON), "the last value still holds"
    assert error.startswith("FLAG_NOT_FOUND")


@pytest.mark.parametrize("content", [None, "{", '{"flags": 3}'])
def test_a_file_that_cannot_be_read_is_no_value(
    path: Path, started: Callable[[Path], Flags], content: str | None
) -> None:
    if content is not None:
        write(path, content)
    flags = started(path)
    _, state, last, error = flags.read()
    assert (state, last) == (UNREADABLE, None)
    assert error
    write_flag(path, KEY, "off")
    flags.until(lambda reading: reading[1] == OFF)


def test_a_flag_that_is_disabled_is_off(path: Path, started: Callable[[Path], Flags]) -> None:
    """As systems that turn a flag off by disabling it mean it."""
    write_flag(path, KEY, "on")
    flags = started(path)
    flags.until(lambda reading: reading[1] == ON)
    write_flag(path, KEY, "on", state="DISABLED")
    flags.until(lambda reading: reading[1] == OFF)


def test_a_flag_of_another_type_is_no_value(path: Path, started: Callable[[Path], Flags]) -> None:
    write_flag(path, KEY, "on", variants={"on": "yes", "off": "no"})
    flags = started(path)
    flags.until(lambda reading: reading[1] == UNREADABLE and "TYPE_MISMATCH" in reading[3])
    write_flag(path, KEY, "on")
    flags.until(lambda reading: reading[1] == ON)


@pytest.mark.parametrize(
    "named", ["nowhere:Provider", "json:NoSuchClass", "json:loads", "openfeature.provider:AbstractProvider", "json", ""]
)
def test_a_provider_that_cannot_be_built_is_named(named: str) -> None:
    with pytest.raises(BadFlagProvider) as refused:
        open_feature_flags(named)
    assert named in str(refused.value)


def test_without_a_provider_there_is_no_reading() -> None:
    flags = NoFlag()
    flags.read(KEY)
    assert flags.reading(KEY) is None  # type: ignore[func-returns-value]
