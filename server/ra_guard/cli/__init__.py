"""The command line. Each group is a file of its own, loaded when it is used.

Results go to stdout, errors to stderr on one line: found, wanted, cure. Exit codes: 0 done, 1 the operation
failed, 2 the input was wrong.
"""

import sys
from collections.abc import Sequence

import cyclopts

from ra_guard import _core
from ra_guard.errors import Code, RaGuardError, status_of

app = cyclopts.App(name="ra-guard", help="Reranks image search results, and proves online that it helps.")
app.command("ra_guard.cli.serve:app", name="serve", help="Serve until SIGTERM.")
app.command("ra_guard.cli.rerank:app", name="rerank", help="Rerank candidates for one query.")
app.command("ra_guard.cli.gallery:app", name="gallery", help="Ingest, describe and verify the gallery.")
app.command("ra_guard.cli.models:app", name="models", help="List, build and pull embedding spaces.")
app.command("ra_guard.cli.control:app", name="control", help="Run a control plane until SIGTERM.")
app.command("ra_guard.cli.watch:app", name="watch", help="Look after the experiment until SIGTERM.")
app.command("ra_guard.cli.demo:app", name="demo", help="Show the product at work on real photographs.")
app.command("ra_guard.cli.experiment:app", name="experiment", help="Define an experiment, ramp it, stop it.")
app.command("ra_guard.cli.log:app", name="log", help="Ship, export, count and verify what was logged.")
app.command("ra_guard.cli.alerts:app", name="alerts", help="Try the ways by which people are told.")
app.command("ra_guard.cli.evaluate:app", name="evaluate", help="Metrics of rankings against judgments.")
app.command("ra_guard.cli.simulate:app", name="simulate", help="Play a whole experiment with a clock of its own.")
app.command("ra_guard.cli.stats:app", name="stats", help="Boundaries of planned looks, sample size, sample ratio.")

FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. ``arguments`` default to those of the process."""
    try:
        code = app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except cyclopts.UnknownCommandError as error:
        return _refuse(_unknown_command(error), WRONG_INPUT)
    except cyclopts.CycloptsError as error:
        return _refuse(f"{error} See ra-guard --help.", WRONG_INPUT)
    except (RaGuardError, _core.CoreError) as error:
        return _refuse(str(error), WRONG_INPUT if _is_wrong_input(error) else FAILED)
    except UnicodeError as error:  # of an argument, or of a file that an argument names
        return _refuse(f"found text that is not UTF-8 ({error}), wanted UTF-8; correct it", WRONG_INPUT)
    except BrokenPipeError:
        # The reader of our output has seen enough. Python would complain again when it flushes at exit.
        sys.stdout = None
        return FAILED
    except OSError as error:
        return _refuse(f"found {error}, wanted to read or write it; check the path and its permissions", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _refuse(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _unknown_command(error: cyclopts.UnknownCommandError) -> str:
    # Not the error's own words: to find the nearest command it would import every one of them.
    typed = (error.unused_tokens or ["nothing"])[0]
    commands = [name for name in error.app or app if not name.startswith("-")]
    return f"found command {typed!r}, wanted one of {', '.join(sorted(commands))}; see --help"


def _is_wrong_input(error: Exception) -> bool:
    # Imported here because only a failure needs them: --help should not wait for gRPC.
    from ra_guard.client import CallFailed

    status = error.status if isinstance(error, CallFailed) else status_of(error)
    return status in {Code.INVALID_ARGUMENT, Code.NOT_FOUND}
