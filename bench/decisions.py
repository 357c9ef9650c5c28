"""``python -m bench.decisions``: whole experiments from users' nDCG to a decision, by the code that decides live.

Without an effect, planned looks at 95 % must find one in 5 % of experiments, whatever the number of users that come; a
boundary of 1.96 at every look finds one in 12.9 %. With an effect, the shares of outcomes say what the plan can show.
A run prints a table with Monte-Carlo errors and writes ``out/decisions.json``.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.latency import BUCKETS
from ra_guard.evidence.tally import Quantity
from ra_guard.experiments.definition import Definition, parse_definition, template
from ra_guard.experiments.definition.vocabulary import Outcome
from ra_guard.experiments.monitor import decision, looks
from ra_guard.experiments.monitor.outcomes import Assessment, Judged, Look, Reading, Tick, Verdict
from ra_guard.experiments.monitor.primary import POINTS
from ra_guard.stats.inputs import Floats
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Insufficient, Lack
from ra_guard.stats.srm import sample_ratio
from rich.console import Console
from rich.table import Table

OUT = Path(__file__).parent / "out" / "decisions.json"
MEAN: Final = 0.55
"""Of users' nDCG in control; bounded, and half of it near 0 and 1, as judged queries give it."""
UNADJUSTED_Z: Final = 1.959964
_NO_CALLS: Final = np.zeros(BUCKETS, np.int64)


@dataclass(frozen=True)
class Case:
    """Experiments of one kind."""

    name: str
    effect_points: float
    shares: Sequence[float]
    """Of the planned users of an arm, those that have come by each look."""
    varies: bool
    """Users come as a Poisson number, another one in each arm; else exactly as many."""


CASES: Final = (
    Case("A/A, users as planned", 0.0, (3 / 14, 7 / 14, 10 / 14, 1.0), varies=False),
    Case("A/A, users come at random", 0.0, (3 / 14, 7 / 14, 10 / 14, 1.0), varies=True),
    Case("A/A, too few users", 0.0, (0.1, 0.25, 0.4, 0.6), varies=False),
    Case("A/A, more users than planned", 0.0, (0.4, 0.8, 1.3, 1.5), varies=False),
    Case("A/A, nobody comes after day 7", 0.0, (0.4, 0.6, 0.6, 0.6), varies=False),
    Case("+1.00 points", 1.0, (3 / 14, 7 / 14, 10 / 14, 1.0), varies=False),
    Case("+2.97 points", 2.97, (3 / 14, 7 / 14, 10 / 14, 1.0), varies=False),
    Case("+4.24 points", 4.24, (3 / 14, 7 / 14, 10 / 14, 1.0), varies=False),
    Case("-2.00 points", -2.0, (3 / 14, 7 / 14, 10 / 14, 1.0), varies=False),
)


@dataclass(frozen=True)
class Result:
    """What came of a case's experiments; shares in percent."""

    case: str
    experiments: int
    rejected_percent: float
    """An interval that leaves out 0, at any look."""
    rejected_percent_error: float
    """Monte-Carlo standard error of that share."""
    unadjusted_percent: float
    """Of the same looks, those where |z| of any reached 1.96."""
    outcomes_percent: Mapping[str, float]
    """First outcome other than to keep running; to keep running where there was none."""
    mean_day: float
    """Of that outcome; the last look's where there was none."""


def play(definition: Definition, case: Case, experiments: int, seed: int) -> Result:
    """Experiments of one case, each with users of its own."""
    generator = np.random.default_rng(seed)
    well = all_is_well(definition)
    rejected = unadjusted = days = 0
    outcomes: Counter[Outcome] = Counter()
    for _ in range(experiments):
        taken: list[Look] = []
        ended: tuple[Outcome, int] | None = None
        found = False
        for day, contrast in _contrasts(definition, case, generator):
            if looks.due(definition, 0, taken, day * looks.DAY_S) != day:
                continue
            seen = looks.take(definition, day, day * looks.DAY_S, contrast)
            if isinstance(seen, Insufficient):
                continue
            taken.append(seen)
            decided = decision.decide(definition, taken, well)
            found |= decided.interval is not None and 0 not in decided.interval
            if ended is None and decided.outcome is not Outcome.KEEP_RUNNING:
                ended = decided.outcome, day
        rejected += found
        unadjusted += any(abs(look.estimate) >= UNADJUSTED_Z * look.standard_error for look in taken)
        outcome, day = ended or (Outcome.KEEP_RUNNING, definition.analysis.end_day)
        outcomes[outcome] += 1
        days += day
    share = rejected / experiments
    return Result(
        case=case.name,
        experiments=experiments,
        rejected_percent=100 * share,
        rejected_percent_error=100 * math.sqrt(share * (1 - share) / experiments),
        unadjusted_percent=100 * unadjusted / experiments,
        outcomes_percent={str(outcome): 100 * outcomes[outcome] / experiments for outcome in Outcome},
        mean_day=days / experiments,
    )


def all_is_well(definition: Definition) -> Assessment:
    """Guardrails pass, users split as drawn: what is left to decide on is the primary metric."""
    passed = Reading(0.0, None, 0.0, 0.0, 2_500, 2_500)
    return Assessment(
        tick=Tick(0, (), (), ()),
        guardrails=tuple(Judged(each, passed, Verdict.PASS) for each in definition.metrics.guardrails),
        gates=(),
        sample_ratio=sample_ratio((2_500, 2_500), (1, 1), alpha=definition.analysis.sample_ratio_p),
        crossover_percent=0.0,
        primary=Insufficient(Lack.TOO_FEW, "nothing", "looks"),
        power_percent=None,
    )


def _contrasts(definition: Definition, case: Case, generator: np.random.Generator) -> list[tuple[int, Contrast]]:
    """What each planned day shows: users that have come stay, with the values that they had."""
    planned = np.array(case.shares) * definition.sample.users_per_arm
    control, treatment = (
        np.cumsum(generator.poisson(np.diff(planned, prepend=0.0))) if case.varies else np.rint(planned).astype(int)
        for _ in range(2)
    )
    values = (
        _ndcg(definition, generator, control[-1], 0.0),
        _ndcg(definition, generator, treatment[-1], case.effect_points),
    )
    return [
        (day, Contrast(_arm(values[0][:before]), _arm(values[1][:after])))
        for day, before, after in zip(looks.planned_days(definition), control, treatment, strict=True)
    ]


def _ndcg(definition: Definition, generator: np.random.Generator, users: int, effect_points: float) -> Floats:
    """A beta distribution with the planned spread between users."""
    mean = MEAN + effect_points / POINTS
    concentration = MEAN * (1 - MEAN) / (definition.sample.sd_points / POINTS) ** 2 - 1
    return generator.beta(mean * concentration, (1 - mean) * concentration, users)


def _arm(ndcg: Floats) -> ArmStatistics:
    return ArmStatistics(ndcg.size, ndcg.size, 0, _NO_CALLS, 1.0, 1.0, {Quantity.NDCG: Moments.of(ndcg)})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status: 1 where a share without an effect is not the promised one."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description="Plays experiments to a decision.")
    parser.add_argument("--experiments", type=int, default=2_000, help="of each case")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    definition = parse_definition(template())
    results = [play(definition, case, chosen.experiments, chosen.seed) for case in CASES]
    OUT.parent.mkdir(exist_ok=True)
    record = {"seed": chosen.seed, "cases": [asdict(result) for result in results]}
    OUT.write_text(json.dumps(record, indent=1) + "\n")
    Console(width=120).print(_table(results))
    wrong = [
        result.case for result, case in zip(results, CASES, strict=True) if not case.effect_points and _off(result)
    ]
    if wrong:
        print(f"error: found another size than 5 % in {', '.join(wrong)}; see {OUT}", file=sys.stderr)
    return 1 if wrong else 0


def _off(result: Result) -> bool:
    """By more than four standard errors of 5 %."""
    return abs(result.rejected_percent - 5) > 400 * math.sqrt(0.05 * 0.95 / result.experiments)


def _table(results: Sequence[Result]) -> Table:
    table = Table("case", "an effect found", "by |z| >= 1.96", *(str(outcome) for outcome in Outcome), "day", box=None)
    for result in results:
        table.add_row(
            result.case,
            f"{result.rejected_percent:.2f} +- {result.rejected_percent_error:.2f} %",
            f"{result.unadjusted_percent:.2f} %",
            *(f"{share:.2f} %" for share in result.outcomes_percent.values()),
            f"{result.mean_day:.1f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
