"""The course of a long run: an experiment led through every mode, and its control plane lost, while calls go on."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc
from ra_guard.client import CallFailed, ExperimentClient
from ra_guard.v1 import experiment_pb2 as wire

from bench.fleet import Running
from bench.workload import EXPERIMENT, RAMP_BP, definition

SMALL_RAMP_BP = 1000
PAUSE_S = 0.02
WHO, WHY = "bench", "another mode, for the log"

Answer = TypeVar("Answer")


class Conductor:
    """Leads the experiment through its modes while calls go on."""

    def __init__(self, control: ExperimentClient, server: Running, lease_s: int) -> None:
        self._control = control
        self._server = server
        self._lease_s = lease_s

    def lose_control_plane(self) -> None:
        """The control plane is killed; the supervisor starts another."""
        for process in self._server.control_planes():
            os.kill(process, signal.SIGKILL)

    def small_ramp(self) -> None:
        """Most users are not enrolled."""
        self._ramp(SMALL_RAMP_BP)

    def kill(self) -> None:
        """The killswitch."""
        self._ask(lambda: self._control.kill(wire.KillRequest(key=EXPERIMENT, who=WHO, why=WHY)))

    def shadow(self) -> None:
        """Shadow for everyone, in a new epoch. The experiment is killed."""
        self._apply("shadow")
        self._resume()

    def interleaving(self) -> None:
        """Interleaving for everyone, in a new epoch."""
        self.kill()
        self._apply("interleaving")
        self._resume()

    def sealed_plans(self) -> Iterator[bytes]:
        """Every plan that was ever in force."""
        last = self._control.get(wire.GetRequest(key=EXPERIMENT)).experiment.plan.revision
        for revision in range(1, last + 1):
            request = wire.GetPlanRequest(key=EXPERIMENT, revision=revision)
            yield self._control.get_plan(request).plan.SerializeToString()

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """Asks until there is a writer: none answers meanwhile, and one without its lease asks to be tried again."""
        while True:
            try:
                return question()
            except CallFailed as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                time.sleep(PAUSE_S)

    def _apply(self, mode: str) -> None:
        found = self._ask(lambda: self._control.get(wire.GetRequest(key=EXPERIMENT)))
        text, revision = definition(lease_s=self._lease_s, mode=mode), found.experiment.plan.revision
        request = wire.ApplyRequest(definition=text, who=WHO, why=WHY, expected_revision=revision)
        self._ask(lambda: self._control.apply(request))

    def _resume(self) -> None:
        self._ask(lambda: self._control.resume(wire.ResumeRequest(key=EXPERIMENT, who=WHO, why=WHY)))
        self._ramp(RAMP_BP)

    def _ramp(self, ramp_bp: int) -> None:
        pace = wire.PACE_SKIPPING_STAGES
        request = wire.RampRequest(key=EXPERIMENT, ramp_bp=ramp_bp, pace=pace, who=WHO, why=WHY)
        self._ask(lambda: self._control.ramp(request))


PHASES: tuple[tuple[float, Callable[[Conductor], None]], ...] = (
    (0.30, Conductor.lose_control_plane),
    (0.35, Conductor.small_ramp),
    (0.50, Conductor.kill),
    (0.60, Conductor.shadow),
    (0.80, Conductor.interleaving),
)
"""From which share of the calls on; before the first, A/B with everyone enrolled."""
