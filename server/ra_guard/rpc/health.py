"""grpc.health.v1, driven by probes: a service is SERVING while its probe says so, and by nothing else."""

import threading
from collections.abc import Callable, Mapping

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ra_guard._core import Engine

CANARY_TOLERANCE = 0.05
"""How far from 1 a row's score against itself may be; 8-bit rows are about 0.01 off."""

Probe = Callable[[], bool]


def canary_probe(core: Engine) -> Probe:
    """True while a row of the generation in service scores near 1 against itself."""

    def probe() -> bool:
        return abs(core.canary() - 1.0) <= CANARY_TOLERANCE  # NaN, without a generation, compares false

    return probe


class Health:
    """The status of every service by name. "" stands for the whole server: all of them."""

    def __init__(
        self, probes: Mapping[str, Probe], *, interval_s: float, report: Callable[[BaseException], None]
    ) -> None:
        self._probes = probes
        self._interval_s = interval_s
        self._report = report
        self._servicer = health.HealthServicer(experimental_non_blocking=True)
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def failing(self) -> bool:
        """Whether a probe failed when they were last asked. Not before they were asked once."""
        return self._failing

    def add_to(self, server: grpc.Server) -> None:
        """Registers the health service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def start(self) -> None:
        """Probes once at once, then goes on in the background."""
        self.probe()
        self._thread.start()

    def drain(self) -> None:
        """NOT_SERVING for every service, for good."""
        self._closing.set()
        self._servicer.enter_graceful_shutdown()
        if self._thread.is_alive():
            self._thread.join()

    def probe(self) -> None:
        """Asks every probe once; one that raises counts as not serving."""
        results = {service: self._holds(probe) for service, probe in self._probes.items()}
        self._failing = not all(results.values())
        for service, serving in {**results, "": not self._failing}.items():
            status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            self._servicer.set(service, status)

    def _holds(self, probe: Probe) -> bool:
        try:
            return probe()
        except BaseException as error:  # noqa: BLE001 (a panic of the core too is an answer)
            self._report(error)
            return False

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            self.probe()
