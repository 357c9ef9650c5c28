"""Workers are killed while they log: every sealed record replays and every loss is known. The bench program, small."""

from pathlib import Path

from ra_guard.v1 import plan_pb2, rerank_pb2

from bench.million import Scenario, happen, judge

SMALL = Scenario(calls=6000, kills=3, lease_s=2, writer_lease_s=3.0)


def test_every_record_replays_and_every_loss_is_known(tmp_path: Path) -> None:
    run = happen(SMALL, tmp_path)
    books = judge(run, SMALL)
    assert books.broken == []
    assert books.sealed.total() + books.lost.total() == books.offered.total()
    assert set(run.sealed.by_mode) >= {plan_pb2.MODE_AB, plan_pb2.MODE_SHADOW, plan_pb2.MODE_INTERLEAVING}
    reasons = {reason for _, reason in run.asked.outcomes}
    assert reasons >= {
        rerank_pb2.REASON_UNSPECIFIED,
        rerank_pb2.REASON_CONTROL,
        rerank_pb2.REASON_NOT_ENROLLED,
        rerank_pb2.REASON_KILLED,
        rerank_pb2.REASON_LEASE_EXPIRED,
        rerank_pb2.REASON_NO_FEATURES,
        rerank_pb2.REASON_MODEL_MISMATCH,
        rerank_pb2.REASON_SHADOW,
    }
