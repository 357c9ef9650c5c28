"""What errors are worth on the wire, and those of start, admission and Triton; others stand beside what raises them.

A message says found, wanted and the cure. `status_of` is the one border between errors and gRPC statuses: a test
proves that every class states its status and that no variant of the core is missing from the table.
"""

from enum import StrEnum
from typing import ClassVar, Final


class Code(StrEnum):
    """The gRPC statuses that RA-Guard answers with, by their names; rpc/ turns them into gRPC's own."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    ABORTED = "ABORTED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    DATA_LOSS = "DATA_LOSS"
    INTERNAL = "INTERNAL"


class RaGuardError(Exception):
    """Base of all that RA-Guard raises by itself. One class for each cause."""

    status_code: ClassVar[Code] = Code.INTERNAL
    """What the error is worth on the wire; the exit code of a command follows from it."""

    @property
    def variant(self) -> str:
        """The cause by name, as in `_core.CoreError`."""
        return type(self).__name__


class Refused(RaGuardError):
    """What was found, what is wanted, and the cure, told apart."""

    def __init__(self, *, found: str, wanted: str, cure: str) -> None:
        super().__init__(f"found {found}, wanted {wanted}; {cure}")
        self.found = found
        self.wanted = wanted
        self.cure = cure


# Configuration and start


class ConfigError(RaGuardError):
    """An option that does not exist, or a value out of bounds."""

    status_code = Code.INVALID_ARGUMENT


class PortInUse(RaGuardError):
    """Another process listens where this one was told to."""

    status_code = Code.FAILED_PRECONDITION


# Admission


class RequestTooLarge(RaGuardError):
    """More bytes than server.max_request_bytes."""

    status_code = Code.RESOURCE_EXHAUSTED


class TooManyCandidates(RaGuardError):
    """More candidates than server.capacity_candidates: the call could never be admitted."""

    status_code = Code.RESOURCE_EXHAUSTED


class TooManyStreams(RaGuardError):
    """server.max_streams streams are open already."""

    status_code = Code.RESOURCE_EXHAUSTED


# Gallery


class GenerationTooLarge(RaGuardError):
    """More bytes than gallery.memory_limit_bytes."""

    status_code = Code.FAILED_PRECONDITION


# Triton


class TritonUnavailable(RaGuardError):
    """No answer: refused, broken off, or the circuit breaker is open."""

    status_code = Code.UNAVAILABLE


class TritonTimeout(RaGuardError):
    """No answer in time."""

    status_code = Code.DEADLINE_EXCEEDED


class TritonBusy(RaGuardError):
    """triton.max_in_flight inferences are under way already."""

    status_code = Code.UNAVAILABLE


class TritonWrongShape(RaGuardError):
    """An answer of another shape, type or length than the model contract says."""

    status_code = Code.INTERNAL


class TritonRejected(RaGuardError):
    """A model refuses this input, such as a broken image; Triton itself is well."""

    status_code = Code.INVALID_ARGUMENT


class SpaceMismatch(RaGuardError):
    """Two embedding spaces where one was wanted."""

    status_code = Code.FAILED_PRECONDITION


CORE_STATUS: Final[dict[str, dict[str, Code]]] = {
    "RequestError": {
        "Malformed": Code.INVALID_ARGUMENT,
        "NotUtf8": Code.INVALID_ARGUMENT,
        "Missing": Code.INVALID_ARGUMENT,
        "Empty": Code.INVALID_ARGUMENT,
        "TooLong": Code.INVALID_ARGUMENT,
        "TooMany": Code.INVALID_ARGUMENT,
        "NoCandidates": Code.INVALID_ARGUMENT,
        "DuplicateCandidate": Code.INVALID_ARGUMENT,
        "BaselineScoresCount": Code.INVALID_ARGUMENT,
        "BaselineScoreNotFinite": Code.INVALID_ARGUMENT,
        "TopK": Code.INVALID_ARGUMENT,
        "PoolSize": Code.INVALID_ARGUMENT,
        "EmbeddingLength": Code.INVALID_ARGUMENT,
        "EmbeddingNotFinite": Code.INVALID_ARGUMENT,
        "EmbeddingZeroNorm": Code.INVALID_ARGUMENT,
        "EmbeddingNotUnit": Code.INVALID_ARGUMENT,
        "Space": Code.INVALID_ARGUMENT,
        "UnknownDomain": Code.INVALID_ARGUMENT,
        "UnknownLabel": Code.INVALID_ARGUMENT,
    },
    "ShardError": {
        "NotAShard": Code.DATA_LOSS,
        "Truncated": Code.DATA_LOSS,
        "TrailingBytes": Code.DATA_LOSS,
        "FutureVersion": Code.FAILED_PRECONDITION,
        "PastVersion": Code.FAILED_PRECONDITION,
        "ChecksumMismatch": Code.DATA_LOSS,
        "OutOfBounds": Code.DATA_LOSS,
        "Inconsistent": Code.DATA_LOSS,
        "SpaceMismatch": Code.FAILED_PRECONDITION,
        "DtypeMismatch": Code.FAILED_PRECONDITION,
        "LabelsMismatch": Code.FAILED_PRECONDITION,
        "CodesMismatch": Code.FAILED_PRECONDITION,
        "MissingFile": Code.NOT_FOUND,
        "AlreadyExists": Code.ALREADY_EXISTS,
        "BadManifest": Code.DATA_LOSS,
        "NoGeneration": Code.NOT_FOUND,
        "BadSpec": Code.INVALID_ARGUMENT,
        "TooLarge": Code.RESOURCE_EXHAUSTED,
        "DiskFull": Code.RESOURCE_EXHAUSTED,
        "Locked": Code.ABORTED,
        "Io": Code.UNAVAILABLE,
        "WrongLength": Code.INVALID_ARGUMENT,
        "NotFinite": Code.INVALID_ARGUMENT,
        "ZeroNorm": Code.INVALID_ARGUMENT,
        "NotUnit": Code.INVALID_ARGUMENT,
        "DuplicateId": Code.INVALID_ARGUMENT,
        "BadId": Code.INVALID_ARGUMENT,
        "UnknownLabel": Code.INVALID_ARGUMENT,
        "UnknownDomain": Code.INVALID_ARGUMENT,
        "UnknownLicence": Code.INVALID_ARGUMENT,
        "BadDetection": Code.INVALID_ARGUMENT,
        "TooManyDetections": Code.INVALID_ARGUMENT,
    },
    "PlanError": {
        "Malformed": Code.INVALID_ARGUMENT,
        "NotUtf8": Code.INVALID_ARGUMENT,
        "Checksum": Code.DATA_LOSS,
        "Revision": Code.INVALID_ARGUMENT,
        "Key": Code.INVALID_ARGUMENT,
        "Salt": Code.INVALID_ARGUMENT,
        "Ramp": Code.INVALID_ARGUMENT,
        "Lease": Code.INVALID_ARGUMENT,
        "Mode": Code.INVALID_ARGUMENT,
        "UnknownPlan": Code.NOT_FOUND,
        "Conflict": Code.DATA_LOSS,
        "MissingWeights": Code.INVALID_ARGUMENT,
        "Weight": Code.INVALID_ARGUMENT,
        "Domain": Code.INVALID_ARGUMENT,
        "DuplicateDomain": Code.INVALID_ARGUMENT,
        "Space": Code.INVALID_ARGUMENT,
        "Stale": Code.ABORTED,
    },
    "LogError": {
        "NotALog": Code.DATA_LOSS,
        "NotCounts": Code.DATA_LOSS,
        "TornCounts": Code.DATA_LOSS,
        "TornHeader": Code.DATA_LOSS,
        "FutureVersion": Code.FAILED_PRECONDITION,
        "Corrupt": Code.DATA_LOSS,
        "Unsealed": Code.DATA_LOSS,
        "WrongKind": Code.INVALID_ARGUMENT,
        "BadRecord": Code.INVALID_ARGUMENT,
        "BadRequest": Code.DATA_LOSS,
        "TooLarge": Code.RESOURCE_EXHAUSTED,
        "InUse": Code.FAILED_PRECONDITION,
        "NotOpen": Code.FAILED_PRECONDITION,
        "WriterName": Code.INVALID_ARGUMENT,
        "QueueFull": Code.RESOURCE_EXHAUSTED,
        "Closed": Code.UNAVAILABLE,
        "WriterGone": Code.INTERNAL,
        "Thread": Code.INTERNAL,
        "DiskFull": Code.RESOURCE_EXHAUSTED,
        "Io": Code.UNAVAILABLE,
    },
}
"""By the core's exception class and its variant."""


def status_of(error: BaseException) -> Code:
    """What an error is worth on the wire: INTERNAL for what nobody foresaw."""
    if isinstance(error, RaGuardError):
        return error.status_code
    by_variant = (CORE_STATUS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in CORE_STATUS)
    return next(by_variant, {}).get(getattr(error, "variant", ""), Code.INTERNAL)
