"""The whole call inside one process, request bytes to response bytes, candidate log included, in a tight loop.

Stage times inside a server are longer, because gRPC and Python run between two calls and take the caches: this is the
cost of the core alone, the serving section shows what it comes to behind the wire.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ra_guard import _core
from ra_guard.v1.rerank_pb2 import RerankResponse, StageTimes

from bench import rounds, synth, workload
from bench.baseline import NumpyReranker
from bench.findings import Findings, Setting
from bench.reference import check_answer
from bench.workload import Question

NUMPY = "protobuf + dict + numpy"
DEFAULT_DTYPE = "f16"
"""What a gallery stores unless told otherwise; the type behind every quantity that is not split by type."""
CHECKED = 100
"""Requests whose answers are checked before anything is timed."""


def measure(setting: Setting) -> Findings:
    """`core_call_us` of every element type and `core_vs_numpy`."""
    setting.say("core: tables")
    asked = questions(setting.rows)
    with tempfile.TemporaryDirectory(dir=setting.state) as logs:
        engines = {dtype: _engine_for(setting, dtype, Path(logs)) for dtype in setting.dtypes}
        with (Path(logs) / "numpy.log").open("wb", buffering=1 << 20) as log:
            rival = NumpyReranker(setting.rows, space(), log)
            for question in asked[:CHECKED]:
                check_answer(NUMPY, rival(question.message), question, "f32")
            calls = {dtype: answering(engine) for dtype, engine in engines.items()}
            check_engines(engines, asked)
            setting.say("core: calls")
            messages = [question.message for question in asked]
            calls[NUMPY] = rival
            visits = {name: visiting(call, messages, setting.calls) for name, call in calls.items()}
            latencies = rounds.measure(visits, setting.rounds)
        stages = {dtype: stages_p50_ns(answering(engine), messages) for dtype, engine in engines.items()}
        counters = {dtype: engine.log_counters() for dtype, engine in engines.items()}
    reached = {dtype: latencies[dtype].p50_us for dtype in setting.dtypes}
    return Findings(
        {"core_call_us": reached, "core_vs_numpy": latencies[NUMPY].p50_us / reached[DEFAULT_DTYPE]},
        {
            "core": {
                **{name: latency.as_dict() for name, latency in latencies.items()},
                "stages_p50_ns": stages,
                "candidate_log": counters,
            }
        },
    )


def space() -> str:
    """Fingerprint of the synthetic space."""
    return _core.space_fingerprint(synth.SPACE_JSON)


def treated(user: str) -> bool:
    """Whether the run's experiment treats a user."""
    return _core.bucket(workload.EXPERIMENT, user) < workload.RAMP_BP


def questions(rows: int) -> list[Question]:
    """The thousand requests of a run over a gallery of that many rows."""
    return workload.questions(workload.REQUESTS, rows=rows, space=space(), treated=treated)


def engine_over(generation: _core.Generation, logs: Path) -> _core.Engine:
    """An engine as a worker would have it: generation and plan in force, candidate log on."""
    logs.mkdir(parents=True, exist_ok=True)
    engine = _core.Engine(query_cache_entries=1024, log_dir=str(logs))
    engine.publish_generation(generation)
    engine.publish_plan(_core.seal_plan(workload.plan().SerializeToString()))
    return engine


def answering(engine: _core.Engine) -> rounds.Call:
    """The engine as a function from request to response bytes."""
    return lambda message: engine.rerank(message).response


def visiting(call: rounds.Call, messages: Sequence[bytes], calls: int) -> rounds.Round:
    """Visits that go through the messages in turn."""

    def run(number: int) -> Sequence[int]:
        start = (number + 1) * calls
        return rounds.time_calls(call, [messages[place % len(messages)] for place in range(start, start + calls)])

    return run


def check_engines(engines: dict[str, _core.Engine], asked: Sequence[Question]) -> None:
    """Refuses an engine that answers otherwise than documented, or that answers differently a second time."""
    for dtype, engine in engines.items():
        for question in asked[:CHECKED]:
            check_answer(f"core ({dtype})", engine.rerank(question.message).response, question, dtype)


def _engine_for(setting: Setting, dtype: str, logs: Path) -> _core.Engine:
    return engine_over(synth.gallery(setting.rows, dtype, setting.state).open(), logs / dtype)


def stages_p50_ns(call: rounds.Call, messages: Sequence[bytes]) -> dict[str, int]:
    """Median of every stage that the answers report, and of their sum as ``core_ns``."""
    answers = [RerankResponse.FromString(call(message)).stages for message in messages]
    columns = {field.name: [getattr(one, field.name) for one in answers] for field in StageTimes.DESCRIPTOR.fields}
    waited = columns.pop("wait_ns")
    columns["core_ns"] = [sum(stages) for stages in zip(*columns.values(), strict=True)]
    return {name: int(median(column)) for name, column in {**columns, "wait_ns": waited}.items()}
