"""What the software measures by itself: one function for each line of the checklist that it can prove."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from ra_guard.launch.checks.alerting import alerting_tested
from ra_guard.launch.checks.drill import rollback_tested
from ra_guard.launch.checks.evidence import analysis_scripts_prepared, consistency_verified, go_no_go_defined
from ra_guard.launch.checks.gallery import (
    feature_latency_verified,
    features_precomputed,
    gallery_deployed,
    gallery_validated,
    pools_prepared,
)
from ra_guard.launch.checks.service import dashboards_operational, service_deployed
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Check, Found

REGISTRY: Final[Mapping[str, Callable[[System], Found]]] = {
    each.__name__: each
    for each in (
        service_deployed,
        gallery_deployed,
        features_precomputed,
        pools_prepared,
        dashboards_operational,
        alerting_tested,
        rollback_tested,
        gallery_validated,
        feature_latency_verified,
        consistency_verified,
        analysis_scripts_prepared,
        go_no_go_defined,
    )
}
"""By the id of the line that it proves."""


def checks_of(system: System) -> Mapping[str, Check]:
    """Every check, bound to a system."""
    return {name: partial(check, system) for name, check in REGISTRY.items()}
