"""Which alerts stand, and what of a tick is news. Pure: state, tick and time in, state and messages out.

An alert is known by its severity, metric and bound. It is told once when it fires, again at each level of the
escalation path while nobody acknowledges it, and once when it has recovered.

Flapping: an alert has recovered when it has not fired for `QUIET`. One that fires again before then never recovered:
nothing is said, and the escalation counts on from the first time. So an alert that comes and goes every minute is told
once, and its recovery once, `QUIET` late, with the time at which it came.

A reading that cannot be told neither fires nor recovers. A standing alert without readings goes on escalating:
that the evidence is gone is no reason to leave people asleep.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from pydantic import TypeAdapter

from ra_guard.alerts.errors import NoSuchAlert
from ra_guard.alerts.message import Fact, Kind, Links, Message
from ra_guard.alerts.wording import BREACHES, arms, clock, condition, found, lasted
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Comparison, Metric, Scale
from ra_guard.experiments.definition.safety import Alert, EscalationLevel
from ra_guard.experiments.definition.vocabulary import Severity, Team
from ra_guard.experiments.definition.words import in_words, spoken
from ra_guard.experiments.monitor.outcomes import Tick, Watched

QUIET: Final = timedelta(minutes=5)
"""How long an alert must not fire before its recovery is told."""


@dataclass(frozen=True)
class Identity:
    """What makes two alerts the same, whatever their windows, counts and routes."""

    severity: Severity
    metric: Metric
    when: Comparison
    scale: Scale
    bound: float

    @classmethod
    def of(cls, alert: Alert) -> "Identity":
        """The identity of an alert."""
        return cls(alert.severity, alert.metric, alert.when, alert.scale, alert.bound)


@dataclass(frozen=True)
class Acknowledgement:
    """Who has taken an alert up, and when."""

    by: str
    at: datetime


@dataclass(frozen=True)
class Standing:
    """An alert that people were told of and that has not recovered."""

    id: str
    alert: Alert
    since: datetime
    level: int
    """The highest level of the escalation path that was told; 0 for none."""
    quiet_since: datetime | None = None
    """When it last stopped firing; None while it fires."""
    acknowledged: Acknowledgement | None = None


@dataclass(frozen=True)
class State:
    """All that is remembered from one tick to the next."""

    epoch: int = 0
    """That it is of; 0 before the first tick."""
    standing: tuple[Standing, ...] = ()
    told: tuple[str, ...] = ()
    """Names of what is told once and was."""

    def acknowledge(self, alert_id: str, by: str, at: datetime) -> "State":
        """The state in which somebody has taken the alert up, so that it climbs no further. The first one stays.

        Raises NoSuchAlert where the alert does not stand, or fired only afterwards: who took up an earlier one has not
        seen this one.
        """
        taken = Acknowledgement(by, at)
        meant = [each for each in self.standing if each.id == alert_id and each.since <= at]
        if not meant:
            ids = ", ".join(each.id for each in self.standing if each.since <= at) or "none"
            raise NoSuchAlert(
                f"found alert {alert_id!r} at {clock(at)}, wanted one that stood then: {ids}; it may have recovered"
            )
        return replace(
            self,
            standing=tuple(
                replace(each, acknowledged=each.acknowledged or taken) if each in meant else each
                for each in self.standing
            ),
        )

    def to_json(self) -> str:
        """As text, for whoever keeps it across a restart: nothing is told twice, no acknowledgement is forgotten."""
        return _STATE.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "State":
        """What `to_json` gave."""
        return _STATE.validate_json(text)


_STATE: Final = TypeAdapter(State)


@dataclass(frozen=True)
class Board:
    """What is told of an experiment's alerts, by its definition."""

    definition: Definition
    links: Links

    def advance(self, state: State, tick: Tick, now: datetime) -> tuple[State, tuple[Message, ...]]:
        """The state after a tick, and what people are told of it."""
        seen = _by_identity(tick)
        before = {Identity.of(each.alert): each for each in state.standing}
        standing: list[Standing] = []
        messages: list[Message] = []
        for identity, watched in seen.items():
            after, told = self._step(before.get(identity), _id(identity, seen), watched, now)
            standing += [after] if after else []
            messages += told
        messages += [
            self._withdrawn(each, "the definition in force no longer holds this alert", now)
            for identity, each in before.items()
            if identity not in seen
        ]
        return replace(state, standing=tuple(standing)), tuple(messages)

    def end(self, state: State, why: str, now: datetime) -> tuple[Message, ...]:
        """What people are told where every alert that stands is taken back; ``why`` says in words what is over."""
        return tuple(self._withdrawn(each, why, now) for each in state.standing)

    def _step(
        self, standing: Standing | None, name: str, watched: Watched, now: datetime
    ) -> tuple[Standing | None, list[Message]]:
        """One alert from one tick to the next, under the routes and levels of the definition in force."""
        standing = replace(standing, alert=_alert(watched)) if standing else None
        if watched.crossed is None:
            is_called_for = standing is not None and standing.quiet_since is None
            return self._escalate(standing, watched, now) if standing and is_called_for else (standing, [])
        if watched.is_firing:
            if standing is None:
                return self._fire(name, watched, now)
            return self._escalate(replace(standing, quiet_since=None), watched, now)
        if standing is None:
            return None, []
        quiet_since = standing.quiet_since or now
        if now - quiet_since < QUIET:
            return replace(standing, quiet_since=quiet_since), []
        return None, [self._recovered(standing, quiet_since, watched, now)]

    def _fire(self, name: str, watched: Watched, now: datetime) -> tuple[Standing, list[Message]]:
        alert = _alert(watched)
        at_once = self._at_once(alert)
        standing = Standing(name, alert, now, at_once[-1].level if at_once else 0)
        message = Message(
            kind=Kind.FIRED,
            at=now,
            title=self._title(alert, in_words(alert)),
            summary=f"{in_words(alert)}: found {found(alert, watched.reading)}.",
            facts=(*self._evidence(standing, watched), *self._follow_up(standing)),
            severity=alert.severity,
            routes=alert.routes,
            to=tuple(step.to for step in at_once),
            level=standing.level,
            alert=name,
            links=self.links,
        )
        return standing, [message]

    def _escalate(self, standing: Standing, watched: Watched, now: datetime) -> tuple[Standing, list[Message]]:
        """Climbs every level whose time has come, one message each, in order."""
        messages: list[Message] = []
        while (step := self._next_step(standing)) and now - standing.since >= timedelta(minutes=step.after_minutes):
            standing = replace(standing, level=step.level)
            messages.append(self._escalated(standing, step, watched, now))
        return standing, messages

    def _escalated(self, standing: Standing, step: EscalationLevel, watched: Watched, now: datetime) -> Message:
        alert = standing.alert
        return Message(
            kind=Kind.ESCALATED,
            at=now,
            title=self._title(alert, f"level {step.level}, {spoken(step.to)}: {in_words(alert)}"),
            summary=f"{in_words(alert)}: standing for {lasted(now - standing.since)}, and nobody has acknowledged it; "
            f"{spoken(step.to)} is called for {step.response}.",
            facts=(*self._evidence(standing, watched), *self._follow_up(standing)),
            severity=alert.severity,
            routes=alert.routes,
            to=(step.to,),
            level=step.level,
            alert=standing.id,
            links=self.links,
        )

    def _recovered(self, standing: Standing, at: datetime, watched: Watched, now: datetime) -> Message:
        alert = standing.alert
        value = found(alert, watched.reading)
        return Message(
            kind=Kind.RECOVERED,
            at=now,
            title=self._title(alert, f"recovered: {in_words(alert)}"),
            summary=f"Recovered from {in_words(alert)} after {lasted(at - standing.since)}: now {value}.",
            facts=(
                *self._evidence(standing, watched),
                Fact("Recovered", f"{clock(at)}, told after {lasted(QUIET)} without a relapse"),
                *_taken_up(standing),
            ),
            severity=alert.severity,
            routes=alert.routes,
            to=self._told(standing),
            was_told_to_no_team=not self._at_once(alert),
            level=standing.level,
            alert=standing.id,
            links=self.links,
        )

    def _withdrawn(self, standing: Standing, why: str, now: datetime) -> Message:
        alert = standing.alert
        return Message(
            kind=Kind.WITHDRAWN,
            at=now,
            title=self._title(alert, f"withdrawn: {in_words(alert)}"),
            summary=f"{in_words(alert)} is no longer asked about: {why}.",
            facts=(
                Fact("Since", f"{clock(standing.since)}, {lasted(now - standing.since)} ago"),
                *_taken_up(standing),
                Fact("Alert", standing.id),
            ),
            severity=alert.severity,
            routes=alert.routes,
            to=self._told(standing),
            was_told_to_no_team=not self._at_once(alert),
            level=standing.level,
            alert=standing.id,
            links=self.links,
        )

    def _title(self, alert: Alert, what: str) -> str:
        return f"[{alert.severity.upper()}] {self.definition.key}: {what}"

    def _evidence(self, standing: Standing, watched: Watched) -> tuple[Fact, ...]:
        """Found, bound, arms and since when."""
        alert, reading = watched.alarm, watched.reading
        facts = [Fact("Found", found(alert, reading)), Fact("Alert when", condition(alert))]
        if counts := arms(alert, reading):
            facts.append(Fact("Arms", counts))
        if watched.has_shared_cause:
            facts.append(Fact("Shared cause", "control crosses the bound as well, so treatment alone is not to blame"))
        facts.append(Fact("Since", clock(standing.since)))
        return tuple(facts)

    def _follow_up(self, standing: Standing) -> tuple[Fact, ...]:
        """What happens by itself, whom it reaches, and by which name it is acknowledged."""
        told = [f"{spoken(step.to)} (level {step.level})" for step in self._path(standing.alert)]
        by = " and ".join(standing.alert.routes)
        facts = [Fact("What happens next", "; ".join(self._consequences(standing)) or "nothing by itself")]
        if standing.level:
            facts.append(Fact("Goes to", f"{', '.join(told[: standing.level])}, by {by}"))
        else:
            facts.append(Fact("Goes to", f"whoever reads {by}"))
        command = f"ra-guard experiment acknowledge {self.definition.key} {standing.id} --why REASON"
        taken_up = _taken_up(standing) or (Fact("To take it up", command),)
        return (*facts, *taken_up, Fact("Alert", standing.id))

    def _consequences(self, standing: Standing) -> list[str]:
        alert, definition = standing.alert, self.definition
        words = []
        if step := self._next_step(standing):
            due = clock(standing.since + timedelta(minutes=step.after_minutes))
            words.append(f"{spoken(step.to)} is called at {due} (level {step.level}) unless somebody acknowledges it")
        words += [
            f"the trigger '{in_words(trigger)}' rolls the experiment back by itself"
            for trigger in definition.triggers
            if trigger.metric is alert.metric
        ]
        words += [
            f"the guardrail '{in_words(guardrail)}', once breached, {BREACHES[guardrail.action]}"
            for guardrail in definition.metrics.guardrails
            if guardrail.metric is alert.metric
        ]
        return words

    def _next_step(self, standing: Standing) -> EscalationLevel | None:
        if standing.acknowledged:
            return None
        return next((step for step in self._path(standing.alert) if step.level > standing.level), None)

    def _path(self, alert: Alert) -> tuple[EscalationLevel, ...]:
        """The levels that the alert may climb, in order."""
        return tuple(step for step in self.definition.escalation if step.level <= alert.escalates_to_level)

    def _at_once(self, alert: Alert) -> tuple[EscalationLevel, ...]:
        """The levels that are told when it fires; none: whoever reads the general addresses."""
        return tuple(takewhile(lambda step: step.after_minutes == 0, self._path(alert)))

    def _told(self, standing: Standing) -> tuple[Team, ...]:
        return tuple(step.to for step in self._path(standing.alert) if step.level <= standing.level)


def _by_identity(tick: Tick) -> dict[Identity, Watched]:
    """The tick's alerts; of two with one identity, the one that says more: firing, else told."""
    seen: dict[Identity, Watched] = {}
    for watched in sorted(tick.alerts, key=lambda each: (each.crossed is not None, each.is_firing)):
        seen[Identity.of(_alert(watched))] = watched
    order = [Identity.of(_alert(watched)) for watched in tick.alerts]
    return {identity: seen[identity] for identity in order}


def _alert(watched: Watched) -> Alert:
    if not isinstance(watched.alarm, Alert):
        raise TypeError(f"found {type(watched.alarm).__name__} among a tick's alerts, wanted Alert")
    return watched.alarm


def _id(identity: Identity, among: Mapping[Identity, Watched]) -> str:
    """Metric and severity; with the bound where two alerts would share that. A shell takes it as one word."""
    short = f"{identity.metric}-{identity.severity}"
    same = [each for each in among if (each.metric, each.severity) == (identity.metric, identity.severity)]
    return short if len(same) == 1 else f"{short}-{identity.when}-{identity.bound:g}-{identity.scale}"


def _taken_up(standing: Standing) -> tuple[Fact, ...]:
    taken = standing.acknowledged
    return (Fact("Acknowledged", f"by {taken.by} at {clock(taken.at)}"),) if taken else ()
