"""`ra-guard evaluate`: rankings against judgments that exist. TREC files are read here, logged calls by commands."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from rich.table import Table

from ra_guard.cli.intervals import as_plain, as_text
from ra_guard.cli.terminal import result_console
from ra_guard.errors import ConfigError
from ra_guard.evaluation.metrics import Metric, RunValues, values_of
from ra_guard.evaluation.randomisation import randomisation_p
from ra_guard.evaluation.trec import parse_qrels, parse_run
from ra_guard.stats.inputs import Floats
from ra_guard.stats.one_sample import Mean, mean_of_values
from ra_guard.stats.outcome import Insufficient

CONVENTIONS: Final = """\
Numbers are those of trec_eval and ir-measures on the same files. Runs go by score as float32, equal scores by document
id, falling. Means are over all queries of the judgments, with Student's interval: queries that the run lacks count 0,
and so do those without a relevant document. Two runs are compared query by query: the mean difference with its
interval, and the p-value of a randomisation test."""

app = cyclopts.App(name="evaluate", help="Metrics of rankings against judgments.", help_epilogue=CONVENTIONS)
app.command("ra_guard.cli.evaluate_log:app", name="log", help="Other weights on logged calls, against what was served.")
app.command("ra_guard.cli.evaluate_fit:app", name="fit", help="Learn the weights of the score from judged calls.")

MOST_RUNS: Final = 2

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]
Flag = Annotated[bool, cyclopts.Parameter(negative="")]
Listed = Annotated[list[str], cyclopts.Parameter(negative="")]


@dataclass(frozen=True)
class Compared:
    """The second run less the first, query by query."""

    difference: Floats
    mean: Mean | Insufficient
    p_value: float


@app.default
def evaluate_runs(
    *,
    qrels: Path,
    run: Annotated[list[Path], cyclopts.Parameter(negative="")],
    metric: Listed | None = None,
    per_query: Flag = False,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Metrics of one run, or of two with their difference.

    Parameters
    ----------
    qrels
        Judgments: lines of query, iter, doc, rel.
    run
        Ranking: lines of query, Q0, doc, rank, score, tag. Give it twice to compare: the second less the first.
    metric
        nDCG, nDCG@k, P@k, R@k, RR, AP or AP@k; nDCG@10 by default. May be given several times.
    per_query
        Also the values of each query.
    seed
        Of the randomisation test, which is exact up to 14 queries that differ.
    as_json
        One JSON document on stdout.
    """
    if len(run) > MOST_RUNS:
        raise ConfigError(f"found {len(run)} of --run, wanted 1 or 2; compare two at a time")
    if seed < 0:
        raise ConfigError(f"found --seed {seed}, wanted 0 or more; leave it out")
    metrics = list(dict.fromkeys(Metric.parse(each) for each in metric or ["nDCG@10"]))
    with qrels.open("rb") as lines:
        judged = parse_qrels(lines, str(qrels))
    found = []
    for path in run:
        with path.open("rb") as lines:
            found.append(values_of(judged, parse_run(lines, str(path)), metrics))
    compared = {each: _compared(found[0], found[1], each, seed) for each in metrics} if len(found) > 1 else {}
    if as_json:
        print(json.dumps(_plain(run, found, compared) | (_plain_queries(found) if per_query else {})))
        return
    console = result_console()
    if per_query:
        console.print(_query_table(run, found))
    console.print(_mean_table(run, found, compared))
    for path, values in zip(run, found, strict=True):
        console.print(_coverage(path, values))


def _compared(first: RunValues, second: RunValues, metric: Metric, seed: int) -> Compared:
    difference = second.values[metric] - first.values[metric]
    return Compared(difference, mean_of_values(difference), randomisation_p(difference, seed=seed))


def _mean_table(paths: Sequence[Path], found: Sequence[RunValues], compared: dict[Metric, Compared]) -> Table:
    table = Table("metric", *_columns(paths), *(["difference", "p"] if compared else []))
    for metric in found[0].values:
        row = [as_text(float(run.values[metric].mean()), mean_of_values(run.values[metric])) for run in found]
        if compared:
            each = compared[metric]
            row += [as_text(float(each.difference.mean()), each.mean), f"{each.p_value:.4g}"]
        table.add_row(str(metric), *row)
    return table


def _query_table(paths: Sequence[Path], found: Sequence[RunValues]) -> Table:
    table = Table("query", "metric", *_columns(paths))
    for number, query in enumerate(found[0].queries):
        for metric in found[0].values:
            table.add_row(query, str(metric), *(f"{run.values[metric][number]:.4f}" for run in found))
    return table


def _columns(paths: Sequence[Path]) -> list[str]:
    """Names by which a reader tells the runs apart."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _coverage(path: Path, values: RunValues) -> str:
    return (
        f"{path}: {len(values.queries)} judged queries, of which {values.without_relevant} without a relevant document "
        f"and {values.not_retrieved} not in the run count 0; {values.not_judged} of the run were not judged"
    )


def _plain(paths: Sequence[Path], found: Sequence[RunValues], compared: dict[Metric, Compared]) -> dict[str, object]:
    runs = [
        {
            "run": str(path),
            "queries": len(values.queries),
            "without_relevant": values.without_relevant,
            "not_retrieved": values.not_retrieved,
            "not_judged": values.not_judged,
            "metrics": {
                str(metric): as_plain(float(each.mean()), mean_of_values(each))
                for metric, each in values.values.items()
            },
        }
        for path, values in zip(paths, found, strict=True)
    ]
    differences = {
        str(metric): as_plain(float(each.difference.mean()), each.mean) | {"p_value": each.p_value}
        for metric, each in compared.items()
    }
    return {"runs": runs} | ({"differences": differences} if compared else {})


def _plain_queries(found: Sequence[RunValues]) -> dict[str, object]:
    """By query and metric, one value a run."""
    return {
        "per_query": {
            query: {str(metric): [float(run.values[metric][number]) for run in found] for metric in found[0].values}
            for number, query in enumerate(found[0].queries)
        }
    }
