"""The id lookup against the dict that a Python service would keep.

Both get the ids of one request as Python objects that were made a moment ago by parsing it, as on the hot path: a dict
has to hash fresh strings. Both answer with row numbers: a list of ints there, packed handles here.
"""

from collections.abc import Callable, Sequence

import numpy as np
from ra_guard import _core
from ra_guard.v1.rerank_pb2 import RerankRequest

from bench import rounds, synth, workload
from bench.agreement import WrongAnswerError
from bench.findings import Findings, Setting

ROW_BITS = np.uint64(0xFFFFFFFF)


def measure(setting: Setting) -> Findings:
    """`lookup_vs_dict`."""
    setting.say("lookup")
    generation = synth.gallery(setting.rows, "i8", setting.state).open()
    names = workload.ids_of(np.arange(setting.rows))
    table = {name.decode(): row for row, name in enumerate(names)}
    messages = _messages(setting.rows, setting.calls * (setting.rounds + 1))
    _check(generation, table, messages[:50])

    def visit(prepare: Callable[[bytes], Sequence[object]], call: Callable[..., object]) -> rounds.Round:
        def run(number: int) -> Sequence[int]:
            start = (number + 1) * setting.calls
            return rounds.time_prepared(prepare, call, messages[start : start + setting.calls])

        return run

    latencies = rounds.measure(
        {
            "ra-guard": visit(fresh_bytes, generation.lookup),
            "dict, list(map(get))": visit(fresh_text, lambda ids: list(map(table.get, ids))),
            "dict, comprehension": visit(fresh_text, lambda ids: [table[name] for name in ids]),
        },
        setting.rounds,
    )
    ours = latencies.pop("ra-guard")
    best = min(latency.p50_us for latency in latencies.values())
    details = {name: latency.as_dict() for name, latency in {"ra-guard": ours, **latencies}.items()}
    return Findings({"lookup_vs_dict": best / ours.p50_us}, {"lookup": details})


def fresh_text(message: bytes) -> list[str]:
    """Ids as the protobuf runtime hands them out."""
    return list(RerankRequest.FromString(message).candidate_ids)


def fresh_bytes(message: bytes) -> list[bytes]:
    """Ids as the boundary takes them."""
    return [name.encode() for name in fresh_text(message)]


def _messages(rows: int, count: int) -> list[bytes]:
    rng = np.random.default_rng(23)
    drawn = (workload.distinct_rows(rng, rows, workload.CANDIDATES) for _ in range(count))
    return [
        RerankRequest(candidate_ids=[name.decode() for name in workload.ids_of(rows_of_one)]).SerializeToString()
        for rows_of_one in drawn
    ]


def _check(generation: _core.Generation, table: dict[str, int], messages: Sequence[bytes]) -> None:
    for message in messages:
        handles = np.frombuffer(generation.lookup(fresh_bytes(message)), "<u8")
        rows = [table[name] for name in fresh_text(message)]
        if not np.array_equal(handles & ROW_BITS, np.array(rows, np.uint64)):
            raise WrongAnswerError("lookup: handles name other rows than the dict")
    unknown = np.frombuffer(generation.lookup([b"no such id"]), "<u8")
    if unknown[0] != np.iinfo(np.uint64).max:
        raise WrongAnswerError(f"lookup: an unknown id resolves to {unknown[0]:#x}")
