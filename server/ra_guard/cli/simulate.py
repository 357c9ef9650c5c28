"""`ra-guard simulate`: a whole experiment through the code that watches a real one, once or many times."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ra_guard.cli import simulate_tables as tables
from ra_guard.cli.terminal import result_console
from ra_guard.errors import ConfigError
from ra_guard.evidence.contrast import Evidence
from ra_guard.experiments.definition import Definition, parse_definition
from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.experiments.monitor.outcomes import Assessment
from ra_guard.logs.durable import appearing
from ra_guard.reports.write import write
from ra_guard.simulation.errors import NoPurpose
from ra_guard.simulation.measure import as_toml, measure_triggers
from ra_guard.simulation.outcome import document, versions
from ra_guard.simulation.people import Allocation
from ra_guard.simulation.play import Detail, Script, play
from ra_guard.simulation.presets import PRESETS, preset
from ra_guard.simulation.recording import Recording, content
from ra_guard.simulation.replicate import Replication, Summary, replicate, seeds_of, summarise
from ra_guard.simulation.scenario import Scenario, load

CONVENTIONS: Final = f"""\\
Presets: {", ".join(PRESETS)}. The same scenario, definition, seed and versions give the same bytes. Points are nDCG@10
times 100. A single run assigns users by the hash that replicas use; replications draw buckets with equal chances.
Exit code 0 whatever the experiment came to, 1 for a failure, 2 for wrong input."""
RESULTS: Final = "simulation_results.json"
REPLICATIONS: Final = "replications.json"

app = cyclopts.App(name="simulate", help="Play a whole experiment with a clock of its own.", help_epilogue=CONVENTIONS)

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]
Flag = Annotated[bool, cyclopts.Parameter(negative="")]
Tell = Callable[[str, int], None]


@app.default
def simulate(
    *,
    preset_name: Annotated[str, cyclopts.Parameter(name="--preset")] = "seven-day",
    scenario: Path | None = None,
    definition: Path | None = None,
    effect: float | None = None,
    seed: int = 0,
    out: Path = Path("simulation"),
    replications: int | None = None,
    faulty_replications: int | None = None,
    jobs: int = 1,
    tick_minutes: int = 1,
    measure: Annotated[bool, cyclopts.Parameter(name="--measure-triggers", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Play an experiment: users, calls, faults, monitor, ramp, rollback, looks, decision, report.

    Parameters
    ----------
    preset_name
        A scenario by name, with its definition.
    scenario
        A TOML file in place of a preset.
    definition
        A TOML file in place of the definition that goes with the scenario.
    effect
        Treatment less control in points, in place of the scenario's.
    seed
        Of all chances; 0 or more.
    out
        The folder for results and the report.
    replications
        Play so many, each with a seed of its own, and count errors, power, coverage and rollbacks.
    faulty_replications
        Of each fault, with --measure-triggers; as many as healthy ones by default.
    jobs
        Processes that play replications.
    tick_minutes
        Above 1, for statistics alone: nothing rolls back, and the clock goes in larger steps.
    measure
        Play healthy and faulty replications for each trigger; print the tables to paste into the definition.
    as_json
        One JSON document on stdout.
    """
    if seed < 0 or jobs < 1 or any(each is not None and each < 1 for each in (replications, faulty_replications)):
        raise ConfigError(
            f"found --seed {seed}, --jobs {jobs}, --replications {replications}, --faulty-replications "
            f"{faulty_replications}, wanted a seed of 0 or more, jobs and replications of 1 or more; correct them"
        )
    played, defined = _loaded(preset_name, scenario, definition, effect)
    if measure:
        script = Script(played, defined, Allocation.DRAWN, tick_minutes, Detail.DECIDING)
        healthy = 1_000 if replications is None else replications
        command = _command(preset_name, scenario, definition, effect)
        asked = _Measurement(seed, healthy, faulty_replications or healthy, jobs, out, command)
        _measure(script, asked, as_json=as_json)
    elif replications is not None:
        _replicate(
            Script(played, defined, Allocation.DRAWN, tick_minutes, Detail.DECIDING),
            seed,
            replications,
            jobs,
            out,
            as_json=as_json,
        )
    else:
        _play(Script(played, defined, Allocation.HASH, tick_minutes), seed, out, as_json=as_json)


def _loaded(
    preset_name: str, scenario: Path | None, definition: Path | None, effect: float | None
) -> tuple[Scenario, Definition]:
    played, defined = preset(preset_name) if scenario is None else load(scenario)
    if definition is not None:
        defined = parse_definition(definition.read_text(encoding="utf-8"))
    if effect is not None:
        played = played.with_effect(effect)
    return played, defined


def _command(preset_name: str, scenario: Path | None, definition: Path | None, effect: float | None) -> str:
    source = ["--preset", preset_name] if scenario is None else ["--scenario", str(scenario)]
    source += [] if definition is None else ["--definition", str(definition)]
    source += [] if effect is None else ["--effect", f"{effect:g}"]
    return shlex.join(["ra-guard", "simulate", *source])


def _play(script: Script, seed: int, out: Path, *, as_json: bool) -> None:
    with _progress(script.scenario.hours) as tell:
        recording = _Told(script, tell)
        run = play(script, seed, recording)
    found = document(run, recording.hours())
    text = _written(out / RESULTS, found)
    written = write(out, content(run, recording), ReportKind.RESULTS)
    if as_json:
        print(text, end="")
        return
    console = result_console()
    tables.print_run(console, run, recording.hours())
    console.print(f"\nWritten: {out / RESULTS}, {written.html}, {written.markdown}")


class _Told(Recording):
    """A recording that says how far it is."""

    def __init__(self, script: Script, tell: Tell) -> None:
        super().__init__(script)
        self._tell, self._hours = tell, 0

    def hour(self, evidence: Evidence, assessment: Assessment, ramp_bp: int) -> None:
        super().hour(evidence, assessment, ramp_bp)
        self._hours += 1
        self._tell("hours", self._hours)


def _replicate(script: Script, seed: int, replications: int, jobs: int, out: Path, *, as_json: bool) -> None:
    with _progress(replications) as tell:
        played = replicate(script, seeds_of(seed, replications), jobs, partial(tell, "replications"))
    summary = summarise(script, played)
    text = _written(out / REPLICATIONS, _record(script, seed, played, summary))
    if as_json:
        print(text, end="")
        return
    console = result_console()
    tables.print_summary(console, script, summary)
    console.print(f"\nWritten: {out / REPLICATIONS}")


def _record(script: Script, seed: int, played: Sequence[Replication], summary: Summary) -> dict[str, object]:
    return {
        "scenario": script.scenario.model_dump(mode="json"),
        "seed": seed,
        "tick_minutes": script.tick_minutes,
        "versions": versions(),
        "allocation": script.allocation.value,
        "true_effect_points": script.scenario.true_effect_points,
        "summary": tables.plain_summary(summary),
        "replications": [asdict(each) for each in played],
    }


@dataclass(frozen=True)
class _Measurement:
    """How triggers are measured."""

    seed: int
    healthy: int
    faulty: int
    """Of each fault."""
    jobs: int
    out: Path
    command: str
    """The scenario's part of it."""

    @property
    def again(self) -> str:
        """The command that measures the same again."""
        faulty = "" if self.faulty == self.healthy else f" --faulty-replications {self.faulty}"
        return f"{self.command} --measure-triggers --replications {self.healthy}{faulty} --seed {self.seed}"


def _measure(script: Script, asked: _Measurement, *, as_json: bool) -> None:
    if not script.rolls_back:
        raise NoPurpose(
            found=f"--measure-triggers with --tick-minutes {script.tick_minutes}",
            wanted="ticks of a minute, as triggers are asked",
            cure="leave --tick-minutes out",
        )
    seeds = seeds_of(asked.seed, max(asked.healthy, asked.faulty))
    with _progress(asked.healthy) as tell:
        calm, found = measure_triggers(
            script, seeds[: asked.healthy], seeds[: asked.faulty], asked.jobs, asked.again, tell
        )
    summary = summarise(script, calm)
    _written(asked.out / REPLICATIONS, _record(script, asked.seed, calm, summary))
    if as_json:
        plain = [{"metric": each.trigger.metric, "measured": each.measured.model_dump()} for each in found]
        print(json.dumps(plain, indent=2))
        return
    console = result_console()
    tables.print_summary(console, script, summary)
    console.print(f"\nHealthy replications: {asked.out / REPLICATIONS}\n")
    console.print("\n\n".join(map(as_toml, found)))


def _written(path: Path, found: Mapping[str, object]) -> str:
    """The document as it lies in the file."""
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as made:
        made.write_text(text, encoding="utf-8")
    return text


@contextmanager
def _progress(total: int) -> Iterator[Tell]:
    """A bar with the time that is left on stderr, for people only."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield tell
