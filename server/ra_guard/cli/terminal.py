"""Where tables go: the terminal as wide as it is, a file or a pipe wide enough for every column."""

from rich.console import Console

_FILE_WIDTH = 200


def result_console() -> Console:
    """Prints to stdout, and prints what others wrote as it stands: no markup, no emoji, no highlighting."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console
