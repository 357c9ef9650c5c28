"""Short simulated experiments: everyone enrolled from the first hour, as many visitors at night as by day."""

from ra_guard.evidence.contrast import Evidence
from ra_guard.evidence.tally import Batch
from ra_guard.experiments.definition import Definition, parse_definition
from ra_guard.experiments.monitor.outcomes import Assessment, Look
from ra_guard.simulation.people import Allocation
from ra_guard.simulation.play import Detail, Run, Script, play
from ra_guard.simulation.presets import preset
from ra_guard.simulation.scenario import Fault, Scenario, Visits

STEADY = (1.0,) * 24


class Deaf:
    """An audience that remembers nothing."""

    def batch(self, batch: Batch) -> None: ...

    def hour(self, evidence: Evidence, assessment: Assessment, ramp_bp: int) -> None: ...

    def look(self, look: Look, looks: tuple[Look, ...]) -> None: ...


def short(hours: int, *faults: Fault, visitors_per_day: float = 20_000.0) -> Scenario:
    """A scenario of few hours with much traffic."""
    visits = Visits(visitors_per_day=visitors_per_day, hourly_profile=STEADY)
    return Scenario(name="short", hours=hours, visits=visits, faults=faults)


def one_stage(**replaced: str) -> Definition:
    """The definition of the A/A preset, with lines of its text replaced."""
    text = preset("a-a")[1].text
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return parse_definition(text)


def played(scenario: Scenario, definition: Definition, seed: int = 1, tick_minutes: int = 1) -> Run:
    """One run, without alerts and indicators."""
    return play(Script(scenario, definition, Allocation.DRAWN, tick_minutes, Detail.DECIDING), seed, Deaf())
