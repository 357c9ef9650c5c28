"""A million logged calls while workers are killed: ``python -m bench.million [--calls 1000000] [--kills 100]``.

Calls of every kind run against two workers in every mode of an experiment, random workers are killed with SIGKILL, and
afterwards the logs answer for all of it: every sealed record replays to the same bits, and what was lost is known to
the record. The exit status is 1 when anything of that does not hold.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_guard import _core
from ra_guard.client import CallFailed, ExperimentClient
from ra_guard.v1 import plan_pb2, rerank_pb2
from rich.console import Console
from rich.table import Table

from bench import peers, small
from bench.accounts import ARMS, ENROLLED, Offered, Sealed, by_arm, read_offered, read_sealed
from bench.conductor import PAUSE_S, PHASES, Conductor
from bench.fleet import Running, ServerStartError, running
from bench.mix import CAPACITY, Mix
from bench.progress import Tell, bar, say
from bench.servers import Options, Orders, Restarts, publish_experiment, settings_of
from bench.streams import UNANSWERED, Asked, Callers
from bench.workload import definition

WORKERS = 2
STREAMS = 6
FIRST_KILL, LAST_KILL = 0.02, 0.98
"""As shares of the calls."""
CALLS_A_KILL = 1000
"""At least: enough for a worker to have something to lose."""


@dataclass(frozen=True)
class Scenario:
    """How large."""

    calls: int
    """Answers, besides those that come while the experiment changes."""
    kills: int
    seed: int = 0
    """Chooses the moments and the victims."""
    lease_s: int = 4
    writer_lease_s: float = 6.0
    """A control plane that was killed is replaced after so long: later than leases end, so that calls see them end."""


@dataclass(frozen=True)
class Run:
    """What happened, and what it left behind."""

    asked: Asked
    killed: int
    server_status: int
    """Of the server, which was told to drain: 0 when it did."""
    sealed: Sealed
    offered: Offered


def happen(scenario: Scenario, state: Path) -> Run:
    """Starts everything in an empty folder, makes the calls and the kills, stops everything and reads the logs."""
    gallery = state / "gallery"
    small.publish(gallery)
    options: Options = {
        "server": {"capacity_candidates": CAPACITY},
        "worker": {"restart_backoff_s": 0.05},
        # A worker that came back answers before it has heard of the plan: with what it remembers, and without a lease.
        "control": {"start_wait_s": 0.0, "writer_lease_s": scenario.writer_lease_s},
        # Nothing is shipped: segments stay where they are written.
        "log": {"calls": "none", "ship_s": 0},
        "watch": {"every_s": 0},
    }
    orders = Orders("rerank", (), str(state), str(gallery), workers=WORKERS, options=options, restarts=Restarts.AT_ONCE)
    settings = settings_of(orders)
    publish_experiment(settings.store_url, definition(lease_s=scenario.lease_s))
    replay = _core.Replay(str(gallery))
    say(f"starting {WORKERS} workers")
    with running(orders) as server, ExperimentClient(server.control) as control:
        conductor, asked = Conductor(control, server, scenario.lease_s), Asked()
        killed = _call(scenario, server, conductor, asked)
        for sealed_plan in conductor.sealed_plans():
            replay.add_plan(sealed_plan)
        server_status = server.stop()
    folder = settings.candidate_log_dir
    _, refused = _core.recover_logs(str(folder))
    for reason in refused:
        asked.fail(f"a segment that cannot be recovered: {reason}")
    size = sum(path.stat().st_size for path in folder.glob("*.log"))
    with bar(f"replaying {size / 1e6:,.0f} MB of log", size) as tell:
        sealed = read_sealed(folder, replay, len(asked.arms), tell)
    return Run(asked, killed, server_status, sealed, read_offered(folder))


def _call(scenario: Scenario, server: Running, conductor: Conductor, asked: Asked) -> int:
    """Makes the calls, with a killer beside them; returns how many workers were killed."""
    callers = Callers(server.port, Mix(), asked, STREAMS)
    killed: list[int] = []
    killer = threading.Thread(target=_kill, args=(scenario, server, asked, killed), name="killer", daemon=True)
    with bar(f"{scenario.calls:,} calls, {scenario.kills} kills", scenario.calls) as tell:
        callers.start()
        killer.start()
        for share, enter in PHASES:
            _wait_for(share * scenario.calls, asked, tell)
            with asked.uncounted():
                enter(conductor)
        _wait_for(scenario.calls, asked, tell)
        killer.join()
        asked.finish()
        callers.join()
    return len(killed)


def _kill(scenario: Scenario, server: Running, asked: Asked, killed: list[int]) -> None:
    """Kills a random worker that takes connections, at random numbers of answers."""
    draw = random.Random(scenario.seed)
    first, last = int(scenario.calls * FIRST_KILL), int(scenario.calls * LAST_KILL)
    for moment in sorted(draw.sample(range(first, last), scenario.kills)):
        _wait_for(moment, asked, lambda _: None)
        while not asked.done and not (serving := peers.listening(server.port, server.workers())):
            time.sleep(PAUSE_S)
        if asked.done:
            return
        victim = draw.choice(serving)
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)


def _wait_for(answers: float, asked: Asked, tell: Tell) -> None:
    """Until so many answers counted; or a call failed, which ends it all."""
    while asked.counted < answers and not asked.done:
        time.sleep(PAUSE_S)
        tell(asked.counted)


@dataclass(frozen=True)
class Books:
    """The account of every call; of those of enrolled users by assigned arm."""

    offered: Counter[str]
    sealed: Counter[str]
    lost: Counter[str]
    """Offered less sealed."""
    missing: Counter[str]
    """Answered, and not sealed."""
    answered: Counter[str]
    unlogged: int
    """Answered to users of no arm: no record is made."""
    unknown: int
    """Neither answered nor sealed: lost, or never offered."""
    broken: Sequence[str]
    """What does not hold."""


def judge(run: Run, scenario: Scenario) -> Books:
    """Balances what callers saw, what was offered and what is sealed."""
    sealed, offered = by_arm(run.sealed.by_run), by_arm(run.offered.by_run)
    lost = Counter({arm: offered[arm] - sealed[arm] for arm in ENROLLED})
    answered, missing = Counter[str](), Counter[str]()
    unknown = swapped = unlogged = 0
    for arm, times, logged in zip(run.asked.arms, run.sealed.times, run.sealed.arms, strict=True):
        name = ARMS[arm - 1] if arm != UNANSWERED else ""
        if not name:
            unknown += times == 0
        elif name not in ENROLLED:
            unlogged += 1
        else:
            answered[name] += 1
            missing[name] += times == 0
        swapped += times > 0 and arm not in (UNANSWERED, logged)
    broken = list(_broken(run, scenario, lost, missing, unknown))
    if swapped:
        broken.append(f"{swapped} records name another arm than the answer did")
    return Books(offered, sealed, lost, missing, answered, unlogged, unknown, broken)


def _broken(run: Run, scenario: Scenario, lost: Counter[str], missing: Counter[str], unknown: int) -> Iterator[str]:
    yield from run.asked.failures
    if run.server_status != 0:
        yield f"the server ended with status {run.server_status} when it was told to drain"
    if run.killed != scenario.kills:
        yield f"{run.killed} workers were killed, wanted {scenario.kills}"
    for kind, what in (
        ("different", "records do not replay to the same bits"),
        ("unreadable", "records or segments of which that cannot be told"),
        ("strange", "records of calls that nobody made"),
    ):
        if run.sealed.troubles[kind]:
            examples: list[str] = getattr(run.sealed, kind)
            yield f"{run.sealed.troubles[kind]} {what}: {'; '.join(examples)}"
    twice = sum(times > 1 for times in run.sealed.times)
    if twice:
        yield f"{twice} request ids are sealed more than once"
    for name, counts in run.sealed.by_run.items():
        offered = run.offered.by_run.get(name, {})
        for arm, count in counts.items():
            if count > offered.get(arm, 0):
                yield f"run {name}: {count} {arm} records sealed, {offered.get(arm, 0)} offered"
    for arm in ENROLLED:
        if missing[arm] > lost[arm]:
            yield f"{missing[arm]} answered {arm} calls are not sealed, and {lost[arm]} are counted as lost"
    beyond = lost.total() - missing.total()
    if beyond > unknown:
        yield f"{beyond} lost records are of no answered call, and only {unknown} calls had no answer and no record"


def show(run: Run, books: Books) -> None:
    """Prints what was counted, and whether it holds."""
    console = Console(highlight=False, width=None if Console().is_terminal else 132)
    console.print(_outcomes(run))
    console.print(_accounts(books))
    runs, replayed = len(run.offered.by_run), run.sealed.records - run.sealed.troubles.total()
    modes = ", ".join(
        f"{count:,} {plan_pb2.Mode.Name(mode).removeprefix('MODE_')}"
        for mode, count in sorted(run.sealed.by_mode.items())
    )
    console.print(
        f"{len(run.asked.arms):,} calls: {run.asked.answered:,} answered, {run.asked.unanswered:,} on their way to a "
        f"worker when it died, {books.unknown:,} of these in no log. {books.unlogged:,} answers were to users of no "
        "arm, who are not logged.\n"
        f"{run.killed} workers killed; {runs} lives of a worker that logged, {run.offered.closed} of them to a drain.\n"
        f"{run.sealed.records:,} records sealed in {run.sealed.bytes / 1e6:,.0f} MB: {modes}.\n"
        f"{replayed:,} records replayed to the same bits."
    )
    for line in books.broken:
        console.print(f"does not hold: {line}", markup=False)
    if not books.broken:
        console.print("holds: every sealed record replays, and every loss is accounted for")


def _outcomes(run: Run) -> Table:
    view = Table(title="Answers", title_justify="left")
    view.add_column("status", style="bold")
    view.add_column("reason")
    view.add_column("calls", justify="right")
    for (status, reason), count in sorted(run.asked.outcomes.items()):
        view.add_row(_status(status), _reason(reason), f"{count:,}")
    return view


def _accounts(books: Books) -> Table:
    view = Table(title="Log records", title_justify="left")
    view.add_column("assigned arm", style="bold")
    for column in ("answered", "offered", "sealed", "lost", "answered and lost"):
        view.add_column(column, justify="right")
    columns = (books.answered, books.offered, books.sealed, books.lost, books.missing)
    for arm in ENROLLED:
        view.add_row(arm, *(f"{column[arm]:,}" for column in columns))
    view.add_row("all", *(f"{column.total():,}" for column in columns))
    return view


def _status(status: int) -> str:
    return rerank_pb2.Status.Name(status).removeprefix("STATUS_")


def _reason(reason: int) -> str:
    return rerank_pb2.Reason.Name(reason).removeprefix("REASON_") if reason else ""


def as_json(run: Run, books: Books) -> dict[str, object]:
    """What was counted, for scripts."""
    return {
        "calls": len(run.asked.arms),
        "answered": run.asked.answered,
        "outcomes": [
            {"status": _status(status), "reason": _reason(reason), "calls": count}
            for (status, reason), count in sorted(run.asked.outcomes.items())
        ],
        "killed": run.killed,
        "runs": len(run.offered.by_run),
        "runs_closed": run.offered.closed,
        "records": run.sealed.records,
        "bytes": run.sealed.bytes,
        "by_mode": {plan_pb2.Mode.Name(mode): count for mode, count in sorted(run.sealed.by_mode.items())},
        "by_arm": {name: dict(getattr(books, name)) for name in ("answered", "offered", "sealed", "lost", "missing")},
        "answered_to_users_of_no_arm": books.unlogged,
        "neither_answered_nor_sealed": books.unknown,
        "broken": list(books.broken),
        "holds": not books.broken,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=(__doc__ or "").split(":", 1)[0])
    parser.add_argument("--calls", type=int, default=1_000_000, help="answers to wait for")
    parser.add_argument("--kills", type=int, default=100, help="of workers, by SIGKILL")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    chosen = parser.parse_args(arguments)
    scenario = Scenario(chosen.calls, chosen.kills, chosen.seed)
    if scenario.kills * CALLS_A_KILL > scenario.calls:
        parser.error(f"found {scenario.kills} kills in {scenario.calls} calls, wanted {CALLS_A_KILL} calls a kill")
    try:
        with tempfile.TemporaryDirectory() as state:
            run = happen(scenario, Path(state))
    except (CallFailed, ServerStartError) as error:
        say(f"error: {error}")
        return 1
    books = judge(run, scenario)
    if chosen.json:
        print(json.dumps(as_json(run, books), indent=2))
    else:
        show(run, books)
    return 1 if books.broken else 0


if __name__ == "__main__":
    sys.exit(main())
