import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from ra_guard.v1 import plan_pb2 as _plan_pb2
from ra_guard.v1 import rerank_pb2 as _rerank_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Experiment(_message.Message):
    __slots__ = ("key", "plan", "epoch", "history", "replicas")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    key: str
    plan: _plan_pb2.Plan
    epoch: int
    history: _containers.RepeatedCompositeFieldContainer[Change]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    def __init__(self, key: _Optional[str] = ..., plan: _Optional[_Union[_plan_pb2.Plan, _Mapping]] = ..., epoch: _Optional[int] = ..., history: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("revision", "at", "who", "why", "what")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    at: _timestamp_pb2.Timestamp
    who: str
    why: str
    what: str
    def __init__(self, revision: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., what: _Optional[str] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("replica", "revision", "age_s")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    replica: str
    revision: int
    age_s: float
    def __init__(self, replica: _Optional[str] = ..., revision: _Optional[int] = ..., age_s: _Optional[float] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("definition", "who", "why")
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    definition: str
    who: str
    why: str
    def __init__(self, definition: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("experiments",)
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    experiments: _containers.RepeatedCompositeFieldContainer[Experiment]
    def __init__(self, experiments: _Optional[_Iterable[_Union[Experiment, _Mapping]]] = ...) -> None: ...

class RampRequest(_message.Message):
    __slots__ = ("key", "ramp_bp", "who", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RAMP_BP_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: str
    ramp_bp: int
    who: str
    why: str
    def __init__(self, key: _Optional[str] = ..., ramp_bp: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class RampResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("key", "ramp_bp", "who", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RAMP_BP_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: str
    ramp_bp: int
    who: str
    why: str
    def __init__(self, key: _Optional[str] = ..., ramp_bp: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ApproveResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class KillRequest(_message.Message):
    __slots__ = ("key", "who", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: str
    who: str
    why: str
    def __init__(self, key: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class KillResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("key", "who", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: str
    who: str
    why: str
    def __init__(self, key: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ("key", "who", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: str
    who: str
    why: str
    def __init__(self, key: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class RollBackResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class AssignRequest(_message.Message):
    __slots__ = ("key", "unit")
    KEY_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    key: str
    unit: str
    def __init__(self, key: _Optional[str] = ..., unit: _Optional[str] = ...) -> None: ...

class AssignResponse(_message.Message):
    __slots__ = ("bucket", "arm", "served_arm", "reason")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    SERVED_ARM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    bucket: int
    arm: _rerank_pb2.Arm
    served_arm: _rerank_pb2.Arm
    reason: _rerank_pb2.Reason
    def __init__(self, bucket: _Optional[int] = ..., arm: _Optional[_Union[_rerank_pb2.Arm, str]] = ..., served_arm: _Optional[_Union[_rerank_pb2.Arm, str]] = ..., reason: _Optional[_Union[_rerank_pb2.Reason, str]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("replica", "acked_revision")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ACKED_REVISION_FIELD_NUMBER: _ClassVar[int]
    replica: str
    acked_revision: int
    def __init__(self, replica: _Optional[str] = ..., acked_revision: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("plan", "sent_at")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    plan: _plan_pb2.SealedPlan
    sent_at: _timestamp_pb2.Timestamp
    def __init__(self, plan: _Optional[_Union[_plan_pb2.SealedPlan, _Mapping]] = ..., sent_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
