"""One turn of the watch, once a minute: look, roll back if it must be, tell people, take looks, move the ramp, report.

Each step stands by itself: one that fails is reported and the next ones happen all the same, and what may take long (a
rollback that waits for every replica, a report) runs beside the turn. Rolling back comes first and asks nobody. The
watch keeps nothing that it could not find again in the logs and in the ledger, except which alerts stand and what was
told once.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from ra_guard.alerts.board import Board, State
from ra_guard.alerts.errors import NoSuchAlert
from ra_guard.alerts.message import Links, Message
from ra_guard.alerts.notices import Notices, unwatched
from ra_guard.errors import Code, RaGuardError
from ra_guard.evidence.join import FollowerBroken
from ra_guard.experiments.monitor import looks, rollout
from ra_guard.experiments.monitor.monitor import NothingToAssess
from ra_guard.experiments.monitor.outcomes import BY_ITSELF, Advance, Assessment, Look, RollBack, Tick
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.watch import once
from ra_guard.watch.epoch import Epoch, minute_of, moment_of
from ra_guard.watch.logs import EvidenceRefused, Logs, News
from ra_guard.watch.seen import LOOK, Seen, look_numbers, seen_from

ACKNOWLEDGED: Final = "acknowledged "
"""What a ledger line begins with by which a person takes up an alert; its id follows."""
PATIENCE: Final = timedelta(minutes=3)
"""How long the control plane may not answer before people are told: a restart takes less."""


class ClockWentBack(RaGuardError):
    """The watch's clock was ahead, and was set back; what it had played is played again."""

    status_code = Code.FAILED_PRECONDITION


class Control(Protocol):
    """What the watch asks of the control plane; `ra_guard.client.ExperimentClient` is one."""

    def get(self, request: wire.GetRequest) -> wire.GetResponse: ...
    def get_ledger(self, request: wire.GetLedgerRequest) -> wire.GetLedgerResponse: ...
    def ramp(self, request: wire.RampRequest) -> wire.RampResponse: ...
    def roll_back(self, request: wire.RollBackRequest) -> wire.RollBackResponse: ...
    def note(self, key: str, *, what: str, who: str, why: str, numbers: dict[str, float]) -> wire.NoteResponse: ...
    def attest(self, key: str, evidence_at: datetime) -> wire.AttestResponse: ...


class Reporter(Protocol):
    """Makes the reports that are due."""

    def look(self, seen: Seen, epoch: Epoch, logs: Logs, now: datetime) -> None: ...


@dataclass(frozen=True)
class Tools:
    """What a watch works with."""

    control: Control
    follow: Callable[[Seen], Logs]
    """Opens the logs of an epoch."""
    offer: Callable[[Message], None]
    """Tells people. Never waits."""
    keep: Callable[[State], None]
    """Remembers which alerts stand, for the next life of the watch."""
    beside: Executor
    """For what may take long."""
    reporter: Reporter
    links: Links
    report: Callable[[BaseException], None]
    """Told of every step that failed."""


@dataclass
class Totals:
    """What the watch did since it started, for its metrics."""

    turns: int = 0
    failed_steps: int = 0
    rollbacks: int = 0
    advances: int = 0
    messages: int = 0
    evidence_at: datetime | None = None
    """The newest sign of life in the logs."""
    as_of: datetime | None = None
    """The end of the last minute that was judged."""


class Watch:
    """Watches one experiment. `turn` is called by one thread."""

    def __init__(self, key: str, tools: Tools, *, lag: timedelta, standing: State) -> None:
        """``lag``: a minute is complete so long after it ended. ``standing``: the alerts of an earlier life."""
        self._key = key
        self._tools = tools
        self._lag = lag
        self._standing = standing
        self._epoch: Epoch | None = None
        self._logs: Logs | None = None
        self._due: RollBack | None = None
        self._acting: Future[None] | None = None
        self._announced: RollBack | None = None
        """The rollback that people were told of with what triggers found: its ledger line says less."""
        self._is_blind = False
        self._is_impatient = False
        self._unseen_since: datetime | None = None
        self._is_cut_off = False
        self.totals = Totals()
        self.latest: Tick | None = None
        """The tick of the last minute that was judged."""

    def turn(self, now: datetime) -> None:
        """Everything that a minute asks for. Never raises."""
        self.totals.turns += 1
        self._step(lambda: self._turn(now))

    def assessment(self) -> Assessment:
        """All that can be said at the minute that was judged last. Raises NothingToAssess before the first."""
        if self._epoch is None:
            raise NothingToAssess("found no turn that saw anything, wanted one; see what the watch reports")
        return self._epoch.assess()

    def close(self) -> None:
        """Gives memory back."""
        if self._logs is not None:
            self._logs.close()

    def _turn(self, now: datetime) -> None:
        seen = self._see(now)
        as_of = minute_of(now - self._lag) - 1
        epoch, logs = self._epoch_of(seen, as_of, now)
        ticks: Sequence[Tick] = ()
        news = self._look(logs, as_of, now, seen)
        if news is not None:
            ticks = self._play(epoch, seen, news, as_of)
        self._step(lambda: self._roll_back(seen, ticks, now))
        if ticks:
            tick = self.latest = ticks[-1]
            self.totals.as_of = moment_of(as_of)
            self._step(lambda: self._alert(seen, tick, now))
        self._step(lambda: self._attest(seen, news, now))
        self._step(lambda: self._tell_ends(seen, now))
        if news is not None and ticks and self._due is None:
            self._step(lambda: self._take_look(seen, epoch, as_of, now))
            self._step(lambda: self._move(seen, epoch, news.sign_of_life, now))
            self._step(lambda: self._tools.reporter.look(seen, epoch, logs, now))

    # Seeing

    def _see(self, now: datetime) -> Seen:
        control = self._tools.control
        try:
            found = control.get(wire.GetRequest(key=self._key)).experiment
            seen = seen_from(found, control.get_ledger(wire.GetLedgerRequest(key=self._key)).changes)
        except Exception as error:
            since = self._unseen_since = self._unseen_since or now
            if not self._is_cut_off and now - since >= PATIENCE:
                self._tell(unwatched(self._key, self._tools.links, since, str(error), now))
                self._is_cut_off = True
            raise
        self._unseen_since, self._is_cut_off = None, False
        return seen

    def _epoch_of(self, seen: Seen, as_of: int, now: datetime) -> tuple[Epoch, Logs]:
        number = seen.experiment.epoch
        if self._standing.epoch != number:
            self._end_alerts(seen, now)
        if self._epoch is not None and self._epoch.number != number:
            self._due = self._announced = self._epoch = None
        if self._epoch is not None and self._is_ahead(self._epoch, as_of):
            self._failed(ClockWentBack(f"found minute {as_of} after {self._epoch.as_of}, wanted a clock that goes on"))
            self._epoch = None
        if self._epoch is None or self._logs is None or self._epoch.began_at != seen.began_at:
            self.close()
            self._epoch, self._logs = Epoch(seen), self._tools.follow(seen)
        return self._epoch, self._logs

    def _is_ahead(self, epoch: Epoch, as_of: int) -> bool:
        """Whether it was played beyond what is known now: until time comes there, nothing would be asked."""
        return epoch.has_played and epoch.as_of > as_of + 1

    def _look(self, logs: Logs, as_of: int, now: datetime, seen: Seen) -> News | None:
        """None when the logs cannot be read: what they would say is not known, and the next turn tries again."""
        try:
            news = logs.look(as_of, now)
        except Exception as error:  # noqa: BLE001 (whatever it is, people are told and the rest of the turn happens)
            self._failed(error)
            if isinstance(error, FollowerBroken):
                self._epoch = None  # followed anew from all files, and played again
            if not self._is_blind:
                self._tell(self._notices(seen).evidence_unreadable(str(error), now))
            self._is_blind = True
            return None
        self._is_blind = False
        for problem in news.refused:
            self._failed(EvidenceRefused(problem))
        return news

    def _play(self, epoch: Epoch, seen: Seen, news: News, as_of: int) -> Sequence[Tick]:
        try:
            return epoch.play(seen, news.batch, news.exposure, as_of)
        except Exception:
            self._epoch = None  # half-played: played again from its first minute
            raise

    # Acting

    def _roll_back(self, seen: Seen, ticks: Sequence[Tick], now: datetime) -> None:
        """Asks every tick since the ramp came to its stage, and orders until nobody is treated any more."""
        if self._acting is not None and self._acting.done():
            self._acting = None
        if not rollout.is_treating(seen.experiment):
            self._due = None
            return
        since = minute_of(seen.judged_since)
        found = (rollout.rollback_due(seen.experiment, tick) for tick in ticks if tick.as_of >= since)
        due = self._due = self._due or next(filter(None, found), None)
        if due is not None and self._acting is None:
            self._acting = self._tools.beside.submit(self._step, lambda: self._order_rollback(seen, due, now))

    def _order_rollback(self, seen: Seen, due: RollBack, now: datetime) -> None:
        self._tools.control.roll_back(
            wire.RollBackRequest(key=self._key, who=BY_ITSELF, why=due.why, numbers=due.numbers)
        )
        self.totals.rollbacks += 1
        self._announced = due
        self._tell(self._notices(seen).rolled_back(due, seen.experiment.ramp_bp, now))

    def _move(self, seen: Seen, epoch: Epoch, sign: datetime | None, now: datetime) -> None:
        assessment = epoch.assess()
        move = rollout.next_move(seen.experiment, assessment, now, sign or seen.experiment.stage_since)
        self._tell_once(once.of_assessment(seen, assessment, move, self._notices(seen), now))
        if not isinstance(move, Advance):
            return
        self._tools.control.ramp(
            wire.RampRequest(
                key=self._key,
                ramp_bp=move.ramp_bp,
                who=BY_ITSELF,
                why=move.why,
                expected_revision=seen.experiment.revision,
                numbers=move.numbers,
            )
        )
        self.totals.advances += 1
        self._tell(self._notices(seen).ramp_advanced(move, seen.experiment.ramp_bp, now))

    def _take_look(self, seen: Seen, epoch: Epoch, as_of: int, now: datetime) -> None:
        launched = seen.launched_at
        if launched is None or seen.experiment.killed:
            return
        definition, at_unix_s = seen.experiment.definition, (as_of + 1) * 60
        day = looks.due(definition, int(launched.timestamp()), seen.looks(), at_unix_s)
        if day is None:
            return
        look = looks.take(definition, day, at_unix_s, epoch.evidence().epoch)
        if not isinstance(look, Look):
            return
        why = f"day {day} has ended: {look.estimate:+.2f} points, standard error {look.standard_error:.2f}"
        self._tools.control.note(self._key, what=LOOK, who=BY_ITSELF, why=why, numbers=look_numbers(look))
        self._tell(self._notices(seen).decision_due(look, now))

    def _attest(self, seen: Seen, news: News | None, now: datetime) -> None:
        if news is None:
            return
        experiment, sign = seen.experiment, news.sign_of_life
        allowed = timedelta(minutes=experiment.definition.rollback.without_evidence_minutes)
        if sign is None:
            is_impatient = rollout.is_treating(experiment) and now - experiment.stage_since > allowed / 2
        else:
            self.totals.evidence_at = sign
            answer = self._tools.control.attest(self._key, sign)
            is_impatient = answer.HasField("patience_s") and answer.patience_s < allowed.total_seconds() / 2
        if is_impatient and not self._is_impatient:
            self._tell(self._notices(seen).evidence_missing(sign or experiment.stage_since, experiment.ramp_bp, now))
        self._is_impatient = is_impatient

    # Telling

    def _alert(self, seen: Seen, tick: Tick, now: datetime) -> None:
        board = Board(seen.experiment.definition, self._tools.links)
        state = self._acknowledged(seen)
        state, messages = board.advance(state, tick, now)
        self._tell(*messages)
        self._keep(state)

    def _tell_ends(self, seen: Seen, now: datetime) -> None:
        """Those that the ledger shows and that nobody was told of; the watch's own when it is known how it went."""
        if self._acting is not None:
            return
        if self._announced is not None:
            own = (once.end_of(entry) for entry in seen.ends if entry.who == BY_ITSELF)
            self._keep(replace(self._standing, told=tuple(dict.fromkeys((*self._standing.told, *own)))))
        self._tell_once(once.of_ledger(seen, self._notices(seen), now))

    def _tell_once(self, due: Iterable[once.Told]) -> None:
        told = self._standing.told
        new = {name: message for name, message in due if name not in told}
        if new:
            self._tell(*new.values())
            self._keep(replace(self._standing, told=(*told, *new)))

    def _acknowledged(self, seen: Seen) -> State:
        state = self._standing
        oldest = min((standing.since for standing in state.standing), default=datetime.max.replace(tzinfo=UTC))
        for entry in seen.epoch_ledger:
            if entry.at >= oldest and entry.what.startswith(ACKNOWLEDGED):
                try:
                    state = state.acknowledge(entry.what.removeprefix(ACKNOWLEDGED), entry.who, entry.at)
                except NoSuchAlert:
                    continue  # it has recovered
        return state

    def _end_alerts(self, seen: Seen, now: datetime) -> None:
        """Of another epoch than the one that is watched: also where it ended while nobody watched."""
        board = Board(seen.experiment.definition, self._tools.links)
        self._tell(*board.end(self._standing, "another epoch has begun", now))
        self._keep(State(epoch=seen.experiment.epoch))

    def _keep(self, state: State) -> None:
        """What cannot be written is remembered all the same, and written with the next change."""
        self._standing = state
        self._step(lambda: self._tools.keep(state))

    def _tell(self, *messages: Message) -> None:
        for message in messages:
            self.totals.messages += 1
            self._tools.offer(message)

    def _notices(self, seen: Seen) -> Notices:
        return Notices(seen.experiment.definition, self._tools.links)

    def _step(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 (whatever it is, the other steps and the next turn must happen)
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.totals.failed_steps += 1
        self._tools.report(error)
