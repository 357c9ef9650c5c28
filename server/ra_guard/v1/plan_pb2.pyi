from ra_guard.v1 import rerank_pb2 as _rerank_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Plan(_message.Message):
    __slots__ = ("revision", "experiment_key", "salt", "ramp_bp", "killed", "lease_s", "default_weights", "domain_weights", "spaces")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_KEY_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    RAMP_BP_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    revision: int
    experiment_key: str
    salt: str
    ramp_bp: int
    killed: bool
    lease_s: int
    default_weights: _rerank_pb2.Weights
    domain_weights: _containers.RepeatedCompositeFieldContainer[DomainWeights]
    spaces: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, revision: _Optional[int] = ..., experiment_key: _Optional[str] = ..., salt: _Optional[str] = ..., ramp_bp: _Optional[int] = ..., killed: _Optional[bool] = ..., lease_s: _Optional[int] = ..., default_weights: _Optional[_Union[_rerank_pb2.Weights, _Mapping]] = ..., domain_weights: _Optional[_Iterable[_Union[DomainWeights, _Mapping]]] = ..., spaces: _Optional[_Iterable[str]] = ...) -> None: ...

class DomainWeights(_message.Message):
    __slots__ = ("domain", "weights")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    domain: str
    weights: _rerank_pb2.Weights
    def __init__(self, domain: _Optional[str] = ..., weights: _Optional[_Union[_rerank_pb2.Weights, _Mapping]] = ...) -> None: ...

class SealedPlan(_message.Message):
    __slots__ = ("plan", "checksum")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    plan: bytes
    checksum: int
    def __init__(self, plan: _Optional[bytes] = ..., checksum: _Optional[int] = ...) -> None: ...
