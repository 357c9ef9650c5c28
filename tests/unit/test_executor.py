import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ra_guard.serving.executor import HandlerPool

LONG_NS = 60_000_000_000


@pytest.fixture
def pool() -> Iterator[HandlerPool]:
    with HandlerPool(2, shed_after_ns=LONG_NS) as pool:
        yield pool


def test_grpc_takes_it_for_its_own(pool: HandlerPool) -> None:
    assert isinstance(pool, ThreadPoolExecutor)


def test_results_and_errors_arrive(pool: HandlerPool) -> None:
    assert pool.submit(lambda a, b: a + b, 1, b=2).result(5) == 3
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(5)
    assert pool.submit(lambda: "still alive").result(5) == "still alive"


def test_a_thread_survives_what_is_no_exception(pool: HandlerPool) -> None:
    class Panic(BaseException):
        pass

    def panic() -> None:
        raise Panic

    for _ in range(4):
        with pytest.raises(Panic):
            pool.submit(panic).result(5)
    assert pool.submit(lambda: 1).result(5) == 1


def test_a_call_knows_how_long_it_waited(pool: HandlerPool) -> None:
    hold = threading.Event()
    for _ in range(2):
        pool.submit(hold.wait, 5)
    waited = pool.submit(lambda: (pool.turn.queued_ns, pool.turn.shed))
    time.sleep(0.05)
    assert pool.depth == 1
    hold.set()
    queued_ns, shed = waited.result(5)
    assert queued_ns >= 50_000_000
    assert not shed


def test_a_call_that_waited_too_long_is_told_so() -> None:
    with HandlerPool(1, shed_after_ns=10_000_000) as pool:
        hold = threading.Event()
        pool.submit(hold.wait, 5)
        late = pool.submit(lambda: pool.turn.shed)
        time.sleep(0.03)
        hold.set()
        assert late.result(5) is True
        assert pool.submit(lambda: pool.turn.shed).result(5) is False


def test_while_the_queue_is_too_old_calls_are_shed_without_waiting() -> None:
    with HandlerPool(1, shed_after_ns=10_000_000) as pool:
        hold = threading.Event()
        pool.submit(hold.wait, 5)
        queued = pool.submit(lambda: "served in turn")
        time.sleep(0.03)
        assert pool.submit(lambda: pool.turn.shed).result(5) is True, "answered while the only thread is held"
        assert not queued.done()
        hold.set()
        assert queued.result(5) == "served in turn"


def test_shutdown_answers_what_is_queued() -> None:
    pool = HandlerPool(1, shed_after_ns=LONG_NS)
    results = [pool.submit(lambda n=n: n) for n in range(20)]
    pool.shutdown()
    assert [result.result(0) for result in results] == list(range(20))


def test_held_calls_come_in_and_are_answered_later_without_being_shed() -> None:
    with HandlerPool(1, shed_after_ns=1_000_000) as pool:
        pool.hold()
        held = [pool.submit(lambda: pool.turn.shed) for _ in range(3)]
        time.sleep(0.02)
        assert not any(call.done() for call in held)
        pool.resume()
        assert [call.result(5) for call in held] == [False, False, False]
