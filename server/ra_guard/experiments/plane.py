"""The control plane: the one writer of every experiment, and what it tells the replicas.

A change is validated by the core, stored, then published from memory, in that order. Replicas are answered from
memory alone and only while this process holds the store's writer lease: whoever loses it falls silent, and the
replicas' own leases run out or another instance answers them.

A kill that the store refuses is not refused to the replicas: they are told to halt at once, and the kill is tried
again until it is stored.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from ra_guard.experiments import model, publish
from ra_guard.experiments.condition import Condition, Conditions
from ra_guard.experiments.control_store import (
    ControlStore,
    Entry,
    LeaseLost,
    OutcomeUnknown,
    StoreBusy,
    StoreCorrupt,
    StoreFailed,
    StoreFull,
    StoreGone,
    StoreReadOnly,
    WriterLease,
)
from ra_guard.experiments.definition import Definition, parse_definition, template
from ra_guard.experiments.definition.read import TEMPLATE_KEY
from ra_guard.experiments.errors import (
    ExperimentError,
    FlagIsOff,
    FlagUnread,
    KillNotStored,
    NotTheWriter,
    StaleRevision,
    UnknownExperiment,
    UnknownRevision,
    WriterBusy,
)
from ra_guard.experiments.flag import FlagReading, FlagSource, FlagState, NoFlag
from ra_guard.experiments.model import Author, Experiment, Pace, require_key, require_note
from ra_guard.experiments.published import Answer, Changed, Published, Spread, experiment_of, published, stored
from ra_guard.experiments.replicas import Replicas
from ra_guard.experiments.seat import WriterSeat
from ra_guard.experiments.upkeep import BY_ITSELF, Upkeep
from ra_guard.experiments.vigil import Vigil

ACK_GRACE_S = 5.0
"""Beyond the lease: by then every replica has the revision or no lease."""
LEDGER_LINES = 100
"""Changes that an answer carries, the latest ones; the store keeps all."""
SPREAD_NUMBER = "spread_s"
"""In the numbers of a ledger line that says how long a change took to reach every replica."""
_REFUSALS = (StoreBusy, StoreCorrupt, StoreFailed, StoreFull, StoreGone, StoreReadOnly)
"""Of a store that cannot take a change, whatever the change is."""

HEALTHY = Condition()

Listener = Callable[[str], None]
Transition = Callable[[Experiment], Experiment]


class ControlPlane:
    """Changes experiments and answers replicas. Thread-safe; `tick` is to be called every few hundred milliseconds."""

    def __init__(
        self,
        store: ControlStore,
        seat: WriterSeat,
        *,
        flags: FlagSource | None = None,
        clock: publish.Clock = publish.utc_now,
        steady: Callable[[], float] = time.monotonic,
        announce: Callable[[Entry], None] = lambda _: None,
        observe_spread: Callable[[float], None] = lambda _: None,
        report: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """``announce`` is told of every line that the ledger takes, ``observe_spread`` how long each change took."""
        self._store = store
        self._seat = seat
        self._flags = flags or NoFlag()
        self._clock = clock
        self._steady = steady
        self._announce = announce
        self._observe_spread = observe_spread
        self._report = report
        self._changing = threading.Lock()
        self._published: Mapping[str, Published] = MappingProxyType({})
        self._term = 0
        self._unstored: dict[str, tuple[Transition, Author]] = {}
        """Kills that replicas obey already and the store does not know yet."""
        self._listeners: list[Listener] = []
        self.replicas = Replicas(steady)
        self.conditions = Conditions()
        self.vigil = Vigil(steady)
        self._upkeep = Upkeep(self, store, self._flags, steady, report)

    # What replicas hear

    @property
    def unstored_kills(self) -> int:
        """Kills that replicas obey already and the store has not taken."""
        return len(self._unstored)

    def writer(self) -> WriterLease | None:
        """The lease of this instance; None while it has none."""
        try:
            return self._seat.lease()
        except WriterBusy:
            return None

    def subscribe(self, listener: Listener) -> None:
        """``listener(key)`` is called, on any thread, when replicas of an experiment have something new to hear."""
        self._listeners.append(listener)

    def leads(self) -> bool:
        """Whether this instance holds the writer lease and has read what is stored."""
        lease = self.writer()
        return lease is not None and lease.term == self._term

    def hear(self, key: str, replica: str, held: tuple[int, int], condition: Condition = HEALTHY) -> Answer:
        """Answers a replica's word, from memory; ``held`` is the revision and the checksum of its plan.

        Raises NotTheWriter, UnknownExperiment, BadReplica, FlagUnread.
        """
        if self._halts(key):
            return self.answer(key, held)
        found = self._in_force(key)
        self._require_flag_read(key)
        revision = found.experiment.revision
        # A plan of another store with our number counts as none: it must not look like ours.
        is_ours = held[0] != revision or held[1] == found.checksum
        self.replicas.hear(key, replica, held[0] if is_ours else 0, revision)
        self.conditions.hear(key, replica, condition)
        # What is in force is read again now that the word is noted: whoever changes it from here on waits for this
        # replica, and whoever changed it before is heard.
        return self.answer(key, held)

    def answer(self, key: str, held: tuple[int, int]) -> Answer:
        """What a replica with that plan is to hear, said unasked: no word of the replica's. Raises as `hear` does."""
        if self._halts(key):
            return Answer(self._published[key].experiment.revision, None, halt=True)
        found = self._in_force(key)
        self._require_flag_read(key)
        revision = found.experiment.revision
        return Answer(revision, None if held == (revision, found.checksum) else found.sealed, halt=False)

    def leave(self, key: str, replica: str) -> None:
        """A replica answers no more calls and is to be forgotten."""
        self.replicas.leave(key, replica)
        self.conditions.leave(key, replica)

    # What people ask

    def stored_keys(self) -> list[str]:
        """Of every experiment, sorted."""
        self._require_lead()
        return sorted(self._published)

    def treated(self) -> Mapping[str, Experiment]:
        """Those in force that are not killed, nor halted for a kill that is not stored yet."""
        return {
            key: found.experiment
            for key, found in self._published.items()
            if not found.experiment.killed and key not in self._unstored
        }

    def current(self, key: str) -> Experiment:
        """The state in force. Raises NotTheWriter, UnknownExperiment."""
        return self._in_force(key).experiment

    def ledger(self, key: str, lines: int = LEDGER_LINES) -> tuple[Entry, ...]:
        """The latest lines, oldest first."""
        return self._store.ledger(key, lines)

    def plan(self, key: str, revision: int) -> bytes:
        """A plan as it was published, sealed. Raises UnknownExperiment, UnknownRevision."""
        recorded = self._store.at(key, revision)
        if recorded is None:
            raise UnknownRevision(
                found=f"revision {revision} of {key}",
                wanted=f"1..{self.current(key).revision}",
                cure="take the revision from the log record or from `ra-guard experiment status`",
            )
        return recorded.sealed

    def flag(self, key: str) -> FlagReading | None:
        """What the feature flag says; None when none is configured."""
        return self._flags.reading(key)

    def preview(self, text: str) -> tuple[Experiment | None, Experiment]:
        """The experiment in force, if any, and what applying a definition would make of it.

        Raises what `parse_definition` and `Experiment.apply` raise; the core has the last word on the plan.
        """
        definition = parse_definition(text)
        self._require_lead()
        found = self._published.get(definition.key)
        if found is None:
            after = model.first(definition, self._clock())
            publish.seal(after)
            return None, after
        after = found.experiment.apply(definition)
        publish.seal(after)
        return found.experiment, after

    # What people change

    def create_default(self, author: Author) -> None:
        """Stores the experiment of the template, unless there is one of its key: at ramp 0, nobody is treated."""
        if TEMPLATE_KEY not in self.stored_keys():
            self._create(parse_definition(template()), author)

    def apply(self, text: str, author: Author, expected_revision: int) -> Changed:
        """Stores a definition as a new revision; ``expected_revision`` is 0 for a new experiment.

        Raises what `preview` raises, StaleRevision, and what the store raises.
        """
        definition = parse_definition(text)
        self._require_lead()
        if definition.key in self._published:
            return self._change(definition.key, lambda before: before.apply(definition), author, expected_revision)
        if expected_revision != 0:
            raise StaleRevision(
                found=f"no experiment {definition.key}",
                wanted=f"revision {expected_revision} of it",
                cure="check the key; a new experiment is applied with expected revision 0",
            )
        return self._create(definition, author)

    def ramp(self, key: str, ramp_bp: int, pace: Pace, author: Author, expected_revision: int | None = None) -> Changed:
        """Sets the share of users in each arm; see `Experiment.ramp`."""
        now = self._clock()
        return self._change(key, lambda before: before.ramp(ramp_bp, pace, now), author, expected_revision)

    def approve(self, key: str, ramp_bp: int, author: Author, expected_revision: int | None = None) -> Changed:
        """Allows the ramp to reach a stage; see `Experiment.approve`."""
        return self._change(key, lambda before: before.approve(ramp_bp), author, expected_revision)

    def kill(self, key: str, author: Author) -> Changed:
        """Serves the baseline to everyone. Raises KillNotStored when the store refuses; replicas halt all the same."""
        return self._stop(key, Experiment.kill, author)

    def roll_back(self, key: str, author: Author) -> Changed:
        """A kill that closes the epoch; see `Experiment.roll_back`. Raises KillNotStored as `kill` does."""
        now = self._clock()
        return self._stop(key, lambda before: before.roll_back(now), author)

    def resume(self, key: str, author: Author, expected_revision: int | None = None) -> Changed:
        """Ends a kill in a new epoch; see `Experiment.resume`. Raises FlagIsOff while the feature flag says off."""
        reading = self._flags.reading(key)
        if reading is not None and reading.state is not FlagState.ON:
            raise FlagIsOff(
                found=f"flag {key} {reading.state.value} at {reading.provider}",
                wanted="a flag that is on",
                cure="turn it on first",
            )
        now = self._clock()
        return self._change(key, lambda before: before.resume(now), author, expected_revision)

    def note(self, key: str, what: str, author: Author, numbers: Mapping[str, float]) -> Entry:
        """Adds a ledger line that changes nothing. Raises BadNote, and what the store raises."""
        require_note(what, numbers)
        lease = self.writer()
        revision = self._in_force(key).experiment.revision
        if lease is None:
            raise self._not_the_writer()
        entry = Entry(key, revision, self._clock(), author.who, author.why, what, numbers)
        self._store.note(entry, lease)
        self._announce(entry)
        return entry

    def attest(self, key: str, evidence_at: datetime) -> float | None:
        """There is evidence up to a moment; how long the next may take, see `Vigil.patience_s`."""
        experiment = self._in_force(key).experiment
        self.vigil.attest(key, (self._clock() - evidence_at).total_seconds())
        return self.vigil.patience_s(experiment)

    def wait(self, changed: Changed, timeout_s: float | None = None) -> Spread:
        """Blocks until nobody serves an older plan, or the time is up, and notes how long it took.

        The time is ``timeout_s``, or the lease and a grace.
        """
        key, revision = changed.after.key, changed.after.revision
        limit_s = changed.lease_s + ACK_GRACE_S if timeout_s is None else timeout_s
        rollout = self.replicas.wait(key, revision, changed.lease_s, limit_s)
        spread = Spread(rollout, self._steady() - changed.published_s)
        if changed.before is not changed.after:
            self._note_spread(key, revision, spread)
        return spread

    # What happens by itself

    def tick(self) -> None:
        """What happens by itself, every step whatever became of the others. Never raises."""
        for step in (self.take_over, self._retry_kills, *self._upkeep.steps):
            try:
                step()
            except Exception as error:  # noqa: BLE001 (whatever it is, the other steps and the next tick must happen)
                self._report(error)

    def take_over(self) -> None:
        """Reads what is stored, when this instance has just become the writer. Raises what the store raises."""
        lease = self.writer()
        if lease is None or lease.term == self._term:
            return
        with self._changing:
            found = {}
            for key in self._store.keys():  # noqa: SIM118 (a query, no dictionary)
                current = self._store.current(key)
                if current is not None:
                    found[key] = published(experiment_of(current), current.sealed)
                    known = self._store.replicas(key)
                    self._upkeep.remember(key, known)
                    self.replicas.expect(key, known)
                    self.vigil.begin(key)
            self._published = MappingProxyType(found)
            self._term = lease.term
        self._tell(*found)

    def _retry_kills(self) -> None:
        if not self.leads():
            return
        for key, (transition, author) in list(self._unstored.items()):
            try:
                self._change(key, transition, author, None)
            except ExperimentError as error:  # the others are tried all the same
                self._report(error)

    # One change

    def _stop(self, key: str, transition: Transition, author: Author) -> Changed:
        self._in_force(key)
        try:
            return self._change(key, transition, author, None)
        except _REFUSALS as cause:
            self._unstored[key] = (transition, author)
            self._tell(key)
            raise KillNotStored(
                found=f"a store that refuses ({cause.found})",
                wanted="to store the kill",
                cure="mend the store: replicas treat nobody meanwhile, and the kill is tried until it is stored",
            ) from cause

    def _create(self, definition: Definition, author: Author) -> Changed:
        with self._changing:
            return self._record(None, model.first(definition, self._clock()), author)

    def _change(self, key: str, transition: Transition, author: Author, expected_revision: int | None) -> Changed:
        with self._changing:
            before = self._in_force(key).experiment
            if expected_revision is not None and expected_revision != before.revision:
                raise StaleRevision(
                    found=f"revision {before.revision} in force",
                    wanted=f"revision {expected_revision}",
                    cure="read the experiment again and decide anew",
                )
            after = transition(before)
            if after is before:
                self._settle(before)
                return Changed(before, before, self._steady())
            # Replicas may hold a higher revision than a store that was restored from a copy; they never go back.
            highest = max(self.replicas.revisions(key).values(), default=0)
            return self._record(before, replace(after, revision=max(after.revision, highest + 1)), author)

    def _record(self, before: Experiment | None, after: Experiment, author: Author) -> Changed:
        lease = self.writer()
        if lease is None:
            raise self._not_the_writer()
        now = self._clock()
        sealed = publish.seal(after)  # before anything is stored: the core has the last word on what a plan may say
        key = after.key
        entry = Entry(
            key=key,
            revision=after.revision,
            at=now,
            who=author.who,
            why=author.why,
            what=model.describe(before, after),
            numbers={
                **model.numbers_of(before, after, now),
                "replicas": float(len(self.replicas.revisions(key))),
                **author.numbers,
            },
        )
        try:
            self._store.record(0 if before is None else before.revision, stored(after, sealed, now), entry, lease)
        except LeaseLost as cause:
            self._term = 0
            raise self._not_the_writer() from cause
        except (OutcomeUnknown, StaleRevision):
            self._term = 0  # what is stored is not what is published here: read it again before anything is said
            raise
        self._published = MappingProxyType({**self._published, key: published(after, sealed)})
        if after.ramp_bp > 0 and (before is None or before.ramp_bp == 0):
            self.vigil.begin(key)
        self._settle(after)
        published_s = self._steady()
        self._tell(key)
        self._announce(entry)
        return Changed(before, after, published_s)

    def _settle(self, experiment: Experiment) -> None:
        """Forgets a kill that was not stored once it would change nothing any more."""
        unstored = self._unstored.get(experiment.key)
        if unstored is not None and unstored[0](experiment) is experiment:
            del self._unstored[experiment.key]

    def _note_spread(self, key: str, revision: int, spread: Spread) -> None:
        self._observe_spread(spread.seconds)
        rollout = spread.rollout
        numbers = {
            SPREAD_NUMBER: spread.seconds,
            "acked": float(len(rollout.acked)),
            "expired": float(len(rollout.expired)),
            "waiting": float(len(rollout.waiting)),
        }
        what = "reached every replica" if rollout.done else "did not reach every replica"
        entry = Entry(key, revision, self._clock(), BY_ITSELF, "measured", what, numbers)
        lease = self.writer()
        try:
            if lease is not None:
                self._store.note(entry, lease)
        except ExperimentError as error:  # the change itself is stored and stands
            self._report(error)
        self._announce(entry)

    def _tell(self, *keys: str) -> None:
        for key in keys:
            for listener in self._listeners:
                listener(key)

    def _in_force(self, key: str) -> Published:
        self._require_lead()
        found = self._published.get(key)
        if found is None:
            require_key(key)
            known = ", ".join(sorted(self._published))
            raise UnknownExperiment(
                found=f"experiment {key!r}",
                wanted=f"one of {known}" if known else "a stored experiment, and there is none",
                cure="check the key, or apply a definition",
            )
        return found

    def _halts(self, key: str) -> bool:
        """Whether replicas must stop for a kill that is not stored. True even while what is stored is not known."""
        return key in self._unstored and self.writer() is not None

    def _require_flag_read(self, key: str) -> None:
        reading = self._flags.reading(key)
        if reading is not None and reading.state is FlagState.UNREADABLE and reading.last is None:
            raise FlagUnread(
                found=f"flag {key} unreadable at {reading.provider} ({reading.error})",
                wanted="a flag that was read once",
                cure="mend the provider; until then no replica is given a lease",
            )

    def _require_lead(self) -> None:
        if not self.leads():
            raise self._not_the_writer()

    def _not_the_writer(self) -> NotTheWriter:
        try:
            lease = self._seat.lease()
        except WriterBusy as cause:
            return NotTheWriter(found=cause.found, wanted=cause.wanted, cure=cause.cure)
        return NotTheWriter(
            found=f"term {lease.term} just begun",
            wanted="what is stored to be read",
            cure="try again in a moment",
        )
