"""How long the killswitch takes to reach ten replicas, again and again under load, and whether it reaches all.

Ten workers on this machine watch the control plane that was started beside them. Each turn kills the experiment,
resumes it in a new epoch and ramps it back up. A kill's time counts at the caller, from the call to its answer, which
the control plane gives once every replica has said that it holds the plan. What the answer promises is checked on
every connection: a call sent after it is answered with the baseline, because the experiment is killed.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_guard.client import ExperimentClient
from ra_guard.v1 import experiment_pb2, rerank_pb2

from bench import small
from bench.agreement import WrongAnswerError
from bench.findings import Findings, Setting
from bench.fleet import running
from bench.h2 import LoadError
from bench.servers import Options, Orders
from bench.steady import Call, SteadyLoad
from bench.workload import EXPERIMENT, RAMP_BP

REPLICAS = 10
CONNECTIONS_PER_REPLICA = 2
CALLS_PER_S = 200.0
USERS = 1000
CANDIDATES = 50
PATIENCE_S = 60.0
WHO, WHY = "bench", "a turn of the killswitch"


@dataclass(frozen=True)
class Kill:
    """One turn of the killswitch. Moments are those of `time.monotonic_ns`."""

    called_ns: int
    answered_ns: int
    resumed_ns: int
    """When the next change was asked for: until then the kill holds."""
    push_s: float
    """From the stored change to the last replica's word, as the control plane measured it."""

    @property
    def took_ms(self) -> float:
        """From the call to its answer."""
        return (self.answered_ns - self.called_ns) / 1e6


@dataclass(frozen=True)
class Obeyed:
    """What callers saw of the kills."""

    killed: int
    """Calls between a kill's answer and the next change, all answered with the baseline because of the kill."""
    treated: int
    """Calls that were treated, before and between."""
    last_treated_ms: Sequence[float]
    """From each kill's call to the last treated answer; not above 0 where none came after the call."""


def measure(setting: Setting) -> Findings:
    """`kill_all_acked_ms` and `plan_push_ms`."""
    with tempfile.TemporaryDirectory(dir=setting.state) as state:
        gallery = Path(state) / "gallery"
        small.publish(gallery)
        setting.say(f"kills: starting {REPLICAS} replicas")
        # A call that waited long for its turn would be answered OVERLOAD, which says nothing about the kill.
        options: Options = {"log": {"calls": "none"}, "server": {"shed_queue_delay_ms": 10_000}}
        orders = Orders("rerank", (), state, str(gallery), workers=REPLICAS, options=options)
        try:
            with running(orders) as server, ExperimentClient(server.control) as control:
                messages = small.questions(USERS, candidates=CANDIDATES)
                per_replica = CONNECTIONS_PER_REPLICA
                load = SteadyLoad(server.port, messages, server.workers(), per_worker=per_replica, rate=CALLS_PER_S)
                setting.say(f"kills: {setting.kills} turns")
                with load:
                    kills = [turn(control, load) for _ in range(setting.kills)]
                load.require_no_failure()
                calls = load.calls()
        except LoadError as failure:
            raise WrongAnswerError(f"kills: {failure}") from failure
    obeyed = obedience(calls, kills)
    took, pushed = [kill.took_ms for kill in kills], [kill.push_s * 1e3 for kill in kills]
    return Findings(
        {"kill_all_acked_ms": percentile(took, 99), "plan_push_ms": percentile(pushed, 99)},
        {
            "kills": {
                "kills": len(kills),
                "replicas": REPLICAS,
                "connections": REPLICAS * CONNECTIONS_PER_REPLICA,
                "kill_all_acked_ms": percentiles(took),
                "plan_push_ms": percentiles(pushed),
                "last_treated_after_kill_ms": percentiles(obeyed.last_treated_ms),
                "calls": len(calls),
                "calls_failed": 0,
                "calls_treated": obeyed.treated,
                "calls_killed": obeyed.killed,
            }
        },
    )


def turn(control: ExperimentClient, load: SteadyLoad) -> Kill:
    """Waits until every connection answers as the ramp says, kills, waits the same way, and ramps back up."""
    _wait(load, time.monotonic_ns(), "an answer by the arms", by_arm)
    called_ns = time.monotonic_ns()
    answer = control.kill(experiment_pb2.KillRequest(key=EXPERIMENT, who=WHO, why=WHY))
    answered_ns = time.monotonic_ns()
    if len(answer.spread.acked) != REPLICAS or answer.spread.expired or answer.spread.waiting:
        raise WrongAnswerError(f"kills: found {answer.spread}, wanted {REPLICAS} replicas that acked")
    _wait(load, answered_ns, "an answer", lambda _: True)
    resumed_ns = time.monotonic_ns()
    control.resume(experiment_pb2.ResumeRequest(key=EXPERIMENT, who=WHO, why=WHY))
    pace = experiment_pb2.PACE_SKIPPING_STAGES
    control.ramp(experiment_pb2.RampRequest(key=EXPERIMENT, ramp_bp=RAMP_BP, pace=pace, who=WHO, why=WHY))
    return Kill(called_ns, answered_ns, resumed_ns, answer.spread.seconds)


def by_arm(call: Call) -> bool:
    """Whether a call was answered as its user's arm says."""
    return call.treated or call.reason == rerank_pb2.REASON_CONTROL


def obedience(calls: Sequence[Call], kills: Sequence[Kill]) -> Obeyed:
    """Holds the answers to the kills. Raises WrongAnswerError for the first that does not obey."""
    killed = 0
    for kill in kills:
        for call in calls:
            if call.sent_ns < kill.answered_ns or call.answered_ns > kill.resumed_ns:
                continue
            if (call.status, call.reason) != (rerank_pb2.STATUS_BASELINE, rerank_pb2.REASON_KILLED):
                raise WrongAnswerError(f"kills: found {call} after a kill was answered, wanted BASELINE, KILLED")
            killed += 1
    _require_no_way_back(calls)
    treated_ns = [call.answered_ns for call in calls if call.treated]
    last = [max(at for at in treated_ns if at < kill.resumed_ns) - kill.called_ns for kill in kills]
    return Obeyed(killed, len(treated_ns), [each_ns / 1e6 for each_ns in last])


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank: the smallest value that so many percent of all do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """What is told of times."""
    return {"p50": percentile(values, 50), "p99": percentile(values, 99), "max": max(values)}


def _require_no_way_back(calls: Sequence[Call]) -> None:
    """A connection is one worker's, with one call in flight: its revisions never go down."""
    held: dict[int, Call] = {}
    for call in calls:
        before = held.get(call.connection)
        if before is not None and call.plan_revision < before.plan_revision:
            raise WrongAnswerError(f"kills: found {call} after {before} on one connection, wanted no way back")
        held[call.connection] = call


def _wait(load: SteadyLoad, since_ns: int, wanted: str, such: Callable[[Call], bool]) -> None:
    if not load.wait_for_each(such, since_ns=since_ns, timeout_s=PATIENCE_S):
        raise WrongAnswerError(f"kills: found connections without {wanted} in {PATIENCE_S:.0f} s")
