"""The control plane dies under load and stays away: ``python -m bench.outage [--seconds 300]``.

Replicas go on without it for as long as their lease, and no longer; then they serve everyone the baseline, and take
treatment up by themselves once it is back. Half of the users are treated before and after, and every answer is kept,
with the replica that gave it. The exit status is 1 when anything of what the design promises does not hold.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ra_guard.serve import reserve_port
from ra_guard.v1 import rerank_pb2
from rich.console import Console
from rich.table import Table

from bench import small
from bench.fleet import Running, ServerStartError, running
from bench.h2 import LoadError
from bench.peers import NobodyAcceptsError
from bench.progress import bar, say
from bench.servers import Options, Orders, publish_experiment, settings_of
from bench.steady import Call, SteadyLoad
from bench.workload import definition

USERS = 1000
CANDIDATES = 50
PATIENCE_S = 60.0
"""For what must come by itself: the end of treatment beyond the lease, and its return."""
HEARTBEATS_EARLY = 2.0
"""A lease runs from the last word of a replica: at most a heartbeat before the end, and one more for delay."""


@dataclass(frozen=True)
class Scenario:
    """How large, how long."""

    seconds: float
    """Without a control plane; longer when a replica's lease takes longer to end."""
    lease_s: int = 60
    replicas: int = 10
    connections_per_replica: int = 2
    calls_per_s: float = 200.0
    heartbeat_s: float = 1.0
    writer_lease_s: float = 10.0
    """How long the next control plane waits for the dead one's seat; an outage is usually longer."""

    @property
    def earliest_s(self) -> float:
        """From the death of the control plane to the soonest honest end of a lease."""
        return self.lease_s - HEARTBEATS_EARLY * self.heartbeat_s


@dataclass(frozen=True)
class Outage:
    """What happened, on the clock of `time.monotonic_ns`."""

    calls: Sequence[Call]
    replica_of: Sequence[int]
    """By connection: the process that answered it."""
    killed_ns: int
    gone_ns: int
    """The control plane had ended: no lease can have begun later."""
    restarted_ns: int
    """The next one was about to be started: until here, nobody could have granted a lease."""
    failure: str | None
    """Why the load broke off, before whatever had not happened yet; None when every call was answered."""
    replicas_after: Sequence[int]
    """Processes that served at the end."""


@dataclass(frozen=True)
class Replica:
    """One replica through the outage; times from the death of the control plane."""

    replica: int
    calls: int
    last_treated_s: float | None
    """When the last treated call before the restart was sent."""
    first_expired_s: float | None
    """When the first answer for want of a lease came."""
    treated_late: int
    """Treated calls, sent while no lease could be running."""
    returned_s: float | None
    """From the start of the next control plane to the first treated answer."""


@dataclass(frozen=True)
class Verdict:
    """The outage by replica, and what did not hold."""

    replicas: Sequence[Replica]
    calls: int
    users: int
    broken: Sequence[str]
    """Promises that were not kept."""
    early: Sequence[str]
    """Leases that ended sooner than they should have: the machine was too busy, or the clock is wrong."""

    @property
    def holds(self) -> bool:
        """Whether everything was as promised."""
        return not self.broken and not self.early


def happen(scenario: Scenario, state: Path) -> Outage:
    """Starts everything in an empty folder, lets the control plane die and come back, and stops everything."""
    gallery = state / "gallery"
    small.publish(gallery)
    reservation, port = reserve_port("127.0.0.1", 0)
    options: Options = {
        "control": {"heartbeat_s": scenario.heartbeat_s, "writer_lease_s": scenario.writer_lease_s},
        # A call that waited long for its turn would be answered OVERLOAD, which says nothing about leases.
        "server": {"shed_queue_delay_ms": 10_000},
        "log": {"calls": "none"},
    }
    plane = Orders("control", (), str(state), port=port, options=options)
    publish_experiment(settings_of(plane).store_url, definition(lease_s=scenario.lease_s))
    fleet = Orders(
        "rerank",
        (),
        str(state),
        str(gallery),
        workers=scenario.replicas,
        control=f"127.0.0.1:{port}",
        options=options,
    )
    with reservation, running(plane) as control:
        say(f"starting {scenario.replicas} replicas beside one control plane")
        with running(fleet) as server:
            load = SteadyLoad(
                server.port,
                small.questions(USERS, candidates=CANDIDATES),
                server.workers(),
                per_worker=scenario.connections_per_replica,
                rate=scenario.calls_per_s,
            )
            return _under_load(scenario, plane, control, server, load)


def _under_load(scenario: Scenario, plane: Orders, control: Running, server: Running, load: SteadyLoad) -> Outage:
    failure = None
    killed_ns = gone_ns = restarted_ns = 0
    with load:
        try:
            load.wait_for_each(_treated, since_ns=0, timeout_s=PATIENCE_S)
            killed_ns = time.monotonic_ns()
            control.kill()
            gone_ns = time.monotonic_ns()
            with bar(f"no control plane, a lease of {scenario.lease_s} s", scenario.seconds) as tell:
                load.go_on(scenario.seconds, tell)
            load.wait_for_each(_expired, since_ns=gone_ns, timeout_s=scenario.lease_s + PATIENCE_S)
            load.wait_for_each(lambda _: True, since_ns=time.monotonic_ns(), timeout_s=PATIENCE_S)
            restarted_ns = time.monotonic_ns()
            with running(plane):
                say("the control plane is back")
                load.wait_for_each(_treated, since_ns=restarted_ns, timeout_s=PATIENCE_S)
                load.stop()
            load.require_no_failure()
        except LoadError as error:
            failure = str(error)
        never = time.monotonic_ns()
    moments = killed_ns or never, gone_ns or never, restarted_ns or never
    return Outage(load.calls(), load.workers, *moments, failure, server.workers())


def judge(outage: Outage, scenario: Scenario) -> Verdict:
    """Holds what happened to what is promised."""
    replicas = [_replica(name, outage, scenario) for name in sorted(set(outage.replica_of))]
    arms: dict[str, set[int]] = {}
    for call in outage.calls:
        arms.setdefault(call.request_id, set()).add(call.assigned_arm)
    return Verdict(
        replicas,
        calls=len(outage.calls),
        users=len(arms),
        broken=[*_broken(outage, arms), *(line for replica in replicas for line in _broken_by(replica, scenario))],
        early=[
            f"replica {replica.replica}: the first LEASE_EXPIRED after {replica.first_expired_s:.2f} s, "
            f"wanted not before {scenario.earliest_s:.2f} s"
            for replica in replicas
            if replica.first_expired_s is not None and replica.first_expired_s < scenario.earliest_s
        ],
    )


def _replica(name: int, outage: Outage, scenario: Scenario) -> Replica:
    calls = [call for call in outage.calls if outage.replica_of[call.connection] == name]
    without = [call for call in calls if outage.gone_ns <= call.sent_ns and call.answered_ns < outage.restarted_ns]
    expired = [call for call in without if _expired(call)]
    # Exact whatever the load: no lease begins after the end of who grants it.
    end_ns = outage.gone_ns + scenario.lease_s * 1_000_000_000
    if expired:
        end_ns = min(end_ns, expired[0].answered_ns)
    treated = [call.sent_ns for call in calls if call.treated and call.sent_ns < outage.restarted_ns]
    returned = [call.answered_ns for call in calls if call.treated and call.sent_ns >= outage.restarted_ns]
    return Replica(
        name,
        len(calls),
        last_treated_s=(max(treated) - outage.killed_ns) / 1e9 if treated else None,
        first_expired_s=(expired[0].answered_ns - outage.killed_ns) / 1e9 if expired else None,
        treated_late=sum(call.treated and call.sent_ns >= end_ns for call in without),
        returned_s=(returned[0] - outage.restarted_ns) / 1e9 if returned else None,
    )


def _broken(outage: Outage, arms: dict[str, set[int]]) -> Iterator[str]:
    if outage.failure is not None:
        yield outage.failure
    switched = sorted(user for user, seen in arms.items() if len(seen) > 1)
    if switched:
        yield f"{len(switched)} users were assigned to more than one arm, {switched[0]} first"
    if sorted(outage.replicas_after) != sorted(set(outage.replica_of)):
        yield f"replicas {sorted(set(outage.replica_of))} served at first, {sorted(outage.replicas_after)} at the end"


def _broken_by(replica: Replica, scenario: Scenario) -> Iterator[str]:
    name = f"replica {replica.replica}"
    if replica.last_treated_s is None:
        yield f"{name}: treated nobody before the outage"
    if replica.first_expired_s is None:
        yield f"{name}: never answered LEASE_EXPIRED"
    if replica.treated_late:
        yield f"{name}: {replica.treated_late} calls treated after its lease of {scenario.lease_s} s had ended"
    if replica.returned_s is None:
        yield f"{name}: treated nobody within {PATIENCE_S:.0f} s of the next control plane's start"


def _treated(call: Call) -> bool:
    return call.treated


def _expired(call: Call) -> bool:
    return call.reason == rerank_pb2.REASON_LEASE_EXPIRED


def show(verdict: Verdict, scenario: Scenario) -> None:
    """Prints the outage by replica, and whether it holds."""
    title = f"Control plane gone for {scenario.seconds:g} s, lease of {scenario.lease_s} s"
    view = Table(title=title, title_justify="left")
    view.add_column("replica (process)", style="bold")
    for column in ("calls", "last treated", "first LEASE_EXPIRED", "treated after lease", "treated again"):
        view.add_column(column, justify="right")
    for each in verdict.replicas:
        times = (each.last_treated_s, each.first_expired_s, each.returned_s)
        last, first, again = ("never" if time_s is None else f"{time_s:.2f} s" for time_s in times)
        view.add_row(str(each.replica), f"{each.calls:,}", last, first, str(each.treated_late), again)
    console = Console(highlight=False, width=None if Console().is_terminal else 132)
    console.print(view)
    console.print("Times from the death of the control plane; treated again: from the start of the next one.")
    console.print(f"{verdict.calls:,} calls of {verdict.users:,} users were answered.")
    for line in [*verdict.broken, *verdict.early]:
        console.print(f"does not hold: {line}", markup=False)
    if verdict.holds:
        console.print("holds: treatment ended with every lease and came back; nobody switched arms, no call failed")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    chosen = _parse(arguments)
    scenario = Scenario(chosen.seconds, chosen.lease, chosen.replicas)
    try:
        with tempfile.TemporaryDirectory() as state:
            verdict = judge(happen(scenario, Path(state)), scenario)
    except (ServerStartError, NobodyAcceptsError) as error:
        say(f"error: {error}")
        return 1
    if chosen.json:
        print(json.dumps({"scenario": asdict(scenario), **asdict(verdict), "holds": verdict.holds}, indent=2))
    else:
        show(verdict, scenario)
    return 0 if verdict.holds else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=(__doc__ or "").split(":", 1)[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the control plane stays away")
    parser.add_argument("--lease", type=int, default=60, metavar="SECONDS", help="of the experiment")
    parser.add_argument("--replicas", type=int, default=10, help="worker processes on this machine")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
