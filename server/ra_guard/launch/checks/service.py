"""Whether the servers run what is in force, and whether their dashboards have what to show."""

import http.client
import re
import time
from collections.abc import Mapping
from typing import Final

from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.definition.words import NAMES
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Found, counted, failed, passed
from ra_guard.v1 import experiment_pb2 as wire

SERVING: Final = "SERVING"
SERIES: Final[Mapping[Metric, str]] = {
    Metric.LATENCY_P95: "rpc_server_call_duration_seconds_bucket",
    Metric.ERROR_RATE: "ra_guard_rerank_calls_total",
}
"""The Prometheus series from which a dashboard draws a metric; a metric without one cannot be shown yet."""
_HTTP_TIMEOUT_S = 5.0
_PATIENCE_S = 5.0
"""A call is counted a moment after it was answered."""
_POLL_S = 0.1
_NAME = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)[ {]", re.MULTILINE)


def service_deployed(system: System) -> Found:
    """Every replica that the control plane lists holds the revision in force and was heard within its lease."""
    experiment = system.experiment
    if not experiment.replicas:
        return failed("found no replica at the control plane, wanted at least one; start ra-guard serve")
    troubles = [trouble for replica in experiment.replicas if (trouble := _trouble(experiment, replica))]
    if troubles:
        return failed(f"{'; '.join(troubles)}; see the logs of those replicas")
    with system.calls() as client:
        status = client.health()
    if status != SERVING:
        return failed(f"found {system.server} {status}, wanted {SERVING}; see its log for what the probe reports")
    number = counted(len(experiment.replicas), "replica")
    return passed(f"{number} with revision {experiment.plan.revision}; {system.server} is {status}")


def _trouble(experiment: wire.Experiment, replica: wire.Replica) -> str:
    plan = experiment.plan
    if replica.age_s > plan.lease_s:
        return f"found {replica.replica} silent for {replica.age_s:.0f} s, wanted a word within {plan.lease_s} s"
    if replica.revision != plan.revision:
        return f"found {replica.replica} at revision {replica.revision}, wanted {plan.revision}"
    return ""


def dashboards_operational(system: System) -> Found:
    """Every Prometheus endpoint answers, and together they have the series that the dashboard's metrics come from."""
    metrics = system.definition.dashboard.metrics
    if drawn_from_nothing := [NAMES[metric] for metric in metrics if metric not in SERIES]:
        return failed(
            f"found no series for {', '.join(drawn_from_nothing)}, wanted one for each metric of the dashboard"
        )
    settings = system.settings
    if not settings.telemetry.metrics_port or not settings.control.metrics_port:
        off = [name for name in ("telemetry", "control") if not getattr(settings, name).metrics_port]
        return failed(f"found {' and '.join(f'{name}.metrics_port' for name in off)} = 0, wanted a port; set it")
    wanted = {SERIES[metric] for metric in metrics}
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        endpoints = _endpoints(system)
        missing = wanted - {name for names in endpoints.values() for name in names}
        if not missing or time.monotonic() > give_up:
            break
        _call_once(system)
        time.sleep(_POLL_S)
    if missing:
        return failed(
            f"found no {', '.join(sorted(missing))} at {', '.join(endpoints)}, wanted them; is the server called?"
        )
    return passed(f"{counted(len(endpoints), 'endpoint')} answered; {', '.join(sorted(wanted))} are there")


def _call_once(system: System) -> None:
    """One call that enrols nobody: a series begins with its first value."""
    with system.calls() as client:
        client.rerank(query="anything", user_id=system.bystander(), candidate_ids=["any"])


def _endpoints(system: System) -> dict[str, set[str]]:
    """Names of series by endpoint: the workers', and the control plane's where it runs here. Raises OSError."""
    settings = system.settings
    telemetry, control = settings.telemetry, settings.control
    places = [(settings.server.host, telemetry.metrics_port + worker) for worker in range(settings.server.workers)]
    if not control.address:
        places.append((control.host, control.metrics_port))
    return {f"{host}:{port}": _series(host, port) for host, port in places}


def _series(host: str, port: int) -> set[str]:
    connection = http.client.HTTPConnection(host, port, timeout=_HTTP_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return set(_NAME.findall(connection.getresponse().read().decode(errors="replace")))
    finally:
        connection.close()
