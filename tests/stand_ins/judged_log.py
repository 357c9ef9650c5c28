"""Calls of a real engine, judged and exported: what weights can be evaluated on."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from ra_guard import _core
from ra_guard.logs.objects import StoredObjects
from ra_guard.logs.parquet import LogReader, Span, export
from ra_guard.logs.ship import Folders, Shipper, Workers
from ra_guard.v1 import feedback_pb2, plan_pb2, rerank_pb2

from tests.stand_ins.log_segments import at
from tests.stand_ins.serving_process import KEY, SPACE, publish_gallery, unit_rows

ROWS = 100


def sealed_plan(weights: Sequence[float], pets: Sequence[float] | None = None) -> bytes:
    """Everyone enrolled, half in treatment; ``pets`` are the weights of that domain."""
    plan = plan_pb2.Plan(revision=1, experiment_key=KEY, ramp_bp=5000, lease_s=600, epoch=1, retention_days=90)
    plan.default_weights.CopyFrom(_wire(weights))
    if pets is not None:
        plan.domain_weights.add(domain="pets", weights=_wire(pets))
    return _core.seal_plan(plan.SerializeToString())


def _wire(weights: Sequence[float]) -> rerank_pb2.Weights:
    cosine, consistency, contradiction, prior = weights
    return rerank_pb2.Weights(cosine=cosine, consistency=consistency, contradiction=contradiction, prior=prior)


def call(number: int) -> rerank_pb2.RerankRequest:
    """Of user ``number % 40``: 20 images and a stranger, labels wanted and forbidden, some with baseline scores."""
    draw = np.random.default_rng(number)
    ids = [f"image-{row}" for row in draw.permutation(ROWS)[:20]] + ["stranger"]
    return rerank_pb2.RerankRequest(
        request_id=f"r-{number}",
        user_id=f"user-{number % 40}",
        embedding=rerank_pb2.QueryEmbedding(values=unit_rows(1000 + number, 1).tobytes(), space=SPACE),
        candidate_ids=ids,
        baseline_scores=draw.random(len(ids)).tolist() if number % 2 else [],
        domain="pets" if number % 3 else "",
        top_k=(0, 15, 5)[number % 3],
        required_labels=["dog"],
        forbidden_labels=["cat"] if number % 2 else [],
    )


def judgment(number: int, candidate: str, grade: int, *, event: str = "", late_s: int = 0) -> bytes:
    said = feedback_pb2.FeedbackEvent(event_id=event or f"{number}-{candidate}", request_id=f"r-{number}")
    said.occurred_at.FromNanoseconds(at("2026-03-04") - late_s * 1_000_000_000)
    said.judgment.candidate_id, said.judgment.grade = candidate, grade
    return said.SerializeToString()


class JudgedWorld:
    """A state folder whose ``logs`` hold real calls."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folders = Folders(state / "logs" / "candidates", state / "logs" / "feedback", state / "run" / "plans")
        for folder in (self.folders.candidates, self.folders.feedback, self.folders.plans):
            folder.mkdir(parents=True)
        publish_gallery(state, rows=ROWS, objects=1)

    def answers(self, sealed: bytes, numbers: Iterable[int], log_dir: Path) -> None:
        """Calls answered under a plan, by an engine that logs to ``log_dir``."""
        engine = _core.Engine(query_cache_entries=8, log_dir=str(log_dir))
        engine.publish_generation(_core.Generation.open(str(self.state / "gallery")))
        engine.publish_plan(sealed)
        for number in numbers:
            engine.rerank(call(number).SerializeToString())
        engine.close_log()

    def judge(self, events: Sequence[bytes]) -> None:
        log = _core.FeedbackLog(folder=str(self.folders.feedback), writer="0")
        log.append(at("2026-03-04"), events)
        log.close()

    def export(self, sealed: bytes) -> None:
        """Ships what there is, and exports it to ``evidence``."""
        (self.folders.plans / f"{KEY}-1.sealed").write_bytes(sealed)
        store = StoredObjects.open(str(self.state / "objects"))
        workers = Workers(
            lambda folder: _core.recover_logs(str(folder)), lambda path: not _core.read_counts(str(path))["alive"]
        )
        report = Shipper(self.folders, store, workers).run_once()
        assert (report.failure, report.refused) == (None, ())
        reader = LogReader(_core.read_log_columns, _core.read_feedback, _core.read_counts)
        assert export(store, self.state / "evidence", Span(), reader, lambda _: None).refused == ()
