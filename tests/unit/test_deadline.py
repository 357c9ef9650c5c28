import pytest
from ra_guard.serving import deadline

MS = 1_000_000
NOW_NS = 5_000 * MS


@pytest.mark.parametrize(
    ("left_ms", "reserve_ms"), [(1, 2), (20, 2), (96, 6), (160, 10), (320, 20), (10_000, 20), (100_000, 20)]
)
def test_time_to_answer_is_kept_back(monkeypatch: pytest.MonkeyPatch, left_ms: int, reserve_ms: int) -> None:
    monkeypatch.setattr("time.monotonic_ns", lambda: NOW_NS)
    assert deadline.budget_ns(NOW_NS + left_ms * MS) == (left_ms - reserve_ms) * MS


def test_without_a_deadline_a_wait_still_ends() -> None:
    assert deadline.budget_ns(None) == deadline.LONGEST_WAIT_NS
