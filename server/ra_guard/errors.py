"""Every error that RA-Guard raises in Python, and what each error is worth on the wire.

A message says found, wanted and the cure. `status_of` is the one border between errors and gRPC statuses: a test
proves that no variant of the core and no class below is missing from its tables.
"""

from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """The gRPC statuses that RA-Guard answers with, by their names; rpc/ turns them into gRPC's own."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
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

    @property
    def variant(self) -> str:
        """The cause by name, as in `_core.CoreError`."""
        return type(self).__name__


# Configuration and start


class ConfigError(RaGuardError):
    """An option that does not exist, or a value out of bounds."""


class PortInUse(RaGuardError):
    """Another process listens where this one was told to."""


# Admission


class RequestTooLarge(RaGuardError):
    """More bytes than server.max_request_bytes."""


class TooManyCandidates(RaGuardError):
    """More candidates than server.capacity_candidates: the call could never be admitted."""


class TooManyStreams(RaGuardError):
    """server.max_streams streams are open already."""


# Gallery


class GenerationTooLarge(RaGuardError):
    """More bytes than gallery.memory_limit_bytes."""


# Triton


class TritonUnavailable(RaGuardError):
    """No answer: refused, broken off, or the circuit breaker is open."""


class TritonTimeout(RaGuardError):
    """No answer in time."""


class TritonBusy(RaGuardError):
    """triton.max_in_flight inferences are under way already."""


class TritonWrongShape(RaGuardError):
    """An answer of another shape, type or length than the model contract says."""


class TritonRejected(RaGuardError):
    """A model refuses this input, such as a broken image; Triton itself is well."""


class SpaceMismatch(RaGuardError):
    """Two embedding spaces where one was wanted."""


STATUS: Final[dict[type[RaGuardError], Code]] = {
    ConfigError: Code.INVALID_ARGUMENT,
    PortInUse: Code.FAILED_PRECONDITION,
    RequestTooLarge: Code.RESOURCE_EXHAUSTED,
    TooManyCandidates: Code.RESOURCE_EXHAUSTED,
    TooManyStreams: Code.RESOURCE_EXHAUSTED,
    GenerationTooLarge: Code.FAILED_PRECONDITION,
    TritonUnavailable: Code.UNAVAILABLE,
    TritonTimeout: Code.DEADLINE_EXCEEDED,
    TritonBusy: Code.UNAVAILABLE,
    TritonWrongShape: Code.INTERNAL,
    TritonRejected: Code.INVALID_ARGUMENT,
    SpaceMismatch: Code.FAILED_PRECONDITION,
}

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
        "MissingWeights": Code.INVALID_ARGUMENT,
        "Weight": Code.INVALID_ARGUMENT,
        "Domain": Code.INVALID_ARGUMENT,
        "DuplicateDomain": Code.INVALID_ARGUMENT,
        "Space": Code.INVALID_ARGUMENT,
        "Stale": Code.ABORTED,
    },
    "LogError": {
        "NotALog": Code.DATA_LOSS,
        "TornHeader": Code.DATA_LOSS,
        "FutureVersion": Code.FAILED_PRECONDITION,
        "Corrupt": Code.DATA_LOSS,
        "Unsealed": Code.DATA_LOSS,
        "BadRecord": Code.INVALID_ARGUMENT,
        "InUse": Code.FAILED_PRECONDITION,
        "NotOpen": Code.FAILED_PRECONDITION,
        "WriterName": Code.INVALID_ARGUMENT,
        "WriterGone": Code.INTERNAL,
        "Thread": Code.INTERNAL,
        "DiskFull": Code.RESOURCE_EXHAUSTED,
        "Io": Code.UNAVAILABLE,
    },
}
"""By the core's exception class and its variant."""


def status_of(error: BaseException) -> Code:
    """What an error is worth on the wire: the nearest class in the tables, INTERNAL for what nobody foresaw."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
        if kind.__name__ in CORE_STATUS:
            return CORE_STATUS[kind.__name__].get(getattr(error, "variant", ""), Code.INTERNAL)
    return Code.INTERNAL
