"""The ledger as the control plane's answers carry it."""

from collections.abc import Iterable
from datetime import UTC

from ra_guard.experiments.control_store import Entry
from ra_guard.v1 import experiment_pb2 as wire


def entries_of(key: str, changes: Iterable[wire.Change]) -> tuple[Entry, ...]:
    """Lines of an experiment's ledger, in the order of the messages. Raises BadEntry for one that no store keeps."""
    return tuple(
        Entry(key, each.revision, each.at.ToDatetime(UTC), each.who, each.why, each.what, dict(each.numbers))
        for each in changes
    )
