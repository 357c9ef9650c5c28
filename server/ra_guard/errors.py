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
