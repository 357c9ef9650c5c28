import threading
from collections.abc import Sequence

from ra_guard.serving.cold import TRIED_PER_QUEUED, ColdQueue


class Features:
    """Records batches; holds each until told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.go = threading.Event()
        self.go.set()
        self.fails = False

    def embed(self, ids: Sequence[bytes]) -> None:
        self.batches.append(list(ids))
        self.go.wait(5)
        if self.fails:
            raise RuntimeError("no model")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def queue(features: Features, clock: Clock, *, capacity: int = 10, batch: int = 4) -> tuple[ColdQueue, list[object]]:
    reported: list[object] = []
    made = ColdQueue(features, capacity=capacity, batch=batch, retry_s=60, report=reported.append, clock=clock)
    return made, reported


def test_ids_are_embedded_in_batches_in_order() -> None:
    features = Features()
    cold, _ = queue(features, Clock(), batch=2)
    cold.offer(["a", "b", "c"])
    assert cold.depth == 3
    cold.start()
    assert cold.wait(["a", "b", "c"], 5)
    assert features.batches == [[b"a", b"b"], [b"c"]]
    cold.close(5)


def test_an_id_is_in_hand_once_and_not_tried_again_for_a_while() -> None:
    features, clock = Features(), Clock()
    cold, _ = queue(features, clock)
    features.go.clear()
    cold.start()
    cold.offer(["a", "a"])
    cold.offer(["a"])
    features.go.set()
    assert cold.wait(["a"], 5)
    assert cold.wait(["a"], 5)
    assert features.batches == [[b"a"]]
    clock.now = 61.0
    assert cold.wait(["a"], 5)
    assert features.batches == [[b"a"], [b"a"]]
    cold.close(5)


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    cold, _ = queue(Features(), Clock(), capacity=2)
    cold.offer(["a", "b", "c", "d"])
    assert (cold.depth, cold.dropped) == (2, 2)


def test_a_failure_is_reported_and_the_next_batch_is_tried() -> None:
    features = Features()
    features.fails = True
    cold, reported = queue(features, Clock())
    cold.start()
    assert cold.wait(["a"], 5)
    features.fails = False
    assert cold.wait(["b"], 5)
    assert [str(error) for error in reported] == ["no model"]
    cold.close(5)


def test_what_was_tried_is_remembered_within_bounds() -> None:
    features, capacity = Features(), 2
    cold, _ = queue(features, Clock(), capacity=capacity)
    cold.start()
    names = [f"image-{number}" for number in range(TRIED_PER_QUEUED * capacity + 3)]
    for name in names:
        assert cold.wait([name], 5)
    before = len(features.batches)
    assert cold.wait([names[-1]], 5)
    assert len(features.batches) == before, "the newest is remembered"
    assert cold.wait([names[0]], 5)
    assert len(features.batches) == before + 1, "the oldest was forgotten"
    cold.close(5)


def test_waiting_ends_with_the_time() -> None:
    features = Features()
    features.go.clear()
    cold, _ = queue(features, Clock())
    cold.start()
    assert not cold.wait(["a"], 0.01)
    features.go.set()
    cold.close(5)


def test_closing_forgets_what_waits_and_wakes_who_waits() -> None:
    cold, _ = queue(Features(), Clock())
    waiter = threading.Thread(target=cold.wait, args=(["a"], 60))
    waiter.start()
    cold.close(1)
    waiter.join(5)
    assert not waiter.is_alive()
    cold.offer(["b"])
    assert cold.depth == 0
