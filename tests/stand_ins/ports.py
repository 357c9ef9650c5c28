"""Where to look for free ports: below those that the kernel gives away by itself."""

import os
from collections.abc import Iterator


def port_bases(first: int, last: int, step: int) -> Iterator[int]:
    """Every ``step``-th port of a range, each process beginning at a place of its own: tests may run side by side."""
    bases = range(first, last, step)
    begin = os.getpid() * 101 % len(bases)
    yield from (bases[(begin + number) % len(bases)] for number in range(len(bases)))
