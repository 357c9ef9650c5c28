"""What a person who waits for a long program sees: lines of what happens, and a bar with the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Tell = Callable[[float], None]
"""Told how much is done."""


def say(what: str) -> None:
    """One line on standard error."""
    Console(stderr=True, highlight=False).print(what, markup=False)


@contextmanager
def bar(what: str, total: float) -> Iterator[Tell]:
    """A bar up to ``total`` on standard error, where that is a terminal; a line to begin with elsewhere."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    if not console.is_terminal:
        say(what)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
