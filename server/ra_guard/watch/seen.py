"""One experiment as the control plane shows it: its state, its ledger, its replicas, and what follows from those."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ra_guard.evidence.contrast import Vitals
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import parse_definition
from ra_guard.experiments.ledger import entries_of
from ra_guard.experiments.model import KILLED, ROLLED_BACK, Experiment
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.experiments.upkeep import CRITICAL_ERRORS
from ra_guard.v1 import experiment_pb2 as wire

LOOK = "look"
"""What the ledger calls a planned look at the primary metric."""


@dataclass(frozen=True)
class Ramped:
    """The ramp came to where it stood from then on."""

    at: datetime
    ramp_bp: int


@dataclass(frozen=True)
class Seen:
    """What the control plane said at one time."""

    experiment: Experiment
    ledger: tuple[Entry, ...]
    """Oldest first."""
    replicas: int
    failing: int
    """Replicas that say they do not serve, and those that were silent for longer than their lease."""

    @property
    def epoch_ledger(self) -> tuple[Entry, ...]:
        """The lines since this epoch began: every change of state names its epoch."""
        epoch = self.experiment.epoch
        first = next((at for at, entry in enumerate(self.ledger) if entry.numbers.get("epoch") == epoch), 0)
        return self.ledger[first:]

    def ramps(self) -> tuple[Ramped, ...]:
        """Where the ramp stood in this epoch and since when, oldest first."""
        found: list[Ramped] = []
        for entry in self.epoch_ledger:
            if "ramp_percent" not in entry.numbers:
                continue
            ramp_bp = round(entry.numbers["ramp_percent"] * 100)
            if not found or found[-1].ramp_bp != ramp_bp:
                found.append(Ramped(entry.at, ramp_bp))
        return tuple(found)

    @property
    def launched_at(self) -> datetime | None:
        """When users were first enrolled in this epoch."""
        return next((ramped.at for ramped in self.ramps() if ramped.ramp_bp > 0), None)

    @property
    def began_at(self) -> datetime:
        """When this analysis begins: with its first users, and before those with the epoch."""
        return self.launched_at or self.experiment.stage_since

    @property
    def judged_since(self) -> datetime:
        """From when ticks may end the epoch: before, the ramp stood elsewhere, or another definition was in force."""
        defined = (entry.at for entry in self.epoch_ledger if entry.what.startswith("apply"))
        return max((self.experiment.stage_since, *defined))

    @property
    def closed_at(self) -> datetime | None:
        """When the epoch was killed or rolled back; None while it runs."""
        if not self.experiment.killed:
            return None
        return self.ends[-1].at if self.ends else self.experiment.stage_since

    @property
    def ends(self) -> tuple[Entry, ...]:
        """Lines of the epoch that killed it or rolled it back, oldest first."""
        return tuple(entry for entry in self.epoch_ledger if entry.what.startswith((KILLED, ROLLED_BACK)))

    def looks(self) -> tuple[Look, ...]:
        """Planned looks that were taken in this epoch."""
        return tuple(look_of(entry) for entry in self.epoch_ledger if entry.what == LOOK)

    def vitals(self) -> Vitals:
        """How the replicas are now, and what went badly wrong so far."""
        errors = [entry for entry in self.epoch_ledger if entry.what == CRITICAL_ERRORS]

        def count(entries: Iterable[Entry]) -> int:
            return round(sum(entry.numbers[CRITICAL_ERRORS] for entry in entries))

        in_stage = (entry for entry in errors if entry.at >= self.experiment.stage_since)
        return Vitals(self.replicas, self.failing, count(in_stage), count(errors))


def look_numbers(look: Look) -> dict[str, float]:
    """A look as the numbers of a ledger line; `look_of` reads them."""
    return {
        "day": float(look.day),
        "at_unix_s": float(look.at_unix_s),
        "control_users": float(look.control_users),
        "treatment_users": float(look.treatment_users),
        "estimate": look.estimate,
        "standard_error": look.standard_error,
        "information": look.information,
        "is_last": float(look.is_last),
    }


def look_of(entry: Entry) -> Look:
    """The look that a ledger line keeps."""
    numbers: Mapping[str, float] = entry.numbers
    return Look(
        day=round(numbers["day"]),
        at_unix_s=round(numbers["at_unix_s"]),
        control_users=round(numbers["control_users"]),
        treatment_users=round(numbers["treatment_users"]),
        estimate=numbers["estimate"],
        standard_error=numbers["standard_error"],
        information=numbers["information"],
        is_last=bool(numbers["is_last"]),
    )


def seen_from(found: wire.Experiment, changes: Iterable[wire.Change]) -> Seen:
    """Reads messages of the control plane. Raises what `parse_definition` raises."""
    definition, plan = parse_definition(found.definition), found.plan
    experiment = Experiment(
        definition=definition,
        salt=plan.salt,
        stage_since=found.stage_since.ToDatetime(tzinfo=UTC),
        revision=plan.revision,
        epoch=found.epoch,
        ramp_bp=plan.ramp_bp,
        widest_bp=found.widest_bp,
        killed=plan.killed,
        rolled_back=found.rolled_back,
        approved_bp=frozenset(found.approved_bp),
    )
    failing = sum(replica.failing or replica.age_s > experiment.lease_s for replica in found.replicas)
    return Seen(experiment, entries_of(found.key, changes), len(found.replicas), failing)
