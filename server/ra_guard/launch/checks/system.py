"""The running system that a checklist is measured on: where it is, and what its control plane said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ra_guard import _core
from ra_guard.client import RerankClient
from ra_guard.config import Settings
from ra_guard.experiments.allocation import Arm, arm_of, hash_seed, percent
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition import Definition
from ra_guard.launch.errors import EverybodyEnrolled
from ra_guard.v1 import experiment_pb2 as wire

CALL_TIMEOUT_S = 10.0
_UNITS_TRIED = 10_000


class Admin(Protocol):
    """The part of `ExperimentClient` that a drill needs."""

    def kill(self, request: wire.KillRequest) -> wire.KillResponse: ...
    def resume(self, request: wire.ResumeRequest) -> wire.ResumeResponse: ...
    def note(self, key: str, *, what: str, who: str, why: str, numbers: Mapping[str, float]) -> wire.NoteResponse: ...


@dataclass(frozen=True)
class System:
    """One deployment, its experiment as the control plane described it, and the way to change it."""

    settings: Settings
    server: str
    """Address of the rerank server."""
    definition: Definition
    experiment: wire.Experiment
    ledger: Sequence[Entry]
    """Oldest first."""
    admin: Admin

    def calls(self) -> RerankClient:
        """A connection of its own to one worker."""
        return RerankClient(self.server, timeout_s=CALL_TIMEOUT_S)

    def bystander(self) -> str:
        """A unit outside both arms, so that a call of ours is no exposure. Raises EverybodyEnrolled."""
        plan = self.experiment.plan
        unit = unit_in(Arm.NOT_ENROLLED, plan.experiment_key, plan.salt, plan.ramp_bp)
        if unit is None:
            raise EverybodyEnrolled(
                found=f"every user in an arm at ramp {percent(plan.ramp_bp)}",
                wanted="somebody outside to call as",
                cure="measure before the launch",
            )
        return unit


def unit_in(arm: Arm, key: str, salt: str, ramp_bp: int) -> str | None:
    """The first of our own units that the hash puts into an arm; None where it puts none there."""
    seed = hash_seed(key, salt)
    units = (f"ra-guard-readiness-{number}" for number in range(_UNITS_TRIED))
    return next((unit for unit in units if arm_of(_core.bucket(seed, unit), ramp_bp) is arm), None)
