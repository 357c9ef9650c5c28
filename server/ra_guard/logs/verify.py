"""Computes logged records again, and says where the first one differs.

A record names its plan and its generation; the core replays it against both and compares bits. Three things are told
apart: a difference, a record whose plan or generation cannot be had, and bytes that are no record or no log.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

import xxhash

from ra_guard._core import LogError, PlanError, ShardError, describe_record
from ra_guard.logs.columns import Buffers, request_ids
from ra_guard.logs.layout import PlanName
from ra_guard.v1 import rerank_pb2

UNKNOWN_PLAN: Final = "UnknownPlan"
_HASHES: Final = 1 << 64


class Outcome(Enum):
    """What replaying one record came to."""

    SAME = "same"
    DIFFERENT = "different"
    NO_PLAN = "no plan"
    NO_GENERATION = "no generation"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One record that is not the same, or a segment that cannot be read."""

    outcome: Outcome
    segment: str
    record: int | None
    """Counted from 0; None for the segment as a whole."""
    request_id: str
    """Empty where it cannot be read."""
    what: str

    def __str__(self) -> str:
        place = self.segment if self.record is None else f"{self.segment} record {self.record}"
        request = f" request {self.request_id!r}" if self.request_id else ""
        return f"{place}{request}: {self.outcome.value}: {self.what}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check came to. Verifications add."""

    segments: int
    records: int
    """That were replayed, with whatever outcome."""
    outcomes: Counter[Outcome]
    findings: tuple[Finding, ...]
    """The first of each outcome other than SAME, in the order in which they were met."""

    @property
    def clean(self) -> bool:
        """Every record gave the same bits."""
        return not self.findings

    def __add__(self, other: "Verification") -> "Verification":
        known = {finding.outcome for finding in self.findings}
        return Verification(
            self.segments + other.segments,
            self.records + other.records,
            self.outcomes + other.outcomes,
            (*self.findings, *(finding for finding in other.findings if finding.outcome not in known)),
        )


NOTHING: Final = Verification(0, 0, Counter(), ())


class Replay(Protocol):
    """`_core.Replay`: raises ShardError for a generation, PlanError UnknownPlan for a plan that it lacks."""

    def add_plan(self, sealed: bytes) -> None: ...
    def check(self, record: bytes) -> str | None: ...


class Plans(Protocol):
    """Sealed plans by name; None where there is none."""

    def __call__(self, plan: PlanName) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class SegmentReader:
    """`_core.read_log` and `_core.read_log_columns`: the records as they are, and the columns to choose them by."""

    records: Callable[[str], Sequence[bytes]]
    columns: Callable[[str], Buffers]


class Verifier:
    """Replays records; fetches each plan once, when the first record names it."""

    def __init__(self, replay: Replay, plans: Plans, reader: SegmentReader) -> None:
        self._replay = replay
        self._plans = plans
        self._reader = reader

    def segment(self, path: Path) -> Verification:
        """Replays every record of a segment."""
        return self._verify(path, None)

    def sample(self, path: Path, share: float) -> Verification:
        """Replays a share of a segment's records, the same ones each time: chosen by a hash of the request id."""
        return self._verify(path, share)

    def _verify(self, path: Path, share: float | None) -> Verification:
        try:
            records = self._reader.records(str(path))
            chosen = range(len(records)) if share is None else _chosen(self._reader.columns(str(path)), share)
        except LogError as error:
            finding = Finding(Outcome.UNREADABLE, path.name, None, "", str(error))
            return Verification(1, 0, Counter({Outcome.UNREADABLE: 1}), (finding,))
        outcomes: Counter[Outcome] = Counter()
        first: dict[Outcome, Finding] = {}
        for number in chosen:
            outcome, what = self._check(records[number])
            outcomes[outcome] += 1
            if outcome is not Outcome.SAME and outcome not in first:
                first[outcome] = Finding(outcome, path.name, number, request_id_of(records[number]), what)
        return Verification(1, outcomes.total(), outcomes, tuple(first.values()))

    def _check(self, record: bytes) -> tuple[Outcome, str]:
        try:
            difference = self._check_with_plan(record)
        except PlanError as error:
            return Outcome.NO_PLAN, str(error)
        except ShardError as error:
            return Outcome.NO_GENERATION, str(error)
        except LogError as error:
            return Outcome.UNREADABLE, str(error)
        return (Outcome.SAME, "") if difference is None else (Outcome.DIFFERENT, difference)

    def _check_with_plan(self, record: bytes) -> str | None:
        try:
            return self._replay.check(record)
        except PlanError as error:
            if error.variant != UNKNOWN_PLAN or not self._add_plan_of(record):
                raise
        return self._replay.check(record)

    def _add_plan_of(self, record: bytes) -> bool:
        described = describe_record(record)
        sealed = self._plans(PlanName(str(described["experiment_key"]), int(str(described["plan_revision"]))))
        if sealed is None:
            return False
        self._replay.add_plan(sealed)
        return True


class ReplaySampler:
    """Replays a share of the records of each segment on its way out, and counts. Give `examine` to a Shipper."""

    def __init__(self, verifier: Verifier, share: float, report: Callable[[Finding], None]) -> None:
        self._verifier = verifier
        self._share = share
        self._report = report
        self.checked = 0
        """Records replayed, with whatever outcome."""
        self.different = 0
        self.unreadable = 0
        """Records whose plan or generation is missing, or that are no records; segments that cannot be read."""

    def examine(self, segment: Path) -> None:
        """Replays the share of one segment; what it finds is reported and never keeps the segment."""
        found = self._verifier.sample(segment, self._share)
        self.checked += found.records
        self.different += found.outcomes[Outcome.DIFFERENT]
        self.unreadable += sum(
            count for outcome, count in found.outcomes.items() if outcome not in {Outcome.SAME, Outcome.DIFFERENT}
        )
        for finding in found.findings:
            self._report(finding)


def request_id_of(record: bytes) -> str:
    """The id under which feedback joins a record; empty for bytes that are no record."""
    try:
        request = describe_record(record)["request"]
    except LogError:
        return ""
    return rerank_pb2.RerankRequest.FromString(bytes(request)).request_id if isinstance(request, bytes) else ""


def _chosen(columns: Buffers, share: float) -> Sequence[int]:
    ids = request_ids(columns)
    return [number for number, each in enumerate(ids) if xxhash.xxh3_64_intdigest(each.encode()) < share * _HASHES]
