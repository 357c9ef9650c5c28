"""The one writer of an experiment, and the plan file that every replica reads.

A change is validated by the core, recorded in the history, then published: in that order, under the lock. A crash
between the last two leaves a recorded revision that nobody serves; the next open publishes it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ra_guard import _core
from ra_guard.experiments import store
from ra_guard.experiments.definition import parse_definition, template
from ra_guard.experiments.definition.treatment import Weights
from ra_guard.experiments.definition.vocabulary import Approval, Mode
from ra_guard.experiments.errors import PlanAhead, PlanRefused, PlanUnreadable, StaleRevision, UnknownExperiment
from ra_guard.experiments.model import Author, Experiment, Pace, describe, first, require_key
from ra_guard.experiments.store import Change
from ra_guard.v1 import plan_pb2, rerank_pb2

Clock = Callable[[], datetime]
Transition = Callable[[Experiment], Experiment]

_LOCK_WAIT_S = 5.0
_PLAN = "plan.sealed"


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


class PlanFile:
    """The sealed plan of one experiment on disk: replaced whole, read without a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        """The sealed plan; None before the first was published. Raises PlanUnreadable."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as cause:
            raise PlanUnreadable(
                found=f"{self._path.name} unreadable ({cause.strerror})",
                wanted="a file that the server may read",
                cure="check the state folder and its permissions",
            ) from cause

    def write(self, sealed: bytes) -> None:
        """Replaces the plan durably. Only the publisher calls this, under the lock."""
        store.replace_durably(self._path, sealed)

    def revision(self) -> int:
        """The revision on disk; 0 when there is none or it does not hold."""
        sealed = self.read()
        if sealed is None:
            return 0
        try:
            plan = _core.check_plan(sealed)
        except _core.PlanError:
            return 0
        return plan_pb2.Plan.FromString(plan).revision


_MODES = {
    Mode.AB: plan_pb2.MODE_AB,
    Mode.SHADOW: plan_pb2.MODE_SHADOW,
    Mode.INTERLEAVING: plan_pb2.MODE_INTERLEAVING,
}


def plan_of(experiment: Experiment) -> plan_pb2.Plan:
    """What a replica needs to know of an experiment."""
    definition = experiment.definition
    return plan_pb2.Plan(
        revision=experiment.revision,
        experiment_key=experiment.key,
        salt=experiment.salt,
        ramp_bp=experiment.ramp_bp,
        killed=experiment.killed,
        lease_s=definition.lease_s,
        default_weights=_weights(definition.weights.default),
        domain_weights=[
            plan_pb2.DomainWeights(domain=domain, weights=_weights(weights))
            for domain, weights in sorted(definition.weights.domain.items())
        ],
        spaces=definition.spaces,
        mode=_MODES[definition.mode],
        epoch=experiment.epoch,
        feedback_window_s=definition.feedback_window_s,
        retention_days=definition.retention_days,
    )


def _weights(weights: Weights) -> rerank_pb2.Weights:
    return rerank_pb2.Weights(
        cosine=weights.cosine,
        consistency=weights.consistency,
        contradiction=weights.contradiction,
        prior=weights.prior,
    )


def seal(experiment: Experiment) -> bytes:
    """The experiment as a SealedPlan. Raises PlanRefused when the core finds it malformed."""
    try:
        return _core.seal_plan(plan_of(experiment).SerializeToString(deterministic=True))
    except _core.PlanError as cause:
        raise PlanRefused(
            found=f"a plan that the core refuses ({cause})",
            wanted="a plan that it accepts",
            cure="correct the value named",
        ) from cause


class Publisher:
    """Changes one experiment. Any number of processes may hold one; the lock lets one act at a time."""

    def __init__(self, folder: Path, *, clock: Clock = utc_now, lock_wait_s: float = _LOCK_WAIT_S) -> None:
        self._folder = folder
        self._lock = folder / "LOCK"
        self._history = store.History(folder / "history.jsonl")
        self._clock = clock
        self._lock_wait_s = lock_wait_s
        self.plan = PlanFile(folder / _PLAN)

    def revisions(self) -> tuple[store.Revision, ...]:
        """Every change with the state it led to, oldest first. Raises UnknownExperiment, HistoryCorrupt."""
        revisions = self._history.read()
        if not revisions:
            raise _unknown(self._folder.name, sorted(_keys(self._folder.parent)))
        return revisions

    def current(self) -> Experiment:
        """The state at the last recorded revision. Raises UnknownExperiment, HistoryCorrupt."""
        return self.revisions()[-1].experiment

    def create(self, definition: str, author: Author) -> Experiment:
        """Records and publishes the first revision of a definition, unless one is stored already.

        A stored one stays as it is, and is published if a crash left it only recorded. Raises PlanRefused,
        HistoryCorrupt, PlanAhead.
        """
        with store.exclusive(self._lock, self._lock_wait_s):
            self._history.cut_torn_tail()
            if revisions := self._history.read():
                self._publish_if_behind(revisions[-1].experiment)
                return revisions[-1].experiment
            experiment = first(parse_definition(definition), self._clock())
            return self._record(None, experiment, author, definition)

    def ramp(self, ramp_bp: int, author: Author, *, expected_revision: int | None = None) -> Experiment:
        """Sets the share of users in each arm to a stage, over and approving any stage in between."""

        def climb(experiment: Experiment) -> Experiment:
            at, ready = self._clock(), experiment
            for stage in experiment.definition.stages:
                if stage.approval is Approval.REQUIRED and stage.ramp_bp <= ramp_bp and not experiment.killed:
                    ready = ready.approve(stage.ramp_bp)
            ramped = ready.ramp(ramp_bp, Pace.SKIPPING_STAGES, at)
            return experiment if ramped is ready else replace(ramped, revision=experiment.revision + 1)

        return self._change(climb, author, expected_revision)

    def kill(self, author: Author, *, expected_revision: int | None = None) -> Experiment:
        """Serves the baseline to everyone; see `Experiment.kill`."""
        return self._change(Experiment.kill, author, expected_revision)

    def resume(self, author: Author, *, expected_revision: int | None = None) -> Experiment:
        """Ends a kill; see `Experiment.resume`."""
        return self._change(lambda experiment: experiment.resume(self._clock()), author, expected_revision)

    def _change(self, transition: Transition, author: Author, expected_revision: int | None) -> Experiment:
        with store.exclusive(self._lock, self._lock_wait_s):
            self._history.cut_torn_tail()
            last = self.revisions()[-1]
            before = last.experiment
            self._publish_if_behind(before)
            if expected_revision is not None and expected_revision != before.revision:
                raise StaleRevision(
                    found=f"revision {before.revision} in force",
                    wanted=f"revision {expected_revision}",
                    cure="read the experiment again and decide anew",
                )
            after = transition(before)
            return before if after is before else self._record(before, after, author, last.definition)

    def _record(self, before: Experiment | None, after: Experiment, author: Author, definition: str) -> Experiment:
        sealed = seal(after)  # before anything is written: the core has the last word on what a plan may say
        change = Change(after.revision, self._clock(), author.who, author.why, describe(before, after))
        self._history.append(store.Revision(change, after, definition))
        self.plan.write(sealed)
        return after

    def _publish_if_behind(self, recorded: Experiment) -> None:
        published = self.plan.revision()
        if published > recorded.revision:
            raise PlanAhead(
                found=f"plan.sealed at revision {published}, the history at {recorded.revision}",
                wanted="a history that reaches the plan",
                cure="restore history.jsonl: replicas never go back to a lower revision",
            )
        if published < recorded.revision:
            self.plan.write(seal(recorded))


class ControlFolder:
    """All experiments of a state folder: one sub-folder for each key."""

    def __init__(self, path: Path, *, clock: Clock = utc_now) -> None:
        self._path = path
        self._clock = clock

    def stored_keys(self) -> list[str]:
        """Keys with a history, sorted."""
        return sorted(_keys(self._path))

    def folder(self, key: str) -> Path:
        """Where an experiment's files lie. Raises BadKey."""
        require_key(key)
        return self._path / key

    def plan(self, key: str) -> PlanFile:
        """The plan of an experiment, whatever state its history is in. Raises BadKey."""
        return PlanFile(self.folder(key) / _PLAN)

    def open(self, key: str) -> Publisher:
        """The publisher of a stored experiment. Raises BadKey, UnknownExperiment."""
        folder = self.folder(key)
        if key not in self.stored_keys():
            raise _unknown(key, self.stored_keys())
        return Publisher(folder, clock=self._clock)

    def ensure(self, key: str, author: Author) -> Publisher:
        """What a server calls at its start: the experiment as stored, or else the default definition under ``key``."""
        return self.create(template(key), author)

    def create(self, definition: str, author: Author) -> Publisher:
        """Stores and publishes a new experiment; one that is already stored keeps its history and is healed.

        Raises BadKey, PlanRefused, HistoryCorrupt, PlanAhead.
        """
        folder = self.folder(parse_definition(definition).key)
        folder.mkdir(parents=True, exist_ok=True)
        store.sync_folder(self._path)
        publisher = Publisher(folder, clock=self._clock)
        publisher.create(definition, author)
        return publisher


def _keys(control: Path) -> list[str]:
    return [path.parent.name for path in control.glob("*/history.jsonl")]


def _unknown(key: str, known: list[str]) -> UnknownExperiment:
    return UnknownExperiment(
        found=f"experiment {key!r}",
        wanted=f"one of {', '.join(known)}" if known else "a stored experiment, and there is none",
        cure="check the key, or start the server once to store the default",
    )
