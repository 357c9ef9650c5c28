"""Everything of one play that a report needs: the hours as they were, and the evidence by gallery domain."""

from ra_guard.evidence.contrast import Contrast, Evidence
from ra_guard.evidence.tally import Batch, of_domain
from ra_guard.evidence.window import PartWindow
from ra_guard.experiments.allocation import percent
from ra_guard.experiments.model import Experiment
from ra_guard.experiments.monitor.outcomes import Assessment, Look
from ra_guard.reports.content import Content, Hour
from ra_guard.reports.history import History
from ra_guard.simulation.play import LAUNCH, Run, Script, at_minute


class Recording:
    """An audience that forgets nothing."""

    def __init__(self, script: Script) -> None:
        since = round(LAUNCH.timestamp()) // 60
        self._history = History(script.definition)
        self._domains = {domain.name: PartWindow(since) for domain in script.scenario.domains}

    def batch(self, batch: Batch) -> None:
        self._history.add(batch)
        for number, window in enumerate(self._domains.values()):
            window.add(of_domain(batch, number))

    def hour(self, evidence: Evidence, assessment: Assessment, ramp_bp: int) -> None:
        self._history.step(evidence, assessment, ramp_bp)

    def look(self, look: Look, looks: tuple[Look, ...]) -> None:
        """It is in the run."""

    def hours(self) -> tuple[Hour, ...]:
        """All hours so far."""
        return self._history.hours()

    def domains(self) -> dict[str, Contrast]:
        """The epoch by gallery domain."""
        return {name: window.contrast() for name, window in self._domains.items()}


def content(run: Run, recording: Recording) -> Content:
    """What a report of the run is made from."""
    return Content(
        definition=run.script.definition,
        epoch=run.experiment.epoch,
        revision=run.experiment.revision,
        state=_state(run.experiment),
        launched_at=LAUNCH,
        as_of=at_minute(run.minutes),
        assessment=run.assessment,
        evidence=run.evidence,
        decision=run.decision,
        looks=run.looks,
        hours=recording.hours(),
        domains=recording.domains(),
        queries=(),
        ledger=run.ledger,
        source=f"simulation of the scenario {run.script.scenario.name} with seed {run.seed}",
    )


def _state(experiment: Experiment) -> str:
    return "rolled back" if experiment.rolled_back else f"live at {percent(experiment.ramp_bp)}"
