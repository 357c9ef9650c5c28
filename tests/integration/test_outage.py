"""The control plane dies under load and comes back, on a short lease, by the program's own code. No time is judged."""

from pathlib import Path

from bench.outage import Scenario, happen, judge

SHORT = Scenario(seconds=0.0, lease_s=2, replicas=2, calls_per_s=100.0, heartbeat_s=0.2, writer_lease_s=1.0)


def test_treatment_ends_with_the_lease_and_comes_back_by_itself(tmp_path: Path) -> None:
    verdict = judge(happen(SHORT, tmp_path), SHORT)
    assert verdict.broken == []
    assert len(verdict.replicas) == SHORT.replicas
    assert verdict.users > 1
