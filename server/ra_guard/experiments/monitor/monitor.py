"""The watch over one experiment in one epoch: evidence goes in, and every minute comes what may have to stop it.

Guardrails and alarms without ``over_minutes`` look at the epoch, gates at the time since the ramp came to its stage,
other alarms at the last minutes. `step` asks what must be asked every minute, in every state, also at ramp 0;
`assess` says all that can be said. No clock, no I/O.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ra_guard.errors import Code, RaGuardError
from ra_guard.evidence.contrast import Contrast, Evidence, Exposure, Vitals
from ra_guard.evidence.sums import Rows
from ra_guard.evidence.tally import Batch
from ra_guard.evidence.window import Enrolment, MinuteWentBack, Recent, Window
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import MEASURES, Alarm, Counted, Metric, Requirement
from ra_guard.experiments.definition.safety import Guardrail
from ra_guard.experiments.monitor.outcomes import Assessment, Judged, Reading, Tick, Verdict, Watched
from ra_guard.experiments.monitor.power import power_percent
from ra_guard.experiments.monitor.primary import alpha_of, corrected_effect, primary_effect
from ra_guard.experiments.monitor.question import Question, What
from ra_guard.experiments.monitor.reading import Beside, answer
from ra_guard.experiments.monitor.shared_cause import has_shared_cause
from ra_guard.experiments.monitor.trigger import Memory, crossed_by
from ra_guard.experiments.monitor.verdict import verdict_of
from ra_guard.stats import srm

_DAY: Final = 24 * 60


class NothingToAssess(RaGuardError):
    """An assessment was asked for before any step."""

    status_code = Code.FAILED_PRECONDITION


class Monitor:
    """One epoch of one experiment."""

    def __init__(self, definition: Definition, *, epoch_since: int, stage_bp: int, stage_since: int) -> None:
        """``epoch_since``, ``stage_since``: minutes since the Unix epoch; ``stage_bp``: the ramp since then."""
        self._epoch_since = epoch_since
        self._epoch = Window(epoch_since)
        self._enrolment = Enrolment()
        self._recent: dict[int, Recent] = {}
        self._added: list[Batch] = []
        self._critical_errors: dict[int, int] = {}
        self._moment: _Moment | None = None
        self._triggers: tuple[_Watch, ...] = ()
        self._alerts: tuple[_Watch, ...] = ()
        self.stage(stage_bp, stage_since)
        self.redefine(definition)

    def stage(self, ramp_bp: int, since: int) -> None:
        """The ramp moved: evidence of this minute and later is the new stage's. Say so before it is added."""
        self._ramp_bp = ramp_bp
        self._stage_since = since
        self._stage = Window(since)

    def redefine(self, definition: Definition) -> None:
        """Another definition is in force.

        An alarm that asks the same as before remembers its readings; another one starts without any, and a span that
        was not looked back over before starts now.
        """
        self._definition = definition
        remembered = {watch.alarm: watch.memory for watch in (*self._triggers, *self._alerts)}
        self._triggers = tuple(_Watch(alarm, remembered.get(_asked(alarm))) for alarm in definition.triggers)
        self._alerts = tuple(_Watch(alarm, remembered.get(_asked(alarm))) for alarm in definition.alerts)
        self._guardrails = tuple(map(_Requirement, definition.metrics.guardrails))
        watches = (*self._triggers, *self._alerts)
        spans = {watch.question.over_minutes for watch in watches} - {None}
        self._recent = {span: self._recent.get(span) or Recent(span) for span in spans if span is not None}
        self._metrics = {watch.question.metric for watch in watches}

    def add(self, batch: Batch) -> None:
        """Take note of a batch, for the next step to see."""
        self._added.append(batch)

    def step(self, as_of: int, exposure: Exposure, vitals: Vitals | None) -> Tick:
        """What must be known every minute. Minutes may be skipped. ``vitals`` None: nothing was heard of the replicas.

        Asked again about the same minute, the alarms stand where they stood. Raises MinuteWentBack.
        """
        if self._moment is not None and as_of < self._moment.as_of:
            raise MinuteWentBack(
                f"found minute {as_of} after {self._moment.as_of}, wanted none that is earlier; step in order of time"
            )
        self._settle()
        self._remember_critical_errors(as_of, vitals)
        beside = self._beside(vitals)
        if Metric.STATISTICAL_POWER in self._metrics:
            beside = replace(beside, power=self._power(as_of))
        asked = [each for each in self._guardrails if self._asks_for_guardrails or each.rolls_back]
        guardrails = self._judged_guardrails(asked, beside)
        if self._asks_for_guardrails:
            beside = replace(beside, guardrails_unhealthy=_unhealthy(guardrails))
        readings: dict[What, Reading] = {}
        tick = Tick(
            as_of=as_of,
            triggers=tuple(self._watched(watch, as_of, beside, readings) for watch in self._triggers),
            guardrails=tuple(each for each, of in zip(guardrails, asked, strict=True) if of.rolls_back),
            alerts=tuple(self._watched(watch, as_of, beside, readings) for watch in self._alerts),
        )
        for recent in self._recent.values():
            recent.keep_up(as_of)
        self._moment = _Moment(as_of, exposure, vitals, tick)
        return tick

    def assess(self) -> Assessment:
        """Everything, as of the latest step. Raises NothingToAssess before the first."""
        moment = self._latest()
        power = self._power(moment.as_of)
        beside = replace(self._beside(moment.vitals), power=power)
        guardrails = self._judged_guardrails(self._guardrails, beside)
        at_stage = replace(
            beside,
            critical_errors=moment.vitals.critical_errors if moment.vitals else None,
            guardrails_unhealthy=_unhealthy(guardrails),
        )
        stage = self._definition.stage(self._ramp_bp)
        gates = [_Requirement(gate) for gate in stage.gates] if stage else []
        return Assessment(
            tick=moment.tick,
            guardrails=guardrails,
            gates=tuple(gate.judged(self._stage.contrast(), at_stage) for gate in gates),
            sample_ratio=srm.sample_ratio(
                (moment.exposure.control_users, moment.exposure.treatment_users),
                (1.0, 1.0),
                alpha=self._definition.analysis.sample_ratio_p,
            ),
            crossover_percent=_crossover_percent(moment.exposure),
            primary=primary_effect(self._definition, self._epoch.contrast()),
            power_percent=None if isinstance(power, str) else power,
            corrected=corrected_effect(self._definition, self._epoch.contrast()),
        )

    def evidence(self) -> Evidence:
        """All that is known, as of the latest step. Raises NothingToAssess before the first."""
        moment = self._latest()
        return Evidence(
            as_of=moment.as_of,
            epoch=self._epoch.contrast(),
            stage=self._stage.contrast(),
            recent={span: self._recent[span].contrast(moment.as_of) for span in sorted(self._recent)},
            exposure=moment.exposure,
            vitals=moment.vitals,
        )

    @property
    def _asks_for_guardrails(self) -> bool:
        return Metric.GUARDRAILS_UNHEALTHY in self._metrics

    def _latest(self) -> "_Moment":
        if self._moment is None:
            raise NothingToAssess("found no step, wanted one to assess; call step first")
        return self._moment

    def _settle(self) -> None:
        for batch in self._added:
            rows = Rows.of(batch)
            self._enrolment.add_rows(rows)
            self._epoch.add_rows(rows)
            self._stage.add_rows(rows)
            for recent in self._recent.values():
                recent.add_rows(rows)
        self._added.clear()

    def _beside(self, vitals: Vitals | None) -> Beside:
        return Beside(
            alpha=alpha_of(self._definition),
            users_opt=self._definition.sample.users,
            vitals=vitals,
            critical_errors=vitals.critical_errors_in_epoch if vitals else None,
        )

    def _power(self, as_of: int) -> float | str:
        return power_percent(
            self._definition,
            self._epoch.contrast(),
            enrolled=self._enrolment.between(self._stage_since, as_of),
            ramp_bp=self._ramp_bp,
            minutes_at_stage=as_of + 1 - self._stage_since,
            minutes_to_end=self._epoch_since + self._definition.analysis.end_day * _DAY - (as_of + 1),
        )

    def _judged_guardrails(self, guardrails: Sequence["_Requirement"], beside: Beside) -> tuple[Judged, ...]:
        """In the order given. What counts unhealthy guardrails counts the others."""
        epoch = self._epoch.contrast()
        others = [each.judged(epoch, beside) for each in guardrails if not each.counts_guardrails]
        counted = replace(beside, guardrails_unhealthy=_unhealthy(others))
        left = iter(others)
        return tuple(each.judged(epoch, counted) if each.counts_guardrails else next(left) for each in guardrails)

    def _watched(self, watch: "_Watch", as_of: int, beside: Beside, readings: dict[What, Reading]) -> Watched:
        question, contrast = watch.question, self._epoch.contrast()
        if question.over_minutes is not None and MEASURES[question.metric].counted is not Counted.NOTHING:
            contrast = self._recent[question.over_minutes].contrast(as_of)
        if question.over_minutes is not None and question.metric is Metric.CRITICAL_ERRORS:
            beside = replace(beside, critical_errors=self._recent_critical_errors(as_of, question.over_minutes))
        reading = readings.get(question.what)
        if reading is None:
            reading = readings[question.what] = answer(question, contrast, beside)
        crossed = crossed_by(question, reading)
        watch.memory = watch.memory.at(as_of, crossed=crossed)
        # A fault that lasts becomes control's own past, so what was shared stays so while the run of crossings lasts.
        watch.is_shared = watch.memory.minutes_crossed > 0 and (
            watch.is_shared
            or (crossed is True and has_shared_cause(question, contrast, self._epoch.contrast(), beside))
        )
        return Watched(
            alarm=watch.definition,
            reading=reading,
            crossed=crossed,
            minutes_crossed=watch.memory.minutes_crossed,
            coverage=watch.memory.coverage,
            is_firing=watch.memory.is_firing,
            has_shared_cause=watch.is_shared,
        )

    def _remember_critical_errors(self, as_of: int, vitals: Vitals | None) -> None:
        if Metric.CRITICAL_ERRORS not in self._metrics or vitals is None:
            return
        self._critical_errors[as_of] = vitals.critical_errors_in_epoch
        # The latest one outside of every span is where the longest one starts.
        outside = [minute for minute in self._critical_errors if minute <= as_of - max(self._recent, default=0)]
        for minute in outside[:-1]:
            del self._critical_errors[minute]

    def _recent_critical_errors(self, as_of: int, span: int) -> int | None:
        """None where the count at the start of the span is not known, as in the first minutes after a restart."""
        start = as_of - span
        known = [count for minute, count in self._critical_errors.items() if minute <= start]
        if not known and start >= self._epoch_since:
            return None
        now = self._critical_errors.get(as_of)
        return None if now is None else now - (known[-1] if known else 0)


@dataclass(frozen=True)
class _Moment:
    """What a step was told, and what it said."""

    as_of: int
    exposure: Exposure
    vitals: Vitals | None
    tick: Tick


class _Watch:
    """An alarm of the definition in force, and what is remembered of its readings."""

    def __init__(self, alarm: Alarm, memory: Memory | None) -> None:
        self.definition = alarm
        self.alarm = _asked(alarm)
        self.question = Question.of(alarm)
        self.memory = memory or Memory.of(alarm)
        self.is_shared = False


class _Requirement:
    """A requirement of the definition in force."""

    def __init__(self, requirement: Requirement) -> None:
        self._requirement = requirement
        self._question = Question.of(requirement)
        self.rolls_back = isinstance(requirement, Guardrail) and requirement.rolls_back
        self.counts_guardrails = requirement.metric is Metric.GUARDRAILS_UNHEALTHY

    def judged(self, contrast: Contrast, beside: Beside) -> Judged:
        """By this window."""
        reading = answer(self._question, contrast, beside)
        return Judged(self._requirement, reading, verdict_of(self._question, reading))


def _asked(alarm: Alarm) -> tuple[Question, int, float | None, type[Alarm]]:
    """What makes two alarms the same: neither who is told nor what was measured of it."""
    return Question.of(alarm), alarm.for_minutes, alarm.coverage_percent, type(alarm)


def _unhealthy(guardrails: Iterable[Judged]) -> int:
    return sum(each.verdict is not Verdict.PASS for each in guardrails)


def _crossover_percent(exposure: Exposure) -> float | None:
    enrolled = exposure.control_users + exposure.treatment_users
    return 100 * exposure.crossed_users / enrolled if enrolled else None
