"""Whether what is logged can be computed again, and whether the analysis is ready for it."""

import math
import time
from itertools import islice
from typing import Final

from ra_guard.experiments.definition.words import spoken
from ra_guard.launch.checks.system import System
from ra_guard.launch.package import planned_power
from ra_guard.launch.readiness import Found, counted, failed, passed
from ra_guard.logs.errors import NothingExported
from ra_guard.logs.exposures import exposures
from ra_guard.logs.layout import Kind, segment_of
from ra_guard.logs.objects import Listed, Objects, StoredObjects, segments_of
from ra_guard.logs.verify import NOTHING
from ra_guard.shipper import verifier_of
from ra_guard.stats.outcome import Sides
from ra_guard.stats.sequential import Family, bounds

SEGMENTS: Final = 4
"""The latest ones that are computed again: of 64 MiB at most each."""


def consistency_verified(system: System) -> Found:
    """Every record of the latest shipped segments, computed again offline, has the bits that were served online."""
    objects = StoredObjects.open(system.settings.objects_url)
    latest = _latest(objects)
    verifier = verifier_of(system.settings, system.settings.gallery_dir, objects)
    found = NOTHING
    for listed in latest:
        with objects.local_copy(listed.key) as path:
            found += verifier.segment(path)
    if not found.records and found.clean:
        return failed(
            f"found no record at {system.settings.objects_url}, wanted some to compute again; have enrolled users call "
            "in staging or in shadow mode, then ra-guard log ship --once"
        )
    if not found.clean:
        return failed(f"{found.findings[0]}; wanted the same bits, see ra-guard log verify")
    return passed(
        f"{found.records:,} records of the latest {counted(found.segments, 'segment')}: the same, bit for bit"
    )


def _latest(objects: Objects) -> list[Listed]:
    """The newest segments, by the time at which their writers began."""
    days = sorted(objects.days(Kind.CANDIDATES), reverse=True)
    newest_first = (
        listed
        for day in days
        for listed in sorted(
            segments_of(objects, Kind.CANDIDATES, day),
            key=lambda listed: (segment_of(listed.key).run.run, segment_of(listed.key).sequence),
            reverse=True,
        )
    )
    return list(islice(newest_first, SEGMENTS))


def analysis_scripts_prepared(system: System) -> Found:
    """The statistics answer for this definition, its sample is large enough, and the export of the logs reads."""
    definition = system.definition
    power = planned_power(definition)
    users, needed = definition.sample.users_per_arm, power.users_per_arm_for_success
    if needed > users:
        points = definition.metrics.primary.success_points
        return failed(f"found {users:,} users planned in each arm, wanted {needed:,} for {points:+g} points; plan more")
    days = (*definition.analysis.look_days, definition.analysis.end_day)
    looks = bounds([day / days[-1] for day in days], family=Family.OBRIEN_FLEMING, alpha=power.alpha, sides=Sides.TWO)
    if not math.isclose(looks.spent[-1], power.alpha, rel_tol=1e-6):
        return failed(f"found an error of {looks.spent[-1]:.4g} spent at the last look, wanted {power.alpha:.4g}")
    try:
        found = exposures(system.settings.evidence_dir, definition.key, time.time_ns())
    except NothingExported as error:
        return failed(str(error))
    z = ", ".join(f"{each:.2f}" for each in looks.z)
    return passed(
        f"{needed:,} of {users:,} users an arm are enough; boundaries at even inflow: z {z}; "
        f"the export reads, {counted(len(found.epochs), 'epoch')}"
    )


def go_no_go_defined(system: System) -> Found:
    """The definition says who decides on the launch, by which criteria, and what the analysis leads to."""
    launch, decision = system.definition.launch, system.definition.decision
    findings = {*decision.deploy_when_all, *decision.iterate_when_all, *decision.roll_back_when_any}
    return passed(
        f"{spoken(launch.decided_by)} decides by {len(launch.criteria)} criteria; afterwards deploy, iterate or roll "
        f"back by {len(findings)} findings, otherwise {spoken(decision.otherwise)}"
    )
