"""The reference workload: 200 distinct random candidates of a large gallery, asked for by embedding, all treated.

Everything follows from row numbers and seeds, so two runs ask the same questions: an id is spelt from its row, a
query leans towards two of the detector's labels (so that it expects something of the detections), and users are
spread over the treatment buckets of an experiment at 50 %.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ra_guard.v1 import plan_pb2, rerank_pb2

DIM = 512
CANDIDATES = 200
REQUESTS = 1000
EXPERIMENT = "bench"
RAMP_BP = 5000
LEASE_S = 3600
LABELS = 80
WEIGHTS = {"cosine": 0.6, "consistency": 0.3, "contradiction": 0.2, "prior": 0.1}

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """One request, as bytes for the server and as plain values for whoever checks the answer."""

    message: bytes
    query: Vectors
    """``(DIM,)`` float32, unit length."""
    rows: Rows
    """``(candidates,)``: the rows behind the candidate ids, in baseline order."""


def ids_of(rows: Rows) -> list[bytes]:
    """The 24-character ids of rows: 16 hex digits of mixing, then the row itself, hence distinct."""
    digits = np.empty((len(rows), 12), np.uint8)
    digits[:, :8] = _mix(rows.astype(np.uint64)).astype(">u8").view(np.uint8).reshape(-1, 8)
    digits[:, 8:] = rows.astype(">u4").view(np.uint8).reshape(-1, 4)
    names: list[bytes] = np.frombuffer(digits.tobytes().hex().encode(), "S24").tolist()
    return names


def label_embeddings() -> Vectors:
    """``(LABELS, DIM)`` float32 unit rows, the text side of the synthetic detector."""
    return unit_rows(np.random.default_rng(7).standard_normal((LABELS, DIM), np.float32))


def label_names() -> list[str]:
    """As many names as the COCO detector knows."""
    return [f"label-{number:02d}" for number in range(LABELS)]


def unit_rows(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    scaled: Vectors = (vectors / lengths).astype(np.float32)
    return scaled


def queries(count: int, seed: int) -> Vectors:
    """``(count, DIM)`` unit rows, each near two labels (cosine about 0.6) and far from the others."""
    rng = np.random.default_rng(seed)
    labels = label_embeddings()
    pairs = np.array([rng.choice(LABELS, 2, replace=False) for _ in range(count)])
    noise = unit_rows(rng.standard_normal((count, DIM), np.float32))
    return unit_rows(labels[pairs[:, 0]] + labels[pairs[:, 1]] + noise * np.float32(0.8))


def questions(
    count: int, *, rows: int, space: str, treated: Callable[[str], bool], seed: int = 1, candidates: int = CANDIDATES
) -> list[Question]:
    """Distinct requests over a gallery of ``rows`` rows. ``treated`` says whether a user is in the treatment arm."""
    rng = np.random.default_rng(seed)
    users = treated_users(treated)
    asked = []
    for number, query in enumerate(queries(count, seed + 1)):
        chosen = distinct_rows(rng, rows, candidates)
        message = rerank_pb2.RerankRequest(
            request_id=f"bench-{seed}-{number:06d}",
            user_id=next(users),
            embedding=rerank_pb2.QueryEmbedding(values=query.astype("<f4").tobytes(), space=space),
            candidate_ids=[name.decode() for name in ids_of(chosen)],
        )
        asked.append(Question(message.SerializeToString(), query, chosen))
    return asked


def distinct_rows(rng: np.random.Generator, rows: int, count: int) -> Rows:
    """Uniformly random rows without repetition, in random order."""
    chosen: Rows = rng.choice(rows, count, replace=False, shuffle=True).astype(np.int64)
    return chosen


def treated_users(treated: Callable[[str], bool]) -> Iterator[str]:
    """User ids of the treatment arm, spread over its buckets."""
    number = 0
    while True:
        user = f"user-{number:08d}"
        if treated(user):
            yield user
        number += 1


def plan(revision: int = 1) -> plan_pb2.Plan:
    """The experiment of a run: half of the users in treatment, every term weighed, a lease that outlives the run."""
    return plan_pb2.Plan(
        revision=revision,
        experiment_key=EXPERIMENT,
        ramp_bp=RAMP_BP,
        lease_s=LEASE_S,
        default_weights=rerank_pb2.Weights(**WEIGHTS),
    )


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64: neighbours in, unrelated bits out."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def definition(*, lease_s: int = LEASE_S, mode: str = "ab") -> str:
    """The template with the workload's key and weights, and no stage that waits for an approval."""
    from ra_guard.experiments.definition import template

    head, _, _ = template(EXPERIMENT).partition("[weights.default]")
    for line, ours in {
        "lease_s = 60\n": f"lease_s = {lease_s}\n",
        'mode = "ab"\n': f'mode = "{mode}"\n',
        'approval = "required"': 'approval = "none"',
    }.items():
        head = head.replace(line, ours)
    weights = "\n".join(f"{name} = {weight}" for name, weight in WEIGHTS.items())
    return f"{head}[weights.default]\n{weights}\n\n[weights.domain]\n"
