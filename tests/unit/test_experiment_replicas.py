"""Who may still serve an older plan: the control plane's view against simulated replicas on a slow, lossy network."""

import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ra_guard.experiments.errors import BadReplica
from ra_guard.experiments.replicas import FORGET_AFTER_S, MAX_REPLICAS, MAX_REVISION, Replicas

from tests.stand_ins.control_plane import Clock

KEY = "k"
LEASE_S = 60
NAMES = ("a", "b", "c")


@dataclass
class Simulated:
    """A replica as it really is: the plan that it holds, and until when it may treat by it."""

    held: int = 0
    until_s: float = -1.0


@dataclass
class Word:
    """On its way there and back. ``granted`` is what the control plane had in force when it heard the word."""

    replica: str
    spoken_s: float
    held: int
    granted: int | None = None


@dataclass
class Heard:
    """Everything that the control plane ever heard from one replica: when, and what was in force then."""

    words: list[tuple[float, int]] = field(default_factory=list)

    def may_treat_until_s(self, revision: int) -> float:
        older = [at_s for at_s, in_force in self.words if in_force < revision]
        return (older[-1] if older else self.words[0][0]) + LEASE_S


class Fleet(RuleBasedStateMachine):
    """Words are spoken, arrive, are answered or lost, in any order of replicas; plans change at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.replicas = Replicas(self.clock)
        self.in_force = 1
        self.fleet = {name: Simulated() for name in NAMES}
        self.words: list[Word] = []
        self.heard: dict[str, Heard] = {}

    @rule(seconds=st.sampled_from([0.5, 10, LEASE_S / 2, LEASE_S, LEASE_S + 1, FORGET_AFTER_S]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def change(self) -> None:
        self.in_force += 1

    @rule(name=st.sampled_from(NAMES))
    def speak(self, name: str) -> None:
        self.words.append(Word(name, self.clock(), self.fleet[name].held))

    @precondition(lambda self: self.arriving())
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        word = data.draw(st.sampled_from(self.arriving()))
        self.replicas.hear(KEY, word.replica, word.held, self.in_force)
        word.granted = self.in_force
        self.heard.setdefault(word.replica, Heard()).words.append((self.clock(), self.in_force))

    @precondition(lambda self: self.returning())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        word = data.draw(st.sampled_from(self.returning()))
        self.words.remove(word)
        replica, until_s = self.fleet[word.replica], word.spoken_s + LEASE_S
        assert word.granted is not None
        if word.granted > replica.held:
            replica.held, replica.until_s = word.granted, until_s
        elif word.granted == replica.held:
            replica.until_s = max(replica.until_s, until_s)

    @rule(name=st.sampled_from(NAMES), comes_back=st.booleans())
    def exchange(self, *, name: str, comes_back: bool) -> None:
        """A word with nothing under way before it: heard at once, and answered at once or never."""
        self.words = [word for word in self.words if word.replica != name]
        replica = self.fleet[name]
        self.replicas.hear(KEY, name, replica.held, self.in_force)
        self.heard.setdefault(name, Heard()).words.append((self.clock(), self.in_force))
        word = Word(name, self.clock(), replica.held, self.in_force)
        if comes_back:
            replica.held, replica.until_s = self.in_force, self.clock() + LEASE_S
        else:
            self.words.append(word)

    @precondition(lambda self: self.words)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.words.remove(data.draw(st.sampled_from(self.words)))

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name: str) -> None:
        self.replicas.leave(KEY, name)
        self.fleet[name] = Simulated()
        self.words = [word for word in self.words if word.replica != name]
        self.heard.pop(name, None)

    @rule()
    def forget(self) -> None:
        self.replicas.forget_silent(KEY)
        limit_s = self.clock() - FORGET_AFTER_S
        self.heard = {name: heard for name, heard in self.heard.items() if heard.words[-1][0] >= limit_s}

    def arriving(self) -> list[Word]:
        """The first word of each replica that is not heard yet: a stream keeps their order."""
        first: dict[str, Word] = {}
        for word in self.words:
            if word.granted is None:
                first.setdefault(word.replica, word)
        return list(first.values())

    def returning(self) -> list[Word]:
        return [word for word in self.words if word.granted is not None]

    @invariant()
    def nobody_who_is_written_off_treats_by_an_older_plan(self) -> None:
        for revision in range(2, self.in_force + 1):
            rollout = self.replicas.rollout(KEY, revision, LEASE_S)
            assert all(self.fleet[name].held >= revision for name in rollout.acked)
            for name in NAMES:
                if name in rollout.acked or name in rollout.waiting:
                    continue
                replica = self.fleet[name]
                assert replica.held >= revision or replica.until_s < self.clock()
                late = [word for word in self.returning() if word.replica == name and (word.granted or 0) < revision]
                assert all(word.spoken_s + LEASE_S < self.clock() for word in late)

    @invariant()
    def nobody_is_waited_for_longer_than_needed(self) -> None:
        rollout = self.replicas.rollout(KEY, self.in_force, LEASE_S)
        assert {*rollout.acked, *rollout.waiting, *rollout.expired} == set(self.heard)
        assert rollout.done is (not rollout.waiting)
        for name in rollout.waiting:
            assert self.clock() <= self.heard[name].may_treat_until_s(self.in_force)
        for name in rollout.expired:
            assert self.clock() > self.heard[name].may_treat_until_s(self.in_force)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replicas(clock: Clock) -> Replicas:
    return Replicas(clock)


def test_replicas_of_another_control_plane_count_as_having_just_spoken(replicas: Replicas, clock: Clock) -> None:
    replicas.hear(KEY, "a", 3, 3)
    clock.advance(LEASE_S + 1)
    replicas.expect(KEY, {"a": 3, "b": 2})
    assert replicas.rollout(KEY, 4, LEASE_S).waiting == ("a", "b")
    clock.advance(LEASE_S + 1)
    assert replicas.rollout(KEY, 4, LEASE_S).expired == ("a", "b")


def test_a_plan_that_came_with_an_answer_has_a_lease_from_there(replicas: Replicas, clock: Clock) -> None:
    replicas.hear(KEY, "a", 1, 1)
    clock.advance(LEASE_S - 1)
    replicas.hear(KEY, "a", 1, 2)  # answered with plan 2, which it may have taken up before it fell silent
    clock.advance(2)
    assert replicas.rollout(KEY, 2, LEASE_S).expired == ("a",)
    assert replicas.rollout(KEY, 3, LEASE_S).waiting == ("a",)
    clock.advance(LEASE_S)
    assert replicas.rollout(KEY, 3, LEASE_S).expired == ("a",)


def test_replicas_are_listed_by_name_with_their_age(replicas: Replicas, clock: Clock) -> None:
    replicas.hear(KEY, "b", 1, 1)
    clock.advance(2)
    replicas.hear(KEY, "a", 0, 1)
    assert [(seen.replica, seen.revision, seen.age_s) for seen in replicas.listed(KEY)] == [("a", 0, 0), ("b", 1, 2)]
    assert replicas.listed("another") == ()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a" * 65, "a\n", "é"])
def test_a_name_that_is_none(replicas: Replicas, name: str) -> None:
    with pytest.raises(BadReplica):
        replicas.hear(KEY, name, 1, 1)
    assert replicas.listed(KEY) == ()


def test_made_up_names_have_an_end(replicas: Replicas, clock: Clock) -> None:
    for number in range(MAX_REPLICAS):
        replicas.hear(KEY, f"r{number}", 1, 1)
    with pytest.raises(BadReplica):
        replicas.hear(KEY, "one-more", 1, 1)
    replicas.hear(KEY, "r0", 1, 1)
    clock.advance(FORGET_AFTER_S + 1)
    replicas.forget_silent(KEY)
    replicas.hear(KEY, "one-more", 1, 1)


def test_a_revision_that_nobody_published_is_refused(replicas: Replicas) -> None:
    with pytest.raises(BadReplica):
        replicas.hear(KEY, "a", MAX_REVISION + 1, 1)


def test_a_wait_ends_with_the_last_acknowledgement(replicas: Replicas) -> None:
    for name in NAMES:
        replicas.hear(KEY, name, 1, 1)
    done: list[tuple[str, ...]] = []
    waiting = threading.Thread(target=lambda: done.append(replicas.wait(KEY, 2, LEASE_S, 600).acked))
    waiting.start()
    for name in NAMES[:-1]:
        replicas.hear(KEY, name, 2, 2)
    assert not done
    replicas.leave(KEY, NAMES[-1])
    waiting.join(30)
    assert done == [NAMES[:-1]]


def test_a_wait_ends_with_its_time(replicas: Replicas) -> None:
    replicas.hear(KEY, "a", 1, 1)
    assert replicas.wait(KEY, 2, LEASE_S, 0).waiting == ("a",)
