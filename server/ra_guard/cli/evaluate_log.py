"""`ra-guard evaluate log`: what other weights would have made of the calls that were logged and judged."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from rich.table import Table

from ra_guard.cli.intervals import as_plain, as_text
from ra_guard.cli.scales import FoundScale, found_scales, parsed_scale
from ra_guard.cli.terminal import result_console
from ra_guard.config import load
from ra_guard.errors import ConfigError
from ra_guard.evaluation.calls import TERMS, Calls
from ra_guard.evaluation.errors import NothingToRank
from ra_guard.evaluation.weights import Comparison, Measured, Weights, WeightsByDomain, compare
from ra_guard.experiments.definition import parse_definition
from ra_guard.logs.judged import JudgedLog, judged_calls

CONVENTIONS: Final = """\
Scores are computed from the logged terms by SCORE.md's formula, after a check that the logged weights give the logged
scores bit for bit. nDCG@10 is in points (times 100), its ideal over all judged candidates of a request; requests with
none relevant are left out. Means and intervals are of users' means. Of several judgments of a candidate in a request
the last received counts, however late. Only what was a candidate then can be ranked now."""

app = cyclopts.App(
    name="log", help="Other weights on logged calls, against what was served.", help_epilogue=CONVENTIONS
)

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]


@dataclass(frozen=True)
class LoadedCalls:
    """Judged calls ready to rank, what of the log they are, and on whose scale."""

    calls: Calls
    log: JudgedLog
    scales: Mapping[str, FoundScale]


@app.default
def evaluate_log(
    *,
    weights: str | None = None,
    definition: Path | None = None,
    export: Path | None = None,
    gallery: Path | None = None,
    cosine_range: str | None = None,
    config: Path | None = None,
    as_json: Json = False,
) -> None:
    """nDCG@10 that weights would have had on logged calls with judgments, against what was served, by domain.

    Parameters
    ----------
    weights
        cosine=1,consistency=0.3,contradiction=0.5,prior=0.1, for every domain.
    definition
        Instead: the experiment definition whose weights to take, by domain.
    export
        The export's folder; state_dir/evidence by default.
    gallery
        Where to look for the generation that a call names, whose space has the cosine_range; the configured one by
        default, then the built spaces.
    cosine_range
        LOW,HIGH of the space, where neither is at hand.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    wanted = _wanted(weights, definition)
    loaded = load_calls(export=export, gallery=gallery, cosine_range=cosine_range, config=config)
    calls = loaded.calls
    compared = compare(calls, calls.served_rank, calls.ranks(wanted.of(calls.domain)))
    if not compared:
        raise NothingToRank(
            found=f"{len(calls.domain)} judged calls, none with a relevant candidate",
            wanted="one or more",
            cure="judge more candidates",
        )
    if as_json:
        print(json.dumps({"domains": _plain(compared)} | plain_source(loaded)))
        return
    console = result_console()
    console.print(_table(compared))
    for line in source_lines(loaded):
        console.print(line)


def load_calls(
    *, export: Path | None, gallery: Path | None, cosine_range: str | None, config: Path | None
) -> LoadedCalls:
    """Judged calls of an export, checked against their logged scores. Raises NothingToRank without one."""
    settings = load(config)
    given = None if cosine_range is None else FoundScale(parsed_scale(cosine_range), "--cosine-range")
    folder = export or settings.evidence_dir
    log = judged_calls(folder)
    if not log.calls:
        raise NothingToRank(
            found=f"no call in {folder} that was scored and judged ({_unused(log)})",
            wanted="one or more",
            cure="send judgments for logged requests, and export again",
        )
    if given is not None:
        scales = dict.fromkeys(log.generations, given)
    else:
        scales = found_scales(log.generations, gallery or settings.gallery_dir, settings.models_dir)
    return LoadedCalls(Calls.of(log.calls, {space: each.scale for space, each in scales.items()}), log, scales)


def source_lines(loaded: LoadedCalls) -> list[str]:
    """What the numbers rest on, for people."""
    ranges = [
        f"cosine_range [{each.scale.low:g}, {each.scale.high:g}] of space {space}: from {each.source}"
        for space, each in loaded.scales.items()
    ]
    return [f"{len(loaded.log.calls):,} judged calls; left out: {_unused(loaded.log)}", *ranges]


def plain_source(loaded: LoadedCalls) -> dict[str, object]:
    """The same as JSON."""
    log = loaded.log
    return {
        "judged_calls": len(log.calls),
        "not_logged": log.not_logged,
        "ambiguous": log.ambiguous,
        "not_scored": log.not_scored,
        "judgments_of_other_images": log.not_candidates,
        "cosine_ranges": {
            space: {"low": each.scale.low, "high": each.scale.high, "source": each.source}
            for space, each in loaded.scales.items()
        },
    }


def _unused(log: JudgedLog) -> str:
    return (
        f"{log.not_logged:,} judged requests without a call, {log.ambiguous:,} of several users, "
        f"{log.not_scored:,} answered without scores, {log.not_candidates:,} judgments of what was no candidate"
    )


def _wanted(weights: str | None, definition: Path | None) -> WeightsByDomain:
    if weights is not None and definition is None:
        return WeightsByDomain(Weights.parse(weights))
    if definition is None or weights is not None:
        found = "neither --weights nor --definition" if weights is None else "both --weights and --definition"
        raise ConfigError(f"found {found}, wanted one of them; say which weights to evaluate")
    table = parse_definition(definition.read_text(encoding="utf-8")).weights
    of_domain = {name: Weights(**_terms(each)) for name, each in table.domain.items()}
    return WeightsByDomain(Weights(**_terms(table.default)), of_domain)


def _terms(table: object) -> dict[str, float]:
    return {name: float(getattr(table, name)) for name in TERMS}


def _table(compared: Mapping[str | None, Comparison]) -> Table:
    table = Table("domain", "users", "requests", "none relevant", "served", "these weights", "difference")
    for domain, each in compared.items():
        table.add_row(
            "all" if domain is None else domain or "(none named)",
            f"{each.users:,}",
            f"{each.requests:,}",
            f"{each.without_relevant:,}",
            *(_shown(measured) for measured in (each.first, each.second, each.difference)),
        )
    return table


def _shown(measured: Measured) -> str:
    return as_text(measured.mean, measured.interval, places=2)


def _plain(compared: Mapping[str | None, Comparison]) -> list[dict[str, object]]:
    """One entry a domain; the first, whose domain is null, is all of them."""
    return [
        {
            "domain": domain,
            "users": each.users,
            "requests": each.requests,
            "without_relevant": each.without_relevant,
            "served": as_plain(each.first.mean, each.first.interval),
            "weights": as_plain(each.second.mean, each.second.interval),
            "difference": as_plain(each.difference.mean, each.difference.interval),
        }
        for domain, each in compared.items()
    ]
