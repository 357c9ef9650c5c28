import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from ra_guard.v1 import plan_pb2 as _plan_pb2
from ra_guard.v1 import rerank_pb2 as _rerank_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FlagState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLAG_STATE_UNSPECIFIED: _ClassVar[FlagState]
    FLAG_STATE_ON: _ClassVar[FlagState]
    FLAG_STATE_OFF: _ClassVar[FlagState]
    FLAG_STATE_UNREADABLE: _ClassVar[FlagState]

class Pace(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PACE_UNSPECIFIED: _ClassVar[Pace]
    PACE_SKIPPING_STAGES: _ClassVar[Pace]
FLAG_STATE_UNSPECIFIED: FlagState
FLAG_STATE_ON: FlagState
FLAG_STATE_OFF: FlagState
FLAG_STATE_UNREADABLE: FlagState
PACE_UNSPECIFIED: Pace
PACE_SKIPPING_STAGES: Pace

class Experiment(_message.Message):
    __slots__ = ("key", "plan", "epoch", "history", "replicas", "definition", "approved_bp", "rolled_back", "flag", "writer", "stage_since", "widest_bp")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    APPROVED_BP_FIELD_NUMBER: _ClassVar[int]
    ROLLED_BACK_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    STAGE_SINCE_FIELD_NUMBER: _ClassVar[int]
    WIDEST_BP_FIELD_NUMBER: _ClassVar[int]
    key: str
    plan: _plan_pb2.Plan
    epoch: int
    history: _containers.RepeatedCompositeFieldContainer[Change]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    definition: str
    approved_bp: _containers.RepeatedScalarFieldContainer[int]
    rolled_back: bool
    flag: Flag
    writer: Writer
    stage_since: _timestamp_pb2.Timestamp
    widest_bp: int
    def __init__(self, key: _Optional[str] = ..., plan: _Optional[_Union[_plan_pb2.Plan, _Mapping]] = ..., epoch: _Optional[int] = ..., history: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., definition: _Optional[str] = ..., approved_bp: _Optional[_Iterable[int]] = ..., rolled_back: _Optional[bool] = ..., flag: _Optional[_Union[Flag, _Mapping]] = ..., writer: _Optional[_Union[Writer, _Mapping]] = ..., stage_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., widest_bp: _Optional[int] = ...) -> None: ...

class Flag(_message.Message):
    __slots__ = ("provider", "state", "error")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    provider: str
    state: FlagState
    error: str
    def __init__(self, provider: _Optional[str] = ..., state: _Optional[_Union[FlagState, str]] = ..., error: _Optional[str] = ...) -> None: ...

class Writer(_message.Message):
    __slots__ = ("holder", "term")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    holder: str
    term: int
    def __init__(self, holder: _Optional[str] = ..., term: _Optional[int] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("revision", "at", "who", "why", "what", "numbers")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    at: _timestamp_pb2.Timestamp
    who: str
    why: str
    what: str
    numbers: _containers.ScalarMap[str, float]
    def __init__(self, revision: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., what: _Optional[str] = ..., numbers: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("replica", "revision", "age_s", "failing")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    FAILING_FIELD_NUMBER: _ClassVar[int]
    replica: str
    revision: int
    age_s: float
    failing: bool
    def __init__(self, replica: _Optional[str] = ..., revision: _Optional[int] = ..., age_s: _Optional[float] = ..., failing: _Optional[bool] = ...) -> None: ...

class Spread(_message.Message):
    __slots__ = ("acked", "expired", "waiting", "seconds")
    ACKED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    acked: _containers.RepeatedScalarFieldContainer[str]
    expired: _containers.RepeatedScalarFieldContainer[str]
    waiting: _containers.RepeatedScalarFieldContainer[str]
    seconds: float
    def __init__(self, acked: _Optional[_Iterable[str]] = ..., expired: _Optional[_Iterable[str]] = ..., waiting: _Optional[_Iterable[str]] = ..., seconds: _Optional[float] = ...) -> None: ...

class PreviewRequest(_message.Message):
    __slots__ = ("definition",)
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    definition: str
    def __init__(self, definition: _Optional[str] = ...) -> None: ...

class PreviewResponse(_message.Message):
    __slots__ = ("key", "revision", "differences")
    KEY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    key: str
    revision: int
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, key: _Optional[str] = ..., revision: _Optional[int] = ..., differences: _Optional[_Iterable[str]] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("definition", "who", "why", "expected_revision")
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    definition: str
    who: str
    why: str
    expected_revision: int
    def __init__(self, definition: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("experiment", "spread")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    spread: Spread
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("key", "ramp_bp", "who", "why", "expected_revision", "pace", "numbers")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    RAMP_BP_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    PACE_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    key: str
    ramp_bp: int
    who: str
    why: str
    expected_revision: int
    pace: Pace
    numbers: _containers.ScalarMap[str, float]
    def __init__(self, key: _Optional[str] = ..., ramp_bp: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., expected_revision: _Optional[int] = ..., pace: _Optional[_Union[Pace, str]] = ..., numbers: _Optional[_Mapping[str, float]] = ...) -> None: ...

class RampResponse(_message.Message):
    __slots__ = ("experiment", "spread")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    spread: Spread
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("key", "ramp_bp", "who", "why", "expected_revision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RAMP_BP_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    key: str
    ramp_bp: int
    who: str
    why: str
    expected_revision: int
    def __init__(self, key: _Optional[str] = ..., ramp_bp: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class ApproveResponse(_message.Message):
    __slots__ = ("experiment", "spread")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    spread: Spread
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("experiment", "spread")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    spread: Spread
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("key", "who", "why", "expected_revision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    key: str
    who: str
    why: str
    expected_revision: int
    def __init__(self, key: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("experiment", "spread")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    spread: Spread
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ("key", "who", "why", "numbers")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    key: str
    who: str
    why: str
    numbers: _containers.ScalarMap[str, float]
    def __init__(self, key: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., numbers: _Optional[_Mapping[str, float]] = ...) -> None: ...

class RollBackResponse(_message.Message):
    __slots__ = ("experiment", "spread")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    spread: Spread
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

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

class GetPlanRequest(_message.Message):
    __slots__ = ("key", "revision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    key: str
    revision: int
    def __init__(self, key: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class GetPlanResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: _plan_pb2.SealedPlan
    def __init__(self, plan: _Optional[_Union[_plan_pb2.SealedPlan, _Mapping]] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ("key", "limit")
    KEY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    key: str
    limit: int
    def __init__(self, key: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GetLedgerResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ...) -> None: ...

class NoteRequest(_message.Message):
    __slots__ = ("key", "what", "who", "why", "numbers")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    key: str
    what: str
    who: str
    why: str
    numbers: _containers.ScalarMap[str, float]
    def __init__(self, key: _Optional[str] = ..., what: _Optional[str] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., numbers: _Optional[_Mapping[str, float]] = ...) -> None: ...

class NoteResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: Change
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class AttestRequest(_message.Message):
    __slots__ = ("key", "evidence_at")
    KEY_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_AT_FIELD_NUMBER: _ClassVar[int]
    key: str
    evidence_at: _timestamp_pb2.Timestamp
    def __init__(self, key: _Optional[str] = ..., evidence_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AttestResponse(_message.Message):
    __slots__ = ("patience_s",)
    PATIENCE_S_FIELD_NUMBER: _ClassVar[int]
    patience_s: float
    def __init__(self, patience_s: _Optional[float] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("replica", "acked_revision", "key", "clock_ns", "leaving", "acked_checksum", "failing", "critical_errors", "started_unix_ns")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ACKED_REVISION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_NS_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    ACKED_CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    FAILING_FIELD_NUMBER: _ClassVar[int]
    CRITICAL_ERRORS_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    replica: str
    acked_revision: int
    key: str
    clock_ns: int
    leaving: bool
    acked_checksum: int
    failing: bool
    critical_errors: int
    started_unix_ns: int
    def __init__(self, replica: _Optional[str] = ..., acked_revision: _Optional[int] = ..., key: _Optional[str] = ..., clock_ns: _Optional[int] = ..., leaving: _Optional[bool] = ..., acked_checksum: _Optional[int] = ..., failing: _Optional[bool] = ..., critical_errors: _Optional[int] = ..., started_unix_ns: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("plan", "sent_at", "revision", "echoed_clock_ns", "halt")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ECHOED_CLOCK_NS_FIELD_NUMBER: _ClassVar[int]
    HALT_FIELD_NUMBER: _ClassVar[int]
    plan: _plan_pb2.SealedPlan
    sent_at: _timestamp_pb2.Timestamp
    revision: int
    echoed_clock_ns: int
    halt: bool
    def __init__(self, plan: _Optional[_Union[_plan_pb2.SealedPlan, _Mapping]] = ..., sent_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., echoed_clock_ns: _Optional[int] = ..., halt: _Optional[bool] = ...) -> None: ...

class PollRequest(_message.Message):
    __slots__ = ("word",)
    WORD_FIELD_NUMBER: _ClassVar[int]
    word: WatchRequest
    def __init__(self, word: _Optional[_Union[WatchRequest, _Mapping]] = ...) -> None: ...

class PollResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: WatchResponse
    def __init__(self, answer: _Optional[_Union[WatchResponse, _Mapping]] = ...) -> None: ...
