"""The score kernel against the floor of its memory traffic and against the libraries that do the same.

Every variant scores the same kind of job: one query, 200 random rows of a large mapped gallery, the cosines out. All
read the same file's pages. Each visit draws rows that no visit drew before, so nobody finds them in a cache.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import faiss
import numkong
import numpy as np
import numpy.typing as npt
from ra_guard import _core
from usearch.index import MetricKind, search  # type: ignore[attr-defined]  # re-exported without saying so

from bench import agreement, rounds, synth, workload
from bench.findings import Findings, Setting
from bench.workload import CANDIDATES, DIM, Rows, Vectors

Scores = npt.NDArray[np.float32]
OURS, GATHER = "ra-guard", "gather"
MACHINE_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Job:
    """One query and the rows to score, in every form that a variant wants; the forms are made beforehand."""

    rows: Rows
    handles: bytes
    query: Vectors
    query_bytes: bytes
    stored_query: npt.NDArray[np.generic]
    """The query as a library must have it that knows one type for both sides; the scale of i8 is in ``scale``."""
    scale: np.float32


@dataclass(frozen=True)
class Rows200:
    """The gallery as libraries see it: stored values, and for i8 the scale of each row."""

    values: npt.NDArray[np.generic]
    scales: Vectors

    def restore(self, dots: npt.NDArray[np.generic], job: Job) -> Scores:
        """Cosines from the dot products of stored values."""
        if self.values.dtype != np.int8:
            return np.asarray(dots, np.float32)
        return np.asarray(dots, np.float32) * self.scales[job.rows] * job.scale


Variant = Callable[[Job], Scores]


def measure(setting: Setting) -> Findings:
    """`kernel_over_gather` and `kernel_vs_best_library` of every element type."""
    over_gather: dict[str, float] = {}
    over_library: dict[str, float] = {}
    details: dict[str, object] = {}
    for dtype in setting.dtypes:
        setting.say(f"kernels: {dtype}")
        latencies = _measure(setting, dtype)
        ours = latencies[OURS].p50_us
        rivals = {name: latency.p50_us for name, latency in latencies.items() if name not in (OURS, GATHER)}
        over_gather[dtype] = ours / latencies[GATHER].p50_us
        over_library[dtype] = min(rivals.values()) / ours
        details[dtype] = {name: latency.as_dict() for name, latency in latencies.items()}
    return Findings({"kernel_over_gather": over_gather, "kernel_vs_best_library": over_library}, {"kernels": details})


def _measure(setting: Setting, dtype: str) -> Mapping[str, rounds.Latency]:
    gallery = synth.gallery(setting.rows, dtype, setting.state)
    generation = gallery.open()
    jobs = draw_jobs(generation, setting.rows, setting.calls * (setting.rounds + 1), dtype)
    seen = Rows200(gallery.mapped_rows(), scales_of(setting.rows, dtype))
    variants: dict[str, Variant] = {OURS: _ours(generation), **libraries(seen)}
    for job in jobs[:20]:
        check(variants, job, dtype)

    def visit(call: Callable[[Job], object], offset: int) -> rounds.Round:
        # Variants start at different jobs: what one has just read is not what the next reads.
        def run(number: int) -> Sequence[int]:
            start = ((number + 1) * setting.calls + offset) % len(jobs)
            batch = [*jobs[start : start + setting.calls], *jobs[: max(0, start + setting.calls - len(jobs))]]
            return rounds.time_calls(call, batch)

        return run

    calls: dict[str, Callable[[Job], object]] = {GATHER: lambda job: generation.touch(job.handles), **variants}
    stride = len(jobs) // len(calls)
    return rounds.measure(
        {name: visit(call, place * stride) for place, (name, call) in enumerate(calls.items())}, setting.rounds
    )


def draw_jobs(generation: _core.Generation, rows: int, count: int, dtype: str) -> list[Job]:
    """Jobs over distinct random rows; every twentieth query is new, since queries stay in the cache anyway."""
    rng = np.random.default_rng(17)
    asked = workload.queries(20, 19)
    stored, scales = synth.stored_queries(asked, dtype)
    jobs = []
    for number in range(count):
        chosen, query = workload.distinct_rows(rng, rows, CANDIDATES), number % len(asked)
        handles = generation.lookup(workload.ids_of(chosen))
        jobs.append(Job(chosen, handles, asked[query], asked[query].tobytes(), stored[query], scales[query]))
    return jobs


def scales_of(rows: int, dtype: str) -> Vectors:
    """``(rows,)``: what a stored value of each row is multiplied by; ones but for i8."""
    if dtype != "i8":
        return np.ones(0, np.float32)
    scales = np.empty(rows, np.float32)
    # Rotating a row moves its values and leaves their maximum: every block has the scales of block 0.
    of_block = synth.row_scales(workload.unit_rows(synth.block().embeddings))
    for start, end in synth.spans(rows):
        scales[start:end] = of_block[: end - start]
    return scales


def _ours(generation: _core.Generation) -> Variant:
    return lambda job: np.frombuffer(generation.cosines(job.query_bytes, job.handles), "<f4")


def libraries(seen: Rows200) -> dict[str, Variant]:
    """Every rival that takes the gallery's element type, by name."""
    variants: dict[str, Variant] = {
        "numpy take + matmul": lambda job: _numpy(seen, job),
        "numkong cdist": lambda job: _numkong(seen, job),
        "usearch exact": lambda job: _usearch(seen, job),
    }
    if seen.values.dtype == np.float32:
        variants["faiss knn"] = lambda job: _faiss_knn(seen, job)
        variants["faiss by index"] = _faiss_by_index(seen)
    return variants


def _numpy(seen: Rows200, job: Job) -> Scores:
    taken = seen.values.take(job.rows, axis=0)
    query = job.query if taken.dtype != np.int8 else job.stored_query.astype(np.float32)
    return seen.restore(taken.astype(np.float32, copy=False) @ query, job)


def _numkong(seen: Rows200, job: Job) -> Scores:
    dots = numkong.cdist(job.stored_query[None], seen.values.take(job.rows, axis=0), "dot")
    return seen.restore(np.asarray(dots)[0], job)


def _usearch(seen: Rows200, job: Job) -> Scores:
    # Answers best first; putting the scores back in order is part of the job, and cheap beside it.
    taken = seen.values.take(job.rows, axis=0)
    found = search(taken, job.stored_query, len(taken), MetricKind.IP, exact=True, threads=1)
    dots = np.empty(len(taken), np.float32)
    dots[found.keys] = 1 - found.distances
    return seen.restore(dots, job)


def _faiss_knn(seen: Rows200, job: Job) -> Scores:
    taken = seen.values.take(job.rows, axis=0)
    found, order = faiss.knn(job.query[None], taken, len(taken), metric=faiss.METRIC_INNER_PRODUCT)
    dots = np.empty(len(taken), np.float32)
    dots[order[0]] = found[0]
    return dots


def _faiss_by_index(seen: Rows200) -> Variant:
    table, dots = faiss.swig_ptr(seen.values), np.empty(CANDIDATES, np.float32)
    out = faiss.swig_ptr(dots)

    def score(job: Job) -> Scores:
        faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]  # made by SWIG when it is loaded
            out, faiss.swig_ptr(job.query), table, faiss.swig_ptr(job.rows), DIM, 1, len(job.rows)
        )
        return dots

    return score


def check(variants: Mapping[str, Variant], job: Job, dtype: str) -> None:
    """Refuses a variant whose cosines or ranking differ from those of the exact sum over the stored rows."""
    rows = synth.decoded(*synth.stored(synth.embeddings_of(job.rows), dtype)).astype(np.float64)
    query = job.query if dtype != "i8" else job.stored_query.astype(np.float32) * job.scale
    exact = rows @ query.astype(np.float64)
    for name, variant in variants.items():
        error = score_error(dtype if name != OURS else "f32")
        found = variant(job)
        agreement.check_scores(f"{name} ({dtype})", found, exact, error)
        agreement.check_ranking(f"{name} ({dtype})", np.argsort(-found, kind="stable"), exact, error)


def score_error(dtype: str) -> float:
    """The largest error of a cosine of unit vectors, by how its operands and its sum are rounded.

    A sum of DIM products of unit vectors in float32 is off by at most DIM epsilon (Higham, eq. 3.5). Libraries for f16
    round the query too, by half an ulp a value, 2^-11 relative: at most that in the dot product, by Cauchy-Schwarz.
    For i8 every variant has the same rounded query and exact integer sums. Our own kernel keeps the query for f16 too.
    """
    return DIM * MACHINE_EPSILON + (2.0**-11 if dtype == "f16" else 0.0)
