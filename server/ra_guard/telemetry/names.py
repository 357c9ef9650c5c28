"""Names of the wire's enums for logs, metrics and spans, taken from the protobuf descriptors and nowhere else."""

from typing import Final

from google.protobuf.descriptor import EnumDescriptor

from ra_guard.v1 import rerank_pb2


def _names(enum: EnumDescriptor) -> tuple[str, ...]:
    """Lower case, without the enum's own name: REASON_LEASE_EXPIRED is "lease_expired". Position is the number."""
    prefix = "".join(f"_{letter}" if letter.isupper() else letter for letter in enum.name).strip("_").upper() + "_"
    numbers = [value.number for value in enum.values]
    if numbers != list(range(len(numbers))):
        raise ValueError(f"{enum.full_name}: found numbers {numbers}, wanted 0, 1, 2, ... without gaps")
    return tuple(value.name.removeprefix(prefix).lower() for value in enum.values)


STATUSES: Final = _names(rerank_pb2.Status.DESCRIPTOR)
REASONS: Final = _names(rerank_pb2.Reason.DESCRIPTOR)
ARMS: Final = _names(rerank_pb2.Arm.DESCRIPTOR)
STAGES: Final = tuple(field.name.removesuffix("_ns") for field in rerank_pb2.StageTimes.DESCRIPTOR.fields)
"""In the order of the call, "wait" last as on the wire."""
