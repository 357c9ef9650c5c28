"""A Rerank call as a caller sees it, unary and on a stream, beside the echo and the Python rival.

All servers are up at once on one core, one client on the other visits them in interleaved rounds, one call in flight:
a latency is what the wire, grpcio and the server add up to. Then calls arrive at constant rates, to see the tail that
one caller alone never sees.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import core, machine, rounds, synth
from bench.channel import UNARY, Channel
from bench.findings import Findings, Setting
from bench.fleet import grpc_experiments, serving
from bench.load import Callers
from bench.reference import check_answer
from bench.servers import Orders
from bench.workers import SCORES_BYTES
from bench.workload import Question

ECHO, PYTHON = "echo", "python"
OPEN_LOOP_RATES = (500, 1000, 2000)
OPEN_LOOP_CALLERS = 16
CHECKED = 50


def measure(setting: Setting) -> Findings:
    """`unary_over_echo` of every element type, `unary_vs_python`, `stream_over_unary`."""
    machine.pin(setting.pinning.client)
    asked = core.questions(setting.rows)
    messages = [question.message for question in asked]
    experiments = grpc_experiments()
    with tempfile.TemporaryDirectory(dir=setting.state) as state:
        orders = _orders(setting, Path(state), _answer_bytes(setting, messages[0], Path(state)))
        setting.say(f"serving: starting {', '.join(orders)}")
        with serving(orders, grpc_experiments=experiments) as ports, _calls(ports) as calls:
            for name, call in calls.items():
                _check(name, call, asked[:CHECKED])
            setting.say("serving: one caller")
            visits = {name: core.visiting(call, messages, setting.calls) for name, call in calls.items()}
            latencies = rounds.measure(visits, setting.rounds)
            stages = {name: core.stages_p50_ns(calls[name], messages) for name in _ours(setting)}
            setting.say("serving: constant rates")
            arriving = {name: _open_loops(setting, ports[name], messages) for name in (ECHO, core.DEFAULT_DTYPE)}
    p50 = {name: latency.p50_us for name, latency in latencies.items()}
    default = core.DEFAULT_DTYPE
    return Findings(
        {
            "unary_over_echo": {dtype: p50[dtype] / p50[ECHO] for dtype in setting.dtypes},
            "unary_vs_python": p50[PYTHON] / p50[default],
            "stream_over_unary": p50[_stream(default)] / p50[default],
        },
        {
            "serving": {
                "one_caller": {name: latency.as_dict() for name, latency in latencies.items()},
                "stages_p50_ns": stages,
                "open_loop": arriving,
                "echo_stream_over_unary": p50[_stream(ECHO)] / p50[ECHO],
                "grpc_experiments": experiments,
            }
        },
    )


def _orders(setting: Setting, state: Path, answer_bytes: int) -> dict[str, Orders]:
    cores = () if setting.pinning.server is None else (setting.pinning.server,)
    orders = {ECHO: Orders("echo", cores, "", answer_bytes=answer_bytes)}
    for dtype in setting.dtypes:
        gallery = synth.gallery(setting.rows, dtype, setting.state)
        orders[dtype] = Orders("rerank", cores, _folder(state, dtype), gallery=str(gallery.folder))
    return {**orders, PYTHON: Orders("python", cores, _folder(state, PYTHON), rows=setting.rows)}


def _folder(state: Path, name: str) -> str:
    folder = state / name
    folder.mkdir()
    return str(folder)


def _answer_bytes(setting: Setting, message: bytes, state: Path) -> int:
    """The size of a usual answer, which the echo answers with."""
    gallery = synth.gallery(setting.rows, core.DEFAULT_DTYPE, setting.state)
    return len(core.engine_over(gallery.open(), state / "size").rerank(message).response)


def _ours(setting: Setting) -> list[str]:
    return [*setting.dtypes, *map(_stream, setting.dtypes)]


def _stream(name: str) -> str:
    return f"{name} stream"


@contextmanager
def _calls(ports: Mapping[str, int]) -> Iterator[dict[str, rounds.Call]]:
    """Every server twice, by unary calls and on a stream of its own."""
    with ExitStack() as stack:
        channels = {name: stack.enter_context(Channel(port)) for name, port in ports.items()}
        streams = {_stream(name): channel.stream() for name, channel in channels.items()}
        for stream in streams.values():
            stack.callback(stream.close)
        yield {**{name: channel.unary() for name, channel in channels.items()}, **streams}


def _check(name: str, call: rounds.Call, asked: Sequence[Question]) -> None:
    server = name.split()[0]
    for question in asked:
        answer = call(question.message)
        if server != ECHO:
            check_answer(name, answer, question, "f32" if server == PYTHON else server)


def _open_loops(setting: Setting, port: int, messages: Sequence[bytes]) -> dict[str, object]:
    """Percentiles from the moment that each call was due, by rate."""
    callers = Callers(port, UNARY, messages, OPEN_LOOP_CALLERS, whole_answer_bytes=SCORES_BYTES)
    arrived: dict[str, object] = {}
    for rate in OPEN_LOOP_RATES:
        load = callers.open_loop(rate, int(rate * 2 * setting.load_seconds))
        recorder = rounds.Recorder()
        recorder.add(load.latencies_ns)
        arrived[str(rate)] = {
            "whole_answers_per_s": load.calls_per_s,
            "degraded": load.degraded,
            **recorder.latency().as_dict(),
        }
    callers.close()
    return arrived
