"""A replica's feed against a scripted control plane and a real engine: streams break, fall silent, answer late."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ra_guard import _core
from ra_guard.experiments.feed import Pace, PlanFeed, SilentControlPlane
from ra_guard.experiments.plan_files import PlanFiles
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import plan_pb2, rerank_pb2

KEY = "k"
PATIENCE_S = 30.0
NEVER_S = 3600.0
SECOND_NS = 10**9
CALL = rerank_pb2.RerankRequest(request_id="r", user_id="u", text="a dog", candidate_ids=["a", "b"]).SerializeToString()


def sealed(revision: int, lease_s: int = 60) -> plan_pb2.SealedPlan:
    plan = plan_pb2.Plan(
        revision=revision,
        experiment_key=KEY,
        lease_s=lease_s,
        ramp_bp=5000,
        default_weights=rerank_pb2.Weights(cosine=1),
    )
    return plan_pb2.SealedPlan.FromString(_core.seal_plan(plan.SerializeToString()))


class Stopped(Exception):
    """How a stream or a poll of the script ends."""


class Stream:
    """One stream: words come in by a thread of its own, as in gRPC; answers are what the test puts in."""

    def __init__(self, words: Iterator[wire.WatchRequest]) -> None:
        self.words: queue.Queue[wire.WatchRequest] = queue.Queue()
        self.script: queue.Queue[wire.WatchResponse | BaseException] = queue.Queue()
        self._ended = threading.Event()
        threading.Thread(target=self._read, args=(words,), daemon=True).start()

    def _read(self, words: Iterator[wire.WatchRequest]) -> None:
        for word in words:
            if self._ended.is_set():
                return
            self.words.put(word)

    def answers(self) -> Iterator[wire.WatchResponse]:
        while True:
            found = self.script.get(timeout=PATIENCE_S)
            if isinstance(found, BaseException):
                raise found
            yield found

    def cancel(self) -> None:
        self._ended.set()
        self.script.put(Stopped("cancelled"))

    def word(self) -> wire.WatchRequest:
        return self.words.get(timeout=PATIENCE_S)

    def answer(self, plan: plan_pb2.SealedPlan | None = None, **fields: object) -> None:
        self.script.put(wire.WatchResponse(plan=plan, **fields))  # type: ignore[arg-type]


class ScriptedSource:
    """One address. Every stream that is opened comes to the test; polls fail unless it says otherwise."""

    def __init__(self) -> None:
        self.streams: queue.Queue[Stream] = queue.Queue()
        self.polls: queue.Queue[wire.WatchRequest] = queue.Queue()
        self.on_poll: Callable[[wire.WatchRequest], wire.WatchResponse] | None = None
        self.refuses_streams = False

    def watch(self, words: Iterator[wire.WatchRequest]) -> Stream:
        if self.refuses_streams:
            raise Stopped("no streams here")
        stream = Stream(words)
        self.streams.put(stream)
        return stream

    def poll(self, word: wire.WatchRequest, timeout_s: float) -> wire.WatchResponse:
        self.polls.put(word)
        if self.on_poll is None:
            raise Stopped("no answer")
        return self.on_poll(word)

    def stream(self) -> Stream:
        return self.streams.get(timeout=PATIENCE_S)

    def polled(self) -> wire.WatchRequest:
        return self.polls.get(timeout=PATIENCE_S)


class Fed:
    """A feed, its engine and what it reported."""

    def __init__(self, plans: PlanFiles) -> None:
        self.sources = [ScriptedSource(), ScriptedSource()]
        self.engine = _core.Engine(query_cache_entries=1)
        self.plans = plans
        self.reported: list[BaseException] = []
        self.feed: PlanFeed

    def start(
        self, *, heartbeat_s: float = NEVER_S, silence_s: float = NEVER_S, start_wait_s: float = 0.0
    ) -> ScriptedSource:
        self.feed = PlanFeed(
            self.sources,
            self.engine,
            key=KEY,
            replica="r",
            pace=Pace(heartbeat_s, silence_s, start_wait_s),
            plans=self.plans,
            report=self.reported.append,
        )
        self.feed.start()
        return self.sources[0]

    def eventually(self, holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < give_up
            time.sleep(0.002)

    def holds(self, revision: int) -> None:
        self.eventually(lambda: self.engine.plan_revision() == revision)

    def reason(self) -> int:
        """Why a treated user's call was answered with the baseline: no features when treatment was allowed."""
        return self.engine.rerank(CALL).reason


@pytest.fixture
def plans(tmp_path: Path) -> PlanFiles:
    return PlanFiles(tmp_path / "plans")


@pytest.fixture
def fed(plans: PlanFiles) -> Iterator[Fed]:
    fed = Fed(plans)
    yield fed
    fed.sources[0].on_poll = fed.sources[1].on_poll = lambda word: wire.WatchResponse()
    fed.feed.stop()


def test_a_plan_is_swapped_in_acknowledged_at_once_and_kept(fed: Fed, plans: PlanFiles) -> None:
    stream = fed.start().stream()
    first = stream.word()
    assert (first.key, first.replica, first.acked_revision, first.acked_checksum) == (KEY, "r", 0, 0)
    plan = sealed(1)
    stream.answer(plan, revision=1, echoed_clock_ns=first.clock_ns)
    second = stream.word()  # and the next heartbeat is an hour away
    assert (second.acked_revision, second.acked_checksum) == (1, plan.checksum)
    assert fed.feed.wait_for_answer()
    assert fed.engine.plan_age_s() is not None
    fed.eventually(lambda: plans.latest(KEY) == plan.SerializeToString())


def test_a_confirmation_renews_the_lease_from_its_question(fed: Fed) -> None:
    stream = fed.start(heartbeat_s=0.01).stream()
    stream.answer(sealed(1), revision=1, echoed_clock_ns=time.monotonic_ns() - 40 * SECOND_NS)
    fed.holds(1)
    age_s = fed.engine.plan_age_s()
    assert age_s is not None
    assert age_s >= 40
    stream.answer(revision=1, echoed_clock_ns=time.monotonic_ns() - 20 * SECOND_NS)
    fed.eventually(lambda: (fed.engine.plan_age_s() or 99) < 40)
    age_s = fed.engine.plan_age_s()
    assert age_s is not None
    assert age_s >= 20, "an answer that was held up grants no more than its question"


def test_an_answer_later_than_the_lease_treats_nobody(fed: Fed) -> None:
    stream = fed.start().stream()
    stream.answer(sealed(1, lease_s=60), revision=1, echoed_clock_ns=time.monotonic_ns() - 61 * SECOND_NS)
    fed.holds(1)
    assert fed.reason() == rerank_pb2.REASON_LEASE_EXPIRED


def test_another_revision_in_force_renews_nothing(fed: Fed) -> None:
    stream = fed.start().stream()
    stream.answer(sealed(2), revision=2, echoed_clock_ns=time.monotonic_ns() - 50 * SECOND_NS)
    stream.answer(revision=1, echoed_clock_ns=time.monotonic_ns())
    stream.answer(sealed(3), revision=3, echoed_clock_ns=time.monotonic_ns() - 50 * SECOND_NS)
    fed.holds(3)
    age_s = fed.engine.plan_age_s()
    assert age_s is not None
    assert age_s >= 50


def test_an_older_plan_is_reported_and_changes_nothing(fed: Fed) -> None:
    stream = fed.start().stream()
    stream.answer(sealed(5), revision=5, echoed_clock_ns=time.monotonic_ns() - 50 * SECOND_NS)
    fed.holds(5)
    stream.answer(sealed(4), revision=4, echoed_clock_ns=time.monotonic_ns())
    fed.sources[1].stream()  # such an address is left
    assert fed.engine.plan_revision() == 5
    assert any(isinstance(error, _core.PlanError) for error in fed.reported)
    assert (fed.engine.plan_age_s() or 0) >= 50


def test_halt_revokes_until_a_later_question_is_answered(fed: Fed) -> None:
    stream = fed.start().stream()
    asked_ns = stream.word().clock_ns
    stream.answer(sealed(1), revision=1, echoed_clock_ns=asked_ns)
    fed.eventually(lambda: fed.engine.plan_age_s() is not None)
    assert fed.reason() != rerank_pb2.REASON_LEASE_EXPIRED
    stream.answer(revision=1, halt=True)
    fed.eventually(lambda: fed.engine.plan_age_s() is None)
    assert fed.reason() == rerank_pb2.REASON_LEASE_EXPIRED
    stream.answer(revision=1, echoed_clock_ns=asked_ns)  # on its way since before the halt
    stream.answer(sealed(2), revision=2, echoed_clock_ns=asked_ns)
    fed.holds(2)
    assert fed.engine.plan_age_s() is None
    stream.answer(revision=2, echoed_clock_ns=time.monotonic_ns())
    fed.eventually(lambda: fed.engine.plan_age_s() is not None)


def test_a_stream_that_breaks_is_polled_and_opened_again(fed: Fed) -> None:
    source = fed.sources[0]
    source.on_poll = lambda word: wire.WatchResponse(plan=sealed(1), revision=1, echoed_clock_ns=word.clock_ns)
    fed.start()
    source.stream().script.put(Stopped("broken"))
    source.polled()
    fed.holds(1)
    assert source.stream().word().acked_revision == 1
    assert fed.sources[1].streams.empty(), "the address answers"


def test_a_stream_that_falls_silent_is_cut_and_polled(fed: Fed) -> None:
    source = fed.sources[0]
    source.on_poll = lambda word: wire.WatchResponse(plan=sealed(1), revision=1, echoed_clock_ns=word.clock_ns)
    fed.start(heartbeat_s=0.01, silence_s=0.03)
    source.stream()
    source.polled()
    fed.holds(1)
    assert isinstance(fed.reported[0], SilentControlPlane)
    assert "no answer on an open stream" in str(fed.reported[0])
    source.stream()


def test_where_streams_are_refused_polls_keep_the_lease(fed: Fed) -> None:
    source = fed.sources[0]
    source.refuses_streams = True
    source.on_poll = lambda word: wire.WatchResponse(
        plan=None if word.acked_revision else sealed(1), revision=1, echoed_clock_ns=word.clock_ns
    )
    fed.start()
    assert [source.polled().acked_revision for _ in range(3)] == [0, 1, 1]
    assert fed.engine.plan_age_s() is not None


def test_the_next_address_is_tried_and_kept_while_it_answers(fed: Fed) -> None:
    first, second = fed.sources
    first.refuses_streams = True
    fed.start()
    stream = second.stream()
    stream.answer(sealed(1), revision=1, echoed_clock_ns=stream.word().clock_ns)
    fed.holds(1)
    second.on_poll = lambda word: wire.WatchResponse(revision=1, echoed_clock_ns=word.clock_ns)
    stream.script.put(Stopped("restarted"))
    stream = second.stream()
    assert stream.word().acked_revision == 1
    second.on_poll, first.refuses_streams = None, False
    stream.script.put(Stopped("gone"))
    assert first.stream().word().acked_revision == 1


def test_a_plan_of_an_earlier_life_assigns_and_treats_nobody(fed: Fed, plans: PlanFiles) -> None:
    plan = sealed(7)
    plans.keep(KEY, 6, sealed(6).SerializeToString())
    plans.keep(KEY, 7, plan.SerializeToString())
    stream = fed.start().stream()
    word = stream.word()
    assert (word.acked_revision, word.acked_checksum) == (7, plan.checksum)
    assert (fed.engine.plan_revision(), fed.engine.plan_age_s()) == (7, None)
    answer = fed.engine.rerank(CALL)
    assert answer.reason == rerank_pb2.REASON_LEASE_EXPIRED
    assert answer.assigned_arm in {rerank_pb2.ARM_TREATMENT, rerank_pb2.ARM_CONTROL}
    stream.answer(revision=7, echoed_clock_ns=time.monotonic_ns())
    fed.eventually(lambda: fed.engine.plan_age_s() is not None)


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(200)])
def test_a_plan_file_that_does_not_hold_costs_only_what_it_would_have_told(
    fed: Fed, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / f"{KEY}-3.sealed").write_bytes(content)
    stream = fed.start().stream()
    assert stream.word().acked_revision == 0
    assert isinstance(fed.reported[0], _core.PlanError)
    stream.answer(sealed(1), revision=1, echoed_clock_ns=time.monotonic_ns())
    fed.holds(1)


def test_a_plan_that_cannot_be_kept_is_in_force_all_the_same(fed: Fed, tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("no folder")
    stream = fed.start().stream()
    stream.answer(sealed(1), revision=1, echoed_clock_ns=time.monotonic_ns())
    assert stream.word().acked_revision == 0
    assert stream.word().acked_revision == 1
    fed.eventually(lambda: any(isinstance(error, OSError) for error in fed.reported))
    stream.answer(sealed(2), revision=2, echoed_clock_ns=time.monotonic_ns())
    fed.holds(2)


def test_failures_before_the_first_answer_are_not_told_while_both_sides_start(fed: Fed) -> None:
    for source in fed.sources:
        source.refuses_streams = True
    fed.start(start_wait_s=NEVER_S)
    for source in fed.sources:
        source.polled()
    assert fed.reported == []


def test_goodbye_is_said_to_the_address_in_use(plans: PlanFiles) -> None:
    fed = Fed(plans)
    source = fed.start()
    source.stream().word()
    source.on_poll = lambda word: wire.WatchResponse()
    fed.feed.stop()
    farewell = source.polled()
    while not farewell.leaving:
        farewell = source.polled()
    assert (farewell.key, farewell.replica) == (KEY, "r")


def test_a_control_plane_that_is_gone_keeps_nobody_from_ending(plans: PlanFiles) -> None:
    fed = Fed(plans)
    fed.start().stream().word()
    fed.feed.stop()
    assert any(isinstance(error, Stopped) for error in fed.reported)
