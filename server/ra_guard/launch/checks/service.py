"""Whether the servers run what is in force, and whether dashboards have what to show."""

import http.client
import re
import time
from collections.abc import Mapping
from typing import Final

from ra_guard.config import Settings
from ra_guard.experiments.definition.measures import Metric
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Found, counted, failed, passed
from ra_guard.v1 import experiment_pb2 as wire

SERVING: Final = "SERVING"
SERIES: Final[Mapping[Metric, str]] = {
    Metric.LATENCY_P95: "rpc_server_call_duration_seconds_bucket",
    Metric.ERROR_RATE: "ra_guard_rerank_calls_total",
}
"""The workers' series from which a dashboard draws a metric."""
WATCHED: Final = "ra_guard_trigger_bound"
"""The watch's series, by metric: it is there once the watch has judged a minute, with or without users."""
_HTTP_TIMEOUT_S = 5.0
_PATIENCE_S = 5.0
"""A call is counted a moment after it was answered."""
_POLL_S = 0.1


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
    if replica.failing:
        return f"found {replica.replica} failing its health check, wanted a replica that serves"
    if replica.revision != plan.revision:
        return f"found {replica.replica} at revision {replica.revision}, wanted {plan.revision}"
    return ""


def dashboards_operational(system: System) -> Found:
    """Every Prometheus endpoint answers, and together they have the series that the dashboard's metrics come from.

    What draws them is no part of this software: that it does is for a person to see.
    """
    places = _endpoints(system.settings)
    if off := [option for option, (_, port) in places.items() if not port]:
        return failed(f"found {' and '.join(off)} = 0, wanted a port; set it")
    metrics = system.definition.dashboard.metrics
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            pages = [_page(host, port) for host, port in places.values()]
        except OSError as error:
            return failed(f"found {error}, wanted metrics there; start what {', '.join(places)} are set for")
        missing = [metric for metric in metrics if not any(is_drawn_from(page, metric) for page in pages)]
        if not missing or time.monotonic() > give_up:
            break
        _call_once(system)
        time.sleep(_POLL_S)
    where = ", ".join(f"{host}:{port}" for host, port in places.values())
    if missing:
        return failed(
            f"found no {', '.join(map(series_of, missing))} at {where}, wanted the series of each metric of the "
            "dashboard; the watch's come two minutes after its start"
        )
    return passed(f"{where} have {', '.join(map(series_of, metrics))}; see the dashboard that draws them")


def series_of(metric: Metric) -> str:
    """As Prometheus has it: ``ra_guard_trigger_bound{metric="ndcg_at_10"}``."""
    return SERIES.get(metric, f'{WATCHED}{{metric="{metric}"}}')


def is_drawn_from(page: str, metric: Metric) -> bool:
    """Whether an endpoint's page has the series of a metric."""
    name = SERIES.get(metric)
    pattern = rf"^{name}[ {{]" if name else rf'^{WATCHED}{{[^}}]*\bmetric="{metric}"'
    return re.search(pattern, page, re.MULTILINE) is not None


def _endpoints(settings: Settings) -> dict[str, tuple[str, int]]:
    """Host and port by the option that sets it: the workers', and those of control plane and watch if they run here."""
    host, first = settings.server.host, settings.telemetry.metrics_port
    workers = range(settings.server.workers if first else 1)
    places = {f"telemetry.metrics_port{f' + {worker}' if worker else ''}": worker for worker in workers}
    found = {option: (host, first + worker) for option, worker in places.items()}
    if not settings.control.address:
        found["control.metrics_port"] = settings.control.host, settings.control.metrics_port
        if settings.watch.every_s:
            found["watch.metrics_port"] = host, settings.watch.metrics_port
    return found


def _call_once(system: System) -> None:
    """One call that enrols nobody: a series begins with its first value."""
    with system.calls() as client:
        client.rerank(query="anything", user_id=system.bystander(), candidate_ids=["any"])


def _page(host: str, port: int) -> str:
    """What an endpoint says. Raises OSError."""
    connection = http.client.HTTPConnection(host, port, timeout=_HTTP_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode(errors="replace")
    except OSError as error:
        raise OSError(f"nobody at http://{host}:{port}/metrics ({error})") from None
    finally:
        connection.close()
