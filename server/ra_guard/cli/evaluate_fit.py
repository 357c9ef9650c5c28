"""`ra-guard evaluate fit`: weights learnt from judged calls, and whether they can be shown to help."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ra_guard.cli.evaluate_log import load_calls, plain_source, source_lines
from ra_guard.cli.intervals import as_plain, as_text
from ra_guard.cli.terminal import result_console
from ra_guard.errors import ConfigError
from ra_guard.evaluation.fit import Fit, cross_validated
from ra_guard.evaluation.weights import Weights

CONVENTIONS: Final = """\\
The weights are those of least pairwise logistic loss: of two judged candidates of a call, the better one should score
higher. nDCG@10 (in points, times 100) is that of users whom the fit did not see, fold by fold, against the weights that
their calls were logged with. Where the interval of the difference is not above 0, no gain is claimed, no weights are
printed, and the exit code is 1."""

app = cyclopts.App(name="fit", help="Learn the weights of the score from judged calls.", help_epilogue=CONVENTIONS)

NO_GAIN_SHOWN: Final = 1
FEWEST_FOLDS: Final = 2

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]


@app.default
def fit_weights(
    *,
    export: Path | None = None,
    folds: int = 5,
    seed: int = 0,
    gallery: Path | None = None,
    cosine_range: str | None = None,
    config: Path | None = None,
    as_json: Json = False,
) -> int:
    """Learn one set of weights from logged calls with judgments, cross-validated by user.

    Parameters
    ----------
    export
        The export's folder; state_dir/evidence by default.
    folds
        Into how many parts users are dealt; 2 or more.
    seed
        Of the dealing, and of the sample of pairs where a call has more than 200.
    gallery
        Where to look for the generations that calls name, whose space has the cosine_range; the configured one by
        default, then the built spaces.
    cosine_range
        LOW,HIGH of the space, where neither is at hand.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout; its weights are null where no gain is shown.
    """
    if folds < FEWEST_FOLDS or seed < 0:
        raise ConfigError(f"found --folds {folds} and --seed {seed}, wanted 2 or more and 0 or more; correct them")
    loaded = load_calls(export=export, gallery=gallery, cosine_range=cosine_range, config=config)
    with _progress(folds) as tell:
        fit = cross_validated(loaded.calls, folds=folds, seed=seed, tell=tell)
    if as_json:
        print(json.dumps(_plain(fit) | {"folds": folds, "seed": seed} | plain_source(loaded)))
        return 0 if fit.shows_a_gain else NO_GAIN_SHOWN
    console = result_console()
    console.print(_table(fit))
    for line in source_lines(loaded):
        console.print(line)
    if not fit.shows_a_gain:
        console.print("No gain is shown: the interval of the held-out difference is not above 0. Keep the weights.")
        return NO_GAIN_SHOWN
    console.print(f"\n{definition_table(fit.weights)}")
    return 0


@contextmanager
def _progress(folds: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, for people only."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        # One more than the folds: the fit with all users.
        task = progress.add_task("fit", total=folds + 1)
        yield lambda done: progress.update(task, completed=done)


def definition_table(weights: Weights) -> str:
    """TOML for an experiment definition."""
    return "\n".join(["[weights.default]", *(f"{name} = {value!r}" for name, value in asdict(weights).items())])


def _table(fit: Fit) -> Table:
    table = Table("held-out users", "requests", "none relevant", "weights in force", "fitted", "difference")
    found = fit.held_out
    table.add_row(
        f"{found.users:,}",
        f"{found.requests:,}",
        f"{found.without_relevant:,}",
        *(as_text(each.mean, each.interval, places=2) for each in (found.first, found.second, found.difference)),
    )
    return table


def _plain(fit: Fit) -> dict[str, object]:
    found = fit.held_out
    return {
        "gain_shown": fit.shows_a_gain,
        "weights": asdict(fit.weights) if fit.shows_a_gain else None,
        "users": found.users,
        "requests": found.requests,
        "without_relevant": found.without_relevant,
        "in_force": as_plain(found.first.mean, found.first.interval),
        "fitted": as_plain(found.second.mean, found.second.interval),
        "difference": as_plain(found.difference.mean, found.difference.interval),
    }
