import threading
import time
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from ra_guard import _core
from ra_guard.errors import RaGuardError, TooManyCandidates, TritonBusy, TritonTimeout, TritonUnavailable
from ra_guard.serving.admission import Admission
from ra_guard.serving.cold import ColdQueue
from ra_guard.serving.cold_text import ColdTexts
from ra_guard.serving.cold_wait import ColdWait
from ra_guard.serving.pool import PoolDraw
from ra_guard.serving.rerank import Reranking
from ra_guard.v1 import rerank_pb2 as wire

from tests.stand_ins.serving_core import ScriptedCore, answer, core_error

SPACE = "5" * 32
REQUEST = wire.RerankRequest(request_id="r", user_id="u", text="dog", candidate_ids=["a", "b"]).SerializeToString()


class Tower:
    space = SPACE

    def __init__(self, failure: RaGuardError | None = None) -> None:
        self.failure = failure
        self.timeouts_s: list[float] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def embed_text(self, text: str, timeout_s: float) -> np.ndarray:
        self.timeouts_s.append(timeout_s)
        self.entered.set()
        self.go.wait(5)
        if self.failure is not None:
            raise self.failure
        return np.array([1, 0, 0, 0], np.float32)


class Generation:
    number, space, dim = 1, SPACE, 4

    def __init__(self, known: dict[str, bool]) -> None:
        """Id to whether it has an embedding."""
        self.known = known

    def lookup(self, ids: list[bytes]) -> bytes:
        names = list(self.known)
        handles = [names.index(i.decode()) if i.decode() in names else 2**64 - 1 for i in ids]
        return np.array(handles, np.uint64).tobytes()

    def embeddings(self, handles: bytes) -> bytes:
        warm = [list(self.known.values())[handle] for handle in np.frombuffer(handles, np.uint64)]
        return np.array([[1.0 if each else np.nan] * 4 for each in warm], np.float32).tobytes()


class Source:
    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str, int]] = []

    def search(self, vector: bytes, domain: str, k: int) -> list[bytes]:
        self.asked.append((vector, domain, k))
        return [b"near", b"far"]


def reranking(
    core: ScriptedCore,
    *,
    capacity: int = 1000,
    tower: Tower | None = None,
    source: Source | None = None,
    cold: ColdQueue | None = None,
    wait: bool = False,
    reported: list[BaseException] | None = None,
) -> Reranking:
    report = (reported if reported is not None else []).append
    texts = ColdTexts(core.engine, tower, waits=1, report=report)
    return Reranking(
        core.engine,
        Admission(capacity),
        texts=texts,
        pools=PoolDraw(core.engine, texts, source),
        cold=cold,
        cold_wait=ColdWait(core.engine, cold, waits=1) if cold is not None and wait else None,
        report=report,
    )


def ask(subject: Reranking, request: bytes = REQUEST, *, timeout_s: float | None = None) -> _core.Answer:
    now_ns = time.monotonic_ns()
    deadline_ns = None if timeout_s is None else now_ns + int(timeout_s * 1e9)
    return subject.answer(request, now_ns - 7_000, 7_000, deadline_ns)


def test_a_warm_call_goes_straight_to_the_core() -> None:
    core = ScriptedCore(answer(response=b"ranked"))
    assert ask(reranking(core)).response == b"ranked"
    assert core.waits_ns == [7_000]
    assert core.fallbacks == []


def test_a_callers_mistake_is_raised_and_the_permit_given_back() -> None:
    subject = reranking(ScriptedCore(core_error(_core.RequestError, "TopK")), capacity=200)
    for _ in range(200):
        with pytest.raises(_core.RequestError) as mistake:
            ask(subject)
        assert mistake.value.variant == "TopK"


@pytest.mark.parametrize("failure", [RuntimeError("boom"), core_error(_core.ShardError, "Io"), BaseException("panic")])
def test_any_other_failure_is_answered_with_the_baseline_and_reported(failure: BaseException) -> None:
    reported: list[BaseException] = []
    core = ScriptedCore(failure)
    answered = ask(reranking(core, reported=reported))
    assert (answered.status, answered.reason) == (wire.STATUS_BASELINE, wire.REASON_INTERNAL)
    assert reported == [failure]
    assert core.waits_ns[-1] > core.waits_ns[0], "what the failure took is told to the core"


def test_a_full_house_is_answered_with_the_baseline() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> _core.Answer:
        inside.set()
        leave.wait(5)
        return answer()

    core = ScriptedCore(hold)
    many = wire.RerankRequest(candidate_ids=[f"image-{n}" for n in range(200)]).SerializeToString()
    subject = reranking(core, capacity=200)
    first = threading.Thread(target=ask, args=(subject, many))
    first.start()
    assert inside.wait(5)
    assert ask(subject, many).reason == wire.REASON_OVERLOAD
    assert core.waits_ns == [7_000, 7_000]
    leave.set()
    first.join(5)
    assert ask(subject, many).reason == wire.REASON_UNSPECIFIED


def test_what_can_never_fit_is_raised() -> None:
    many = wire.RerankRequest(candidate_ids=[f"image-{n}" for n in range(201)]).SerializeToString()
    with pytest.raises(TooManyCandidates):
        ask(reranking(ScriptedCore(), capacity=200), many)


def test_a_cold_text_is_embedded_cached_and_ranked() -> None:
    core, tower = ScriptedCore(answer(cold_text="dog"), answer(response=b"ranked")), Tower()
    assert ask(reranking(core, tower=tower), timeout_s=1.0).response == b"ranked"
    assert core.queries["dog"] == np.array([1, 0, 0, 0], "<f4").tobytes()
    assert 0.9 < tower.timeouts_s[0] < 1.0
    assert core.waits_ns[1] > core.waits_ns[0], "what was spent waiting is reported"


@pytest.mark.parametrize(
    ("tower", "timeout_s", "reason"),
    [
        (None, 1.0, wire.REASON_NO_FEATURES),
        (Tower(TritonUnavailable("down")), 1.0, wire.REASON_NO_FEATURES),
        (Tower(TritonBusy("busy")), 1.0, wire.REASON_NO_FEATURES),
        (Tower(TritonTimeout("slow")), 10.0, wire.REASON_NO_FEATURES),
        (Tower(TritonTimeout("slow")), 0.001, wire.REASON_DEADLINE),
        (Tower(), 0.0, wire.REASON_DEADLINE),
    ],
)
def test_a_text_that_cannot_be_embedded_is_answered_with_the_baseline(
    tower: Tower | None, timeout_s: float, reason: int
) -> None:
    core = ScriptedCore(answer(cold_text="dog"))
    assert ask(reranking(core, tower=tower), timeout_s=timeout_s).reason == reason


@pytest.mark.parametrize(
    ("variant", "reason"), [("Space", wire.REASON_MODEL_MISMATCH), ("EmbeddingNotUnit", wire.REASON_NO_FEATURES)]
)
def test_a_tower_of_the_wrong_make_is_not_the_callers_mistake(variant: str, reason: int) -> None:
    core = ScriptedCore(answer(cold_text="dog"))
    reported: list[BaseException] = []
    core.refuses_query = core_error(_core.RequestError, variant)
    assert ask(reranking(core, tower=Tower(), reported=reported)).reason == reason
    assert reported == [core.refuses_query]


def test_a_text_that_stays_cold_after_embedding_is_a_mismatch_and_not_a_loop() -> None:
    core, tower = ScriptedCore(answer(cold_text="dog")), Tower()
    assert ask(reranking(core, tower=tower)).reason == wire.REASON_MODEL_MISMATCH
    assert len(tower.timeouts_s) == 1


def test_only_so_many_calls_wait_for_texts() -> None:
    tower = Tower()
    tower.go.clear()
    subject = reranking(ScriptedCore(answer(cold_text="dog")), tower=tower)
    first = threading.Thread(target=ask, args=(subject,))
    first.start()
    assert tower.entered.wait(5)
    assert ask(subject).reason == wire.REASON_OVERLOAD
    tower.go.set()
    first.join(5)


POOL = wire.RerankRequest(request_id="r", user_id="u", text="dog", domain="pets", pool_size=50)


def test_a_pool_is_drawn_for_a_request_without_candidates() -> None:
    core, source = ScriptedCore(core_error(_core.RequestError, "NoCandidates")), Source()
    core.serving = Generation({})
    assert ask(reranking(core, tower=Tower(), source=source), POOL.SerializeToString()).candidates == 2
    assert core.pools == [[b"near", b"far"]]
    assert source.asked == [(core.queries["dog"], "pets", 50)]


def test_a_pool_by_embedding_needs_no_model() -> None:
    core, source = ScriptedCore(core_error(_core.RequestError, "NoCandidates")), Source()
    core.serving = Generation({})
    vector = np.array([0, 1, 0, 0], "<f4").tobytes()
    query = wire.QueryEmbedding(values=vector, space=SPACE)
    request = wire.RerankRequest(request_id="r", user_id="u", embedding=query, pool_size=5)
    ask(reranking(core, source=source), request.SerializeToString())
    assert source.asked == [(vector, "", 5)]
    query.space = "6" * 32
    request = wire.RerankRequest(request_id="r", user_id="u", embedding=query, pool_size=5)
    ask(reranking(core, source=source), request.SerializeToString())
    assert core.pools[-1] == [], "the core says what is wrong with another space"


@pytest.mark.parametrize(
    ("serving", "reason"), [(None, wire.REASON_NO_FEATURES), (Generation({}), wire.REASON_NO_FEATURES)]
)
def test_a_pool_that_cannot_be_drawn_is_answered_with_the_reason(serving: object, reason: int) -> None:
    core = ScriptedCore(core_error(_core.RequestError, "NoCandidates"))
    core.serving = serving
    assert ask(reranking(core, source=Source()), POOL.SerializeToString()).reason == reason


def test_a_pool_survives_the_loss_of_its_cached_query() -> None:
    core = ScriptedCore(core_error(_core.RequestError, "NoCandidates"))
    core.serving = Generation({})
    core.pool_script = [answer(cold_text="dog")]
    answered = ask(reranking(core, tower=Tower(), source=Source()), POOL.SerializeToString())
    assert answered.status == wire.STATUS_RERANKED
    assert core.pools == [[b"near", b"far"]] * 2


class Features:
    def __init__(self, generation: Generation) -> None:
        self.generation = generation

    def embed(self, ids: Sequence[bytes]) -> None:
        self.generation.known.update({image.decode(): True for image in ids})


def cold_queue(generation: Generation) -> ColdQueue:
    queue = ColdQueue(Features(generation), capacity=10, batch=10, retry_s=60, report=lambda _: None)
    queue.start()
    return queue


def test_cold_images_are_embedded_after_the_call() -> None:
    generation = Generation({})
    queue = cold_queue(generation)
    core = ScriptedCore(answer(unknown=1, cold_ids=["b"]))
    assert ask(reranking(core, cold=queue)).unknown == 1
    assert queue.wait(["b"], 5)
    assert generation.known == {"b": True}
    queue.close(5)


def test_in_wait_mode_they_are_embedded_before_it() -> None:
    generation = Generation({"a": True, "b": False})
    queue = cold_queue(generation)
    core = ScriptedCore(lambda: answer(unknown=sum(not warm for warm in generation.known.values())))
    core.serving = generation
    request = wire.RerankRequest(request_id="r", user_id="u", text="dog", candidate_ids=["a", "b", "c"])
    assert ask(reranking(core, cold=queue, wait=True), request.SerializeToString(), timeout_s=5).unknown == 0
    assert generation.known == {"a": True, "b": True, "c": True}
    queue.close(5)


def test_in_wait_mode_some_threads_never_wait() -> None:
    generation = Generation({"a": False})
    queue = ColdQueue(Features(generation), capacity=10, batch=10, retry_s=60, report=lambda _: None)  # never started
    core = ScriptedCore(answer(cold=1))
    core.serving = generation
    request = wire.RerankRequest(request_id="r", user_id="u", text="dog", candidate_ids=["a"]).SerializeToString()
    subject = reranking(core, cold=queue, wait=True)
    waiting = threading.Thread(target=ask, args=(subject, request), kwargs={"timeout_s": 60})
    waiting.start()
    while queue.depth == 0:
        time.sleep(0.001)
    assert ask(subject, request, timeout_s=3600).cold == 1
    queue.close(5)
    waiting.join()


def test_in_wait_mode_what_is_no_request_is_left_to_the_core() -> None:
    queue = cold_queue(Generation({}))
    core = ScriptedCore(core_error(_core.RequestError, "Malformed"))
    core.serving = cast(object, Generation({}))
    with pytest.raises(_core.RequestError):
        ask(reranking(core, cold=queue, wait=True), b"\xff\xff")
    queue.close(5)
