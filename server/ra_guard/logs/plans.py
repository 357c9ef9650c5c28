"""Plans as workers took them up: where a record's plan is found, and what the plans say of the logs themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from ra_guard._core import CoreError, check_plan
from ra_guard.logs.errors import NoSuchObject
from ra_guard.logs.layout import PLANS_PREFIX, PlanName, plan_key
from ra_guard.logs.objects import Objects
from ra_guard.v1 import plan_pb2

DEFAULT_WINDOW_S: Final = 86_400
DEFAULT_RETENTION_DAYS: Final = 90
"""What a plan means that says 0; see plan.proto."""


def feedback_window_s(plan: plan_pb2.Plan) -> int:
    """How long after it occurred an event may be received and still be analysed."""
    return plan.feedback_window_s or DEFAULT_WINDOW_S


def retention_days(plan: plan_pb2.Plan) -> int:
    """How many days the logs of a plan's calls are kept."""
    return plan.retention_days or DEFAULT_RETENTION_DAYS


class StoredPlans:
    """Sealed plans by name, from a worker's folder first, then from the objects."""

    def __init__(self, folder: Path | None, objects: Objects | None) -> None:
        self._folder = folder
        self._objects = objects

    def __call__(self, plan: PlanName) -> bytes | None:
        """The sealed plan; None where neither place has it."""
        if self._folder is not None:
            try:
                return (self._folder / plan.file_name).read_bytes()
            except FileNotFoundError:
                pass
        if self._objects is None:
            return None
        try:
            return self._objects.read(plan_key(plan.key, plan.revision))
        except NoSuchObject:
            return None


def shipped_plans(objects: Objects, refused: list[str]) -> Iterator[plan_pb2.Plan]:
    """Every plan among the objects; what is no plan goes to ``refused``, with the reason."""
    for listed in sorted(objects.under(PLANS_PREFIX), key=lambda listed: listed.key):
        try:
            yield plan_pb2.Plan.FromString(check_plan(objects.read(listed.key)))
        except (CoreError, DecodeError, NoSuchObject) as error:
            refused.append(f"{listed.key}: {error}")


def longest_retention_days(objects: Objects) -> int | None:
    """The longest that the latest plan of any experiment asks for; None without a plan: then nobody has said."""
    latest: dict[str, plan_pb2.Plan] = {}
    for plan in shipped_plans(objects, []):
        known = latest.get(plan.experiment_key)
        if known is None or known.revision < plan.revision:
            latest[plan.experiment_key] = plan
    return max(map(retention_days, latest.values()), default=None)
