from ra_guard.v1 import rerank_pb2 as _rerank_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_AB: _ClassVar[Mode]
    MODE_SHADOW: _ClassVar[Mode]
    MODE_INTERLEAVING: _ClassVar[Mode]
    MODE_ROLLOUT: _ClassVar[Mode]
MODE_UNSPECIFIED: Mode
MODE_AB: Mode
MODE_SHADOW: Mode
MODE_INTERLEAVING: Mode
MODE_ROLLOUT: Mode

class Plan(_message.Message):
    __slots__ = ("revision", "experiment_key", "salt", "ramp_bp", "killed", "lease_s", "default_weights", "domain_weights", "spaces", "mode", "epoch", "feedback_window_s", "retention_days")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_KEY_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    RAMP_BP_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    RETENTION_DAYS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    experiment_key: str
    salt: str
    ramp_bp: int
    killed: bool
    lease_s: int
    default_weights: _rerank_pb2.Weights
    domain_weights: _containers.RepeatedCompositeFieldContainer[DomainWeights]
    spaces: _containers.RepeatedScalarFieldContainer[str]
    mode: Mode
    epoch: int
    feedback_window_s: int
    retention_days: int
    def __init__(self, revision: _Optional[int] = ..., experiment_key: _Optional[str] = ..., salt: _Optional[str] = ..., ramp_bp: _Optional[int] = ..., killed: _Optional[bool] = ..., lease_s: _Optional[int] = ..., default_weights: _Optional[_Union[_rerank_pb2.Weights, _Mapping]] = ..., domain_weights: _Optional[_Iterable[_Union[DomainWeights, _Mapping]]] = ..., spaces: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[Mode, str]] = ..., epoch: _Optional[int] = ..., feedback_window_s: _Optional[int] = ..., retention_days: _Optional[int] = ...) -> None: ...

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
