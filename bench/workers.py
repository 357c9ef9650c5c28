"""Calls per second of two pinned workers on one port over one pinned worker.

A machine of two cores has none left for the client: it runs where the scheduler puts it and takes its share from the
workers, more of it from two than from one. That is why the load comes from the cheap generator of h2.py, whose own
cost is recorded. Each of the callers has one call in flight at a time; all fleets are up at once, rounds alternate.
"""

import tempfile
from pathlib import Path
from statistics import median

from bench import core, rounds, synth
from bench.channel import UNARY
from bench.findings import Findings, Setting
from bench.fleet import grpc_experiments, serving
from bench.load import Callers, Load
from bench.servers import Orders
from bench.workload import CANDIDATES

CALLERS = 32
SCORES_BYTES = 4 * CANDIDATES
"""An answer that is shorter than its scores is a baseline, given because a worker was overloaded."""
ONE, TWO, UNPINNED = "one pinned worker", "two pinned workers", "one worker, not pinned"


def measure(setting: Setting) -> Findings:
    """`two_workers_over_one`; skipped on a machine with a single core."""
    if not setting.pinning.both:
        return Findings(skipped={"two_workers_over_one": "wants two cores, found one"})
    gallery = synth.gallery(setting.rows, core.DEFAULT_DTYPE, setting.state)
    messages = [question.message for question in core.questions(setting.rows)]
    with tempfile.TemporaryDirectory(dir=setting.state) as state:
        orders = _orders(setting, Path(state), gallery)
        setting.say("workers: starting both fleets")
        with serving(orders, grpc_experiments=grpc_experiments()) as ports:
            callers = {
                name: Callers(port, UNARY, messages, CALLERS, whole_answer_bytes=SCORES_BYTES)
                for name, port in ports.items()
            }
            setting.say("workers: load")
            loads = _loads(callers, setting)
            for one in callers.values():
                one.close()
    rates = {name: median(load.calls_per_s for load in of) for name, of in loads.items()}
    return Findings(
        {"two_workers_over_one": rates[TWO] / rates[ONE]},
        {"workers": {name: _details(of) for name, of in loads.items()}},
    )


def _orders(setting: Setting, state: Path, gallery: synth.Gallery) -> dict[str, Orders]:
    server, client = setting.pinning.server, setting.pinning.client
    assert server is not None
    assert client is not None
    fleets = {ONE: ((server,), 1, True), TWO: ((server, client), 2, True), UNPINNED: ((server, client), 1, False)}
    orders = {}
    for number, (name, (cores, workers, pinned)) in enumerate(fleets.items()):
        folder = state / str(number)
        folder.mkdir()
        orders[name] = Orders("rerank", cores, str(folder), gallery=str(gallery.folder), workers=workers, pinned=pinned)
    return orders


def _loads(callers: dict[str, Callers], setting: Setting) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {name: [] for name in callers}
    for one in callers.values():
        one.closed_loop(setting.load_seconds / 2)
    for _, name in rounds.interleave(tuple(callers), max(4, setting.rounds // 4)):
        loads[name].append(callers[name].closed_loop(setting.load_seconds))
    return loads


def _details(loads: list[Load]) -> dict[str, object]:
    recorder = rounds.Recorder()
    for load in loads:
        recorder.add(load.latencies_ns)
    return {
        "calls_per_s": [load.calls_per_s for load in loads],
        "degraded": sum(load.degraded for load in loads),
        "client_us_per_call": median(load.client_us_per_call for load in loads),
        "callers": CALLERS,
        "latency": recorder.latency().as_dict(),
    }
