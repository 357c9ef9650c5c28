from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    STATUS_RERANKED: _ClassVar[Status]
    STATUS_PARTIAL: _ClassVar[Status]
    STATUS_BASELINE: _ClassVar[Status]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_CONTROL: _ClassVar[Reason]
    REASON_NOT_ENROLLED: _ClassVar[Reason]
    REASON_KILLED: _ClassVar[Reason]
    REASON_LEASE_EXPIRED: _ClassVar[Reason]
    REASON_DEADLINE: _ClassVar[Reason]
    REASON_OVERLOAD: _ClassVar[Reason]
    REASON_NO_FEATURES: _ClassVar[Reason]
    REASON_MODEL_MISMATCH: _ClassVar[Reason]
    REASON_INTERNAL: _ClassVar[Reason]
    REASON_SHADOW: _ClassVar[Reason]

class Arm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ARM_UNSPECIFIED: _ClassVar[Arm]
    ARM_CONTROL: _ClassVar[Arm]
    ARM_TREATMENT: _ClassVar[Arm]
    ARM_NOT_ENROLLED: _ClassVar[Arm]
    ARM_INTERLEAVED: _ClassVar[Arm]

class ExpectationSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPECTATION_SOURCE_UNSPECIFIED: _ClassVar[ExpectationSource]
    EXPECTATION_SOURCE_REQUEST: _ClassVar[ExpectationSource]
    EXPECTATION_SOURCE_QUERY_WORDS: _ClassVar[ExpectationSource]
    EXPECTATION_SOURCE_SIMILARITY: _ClassVar[ExpectationSource]
STATUS_UNSPECIFIED: Status
STATUS_RERANKED: Status
STATUS_PARTIAL: Status
STATUS_BASELINE: Status
REASON_UNSPECIFIED: Reason
REASON_CONTROL: Reason
REASON_NOT_ENROLLED: Reason
REASON_KILLED: Reason
REASON_LEASE_EXPIRED: Reason
REASON_DEADLINE: Reason
REASON_OVERLOAD: Reason
REASON_NO_FEATURES: Reason
REASON_MODEL_MISMATCH: Reason
REASON_INTERNAL: Reason
REASON_SHADOW: Reason
ARM_UNSPECIFIED: Arm
ARM_CONTROL: Arm
ARM_TREATMENT: Arm
ARM_NOT_ENROLLED: Arm
ARM_INTERLEAVED: Arm
EXPECTATION_SOURCE_UNSPECIFIED: ExpectationSource
EXPECTATION_SOURCE_REQUEST: ExpectationSource
EXPECTATION_SOURCE_QUERY_WORDS: ExpectationSource
EXPECTATION_SOURCE_SIMILARITY: ExpectationSource

class RerankRequest(_message.Message):
    __slots__ = ("request_id", "user_id", "text", "embedding", "domain", "candidate_ids", "baseline_scores", "top_k", "required_labels", "forbidden_labels", "allowed_licences", "explain", "pool_size")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_IDS_FIELD_NUMBER: _ClassVar[int]
    BASELINE_SCORES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_LABELS_FIELD_NUMBER: _ClassVar[int]
    FORBIDDEN_LABELS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_LICENCES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    POOL_SIZE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    user_id: str
    text: str
    embedding: QueryEmbedding
    domain: str
    candidate_ids: _containers.RepeatedScalarFieldContainer[str]
    baseline_scores: _containers.RepeatedScalarFieldContainer[float]
    top_k: int
    required_labels: _containers.RepeatedScalarFieldContainer[str]
    forbidden_labels: _containers.RepeatedScalarFieldContainer[str]
    allowed_licences: _containers.RepeatedScalarFieldContainer[str]
    explain: bool
    pool_size: int
    def __init__(self, request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., text: _Optional[str] = ..., embedding: _Optional[_Union[QueryEmbedding, _Mapping]] = ..., domain: _Optional[str] = ..., candidate_ids: _Optional[_Iterable[str]] = ..., baseline_scores: _Optional[_Iterable[float]] = ..., top_k: _Optional[int] = ..., required_labels: _Optional[_Iterable[str]] = ..., forbidden_labels: _Optional[_Iterable[str]] = ..., allowed_licences: _Optional[_Iterable[str]] = ..., explain: _Optional[bool] = ..., pool_size: _Optional[int] = ...) -> None: ...

class QueryEmbedding(_message.Message):
    __slots__ = ("values", "space")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    values: bytes
    space: str
    def __init__(self, values: _Optional[bytes] = ..., space: _Optional[str] = ...) -> None: ...

class RerankResponse(_message.Message):
    __slots__ = ("request_id", "assigned_arm", "served_arm", "status", "reason", "experiment_key", "plan_revision", "generation", "space", "ranking", "ranked_ids", "scores", "counts", "candidate_states", "stages", "explanation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_ARM_FIELD_NUMBER: _ClassVar[int]
    SERVED_ARM_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_KEY_FIELD_NUMBER: _ClassVar[int]
    PLAN_REVISION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    RANKING_FIELD_NUMBER: _ClassVar[int]
    RANKED_IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_STATES_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    assigned_arm: Arm
    served_arm: Arm
    status: Status
    reason: Reason
    experiment_key: str
    plan_revision: int
    generation: int
    space: str
    ranking: _containers.RepeatedScalarFieldContainer[int]
    ranked_ids: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[float]
    counts: Counts
    candidate_states: bytes
    stages: StageTimes
    explanation: Explanation
    def __init__(self, request_id: _Optional[str] = ..., assigned_arm: _Optional[_Union[Arm, str]] = ..., served_arm: _Optional[_Union[Arm, str]] = ..., status: _Optional[_Union[Status, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., experiment_key: _Optional[str] = ..., plan_revision: _Optional[int] = ..., generation: _Optional[int] = ..., space: _Optional[str] = ..., ranking: _Optional[_Iterable[int]] = ..., ranked_ids: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[float]] = ..., counts: _Optional[_Union[Counts, _Mapping]] = ..., candidate_states: _Optional[bytes] = ..., stages: _Optional[_Union[StageTimes, _Mapping]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ...) -> None: ...

class Counts(_message.Message):
    __slots__ = ("candidates", "scored", "cold", "unknown", "unlicensed")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    COLD_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    UNLICENSED_FIELD_NUMBER: _ClassVar[int]
    candidates: int
    scored: int
    cold: int
    unknown: int
    unlicensed: int
    def __init__(self, candidates: _Optional[int] = ..., scored: _Optional[int] = ..., cold: _Optional[int] = ..., unknown: _Optional[int] = ..., unlicensed: _Optional[int] = ...) -> None: ...

class StageTimes(_message.Message):
    __slots__ = ("decode_ns", "assign_ns", "lookup_ns", "score_ns", "order_ns", "encode_ns", "wait_ns")
    DECODE_NS_FIELD_NUMBER: _ClassVar[int]
    ASSIGN_NS_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_NS_FIELD_NUMBER: _ClassVar[int]
    SCORE_NS_FIELD_NUMBER: _ClassVar[int]
    ORDER_NS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_NS_FIELD_NUMBER: _ClassVar[int]
    WAIT_NS_FIELD_NUMBER: _ClassVar[int]
    decode_ns: int
    assign_ns: int
    lookup_ns: int
    score_ns: int
    order_ns: int
    encode_ns: int
    wait_ns: int
    def __init__(self, decode_ns: _Optional[int] = ..., assign_ns: _Optional[int] = ..., lookup_ns: _Optional[int] = ..., score_ns: _Optional[int] = ..., order_ns: _Optional[int] = ..., encode_ns: _Optional[int] = ..., wait_ns: _Optional[int] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("cosine", "cosine_scaled", "consistency", "contradiction", "prior", "weights", "expectation", "detections", "expectation_source")
    COSINE_FIELD_NUMBER: _ClassVar[int]
    COSINE_SCALED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    CONTRADICTION_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    EXPECTATION_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    EXPECTATION_SOURCE_FIELD_NUMBER: _ClassVar[int]
    cosine: _containers.RepeatedScalarFieldContainer[float]
    cosine_scaled: _containers.RepeatedScalarFieldContainer[float]
    consistency: _containers.RepeatedScalarFieldContainer[float]
    contradiction: _containers.RepeatedScalarFieldContainer[float]
    prior: _containers.RepeatedScalarFieldContainer[float]
    weights: Weights
    expectation: _containers.RepeatedCompositeFieldContainer[ExpectedLabel]
    detections: _containers.RepeatedCompositeFieldContainer[CandidateDetections]
    expectation_source: ExpectationSource
    def __init__(self, cosine: _Optional[_Iterable[float]] = ..., cosine_scaled: _Optional[_Iterable[float]] = ..., consistency: _Optional[_Iterable[float]] = ..., contradiction: _Optional[_Iterable[float]] = ..., prior: _Optional[_Iterable[float]] = ..., weights: _Optional[_Union[Weights, _Mapping]] = ..., expectation: _Optional[_Iterable[_Union[ExpectedLabel, _Mapping]]] = ..., detections: _Optional[_Iterable[_Union[CandidateDetections, _Mapping]]] = ..., expectation_source: _Optional[_Union[ExpectationSource, str]] = ...) -> None: ...

class Weights(_message.Message):
    __slots__ = ("cosine", "consistency", "contradiction", "prior")
    COSINE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    CONTRADICTION_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    cosine: float
    consistency: float
    contradiction: float
    prior: float
    def __init__(self, cosine: _Optional[float] = ..., consistency: _Optional[float] = ..., contradiction: _Optional[float] = ..., prior: _Optional[float] = ...) -> None: ...

class ExpectedLabel(_message.Message):
    __slots__ = ("label", "weight")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    label: str
    weight: float
    def __init__(self, label: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class CandidateDetections(_message.Message):
    __slots__ = ("detections",)
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    detections: _containers.RepeatedCompositeFieldContainer[Detection]
    def __init__(self, detections: _Optional[_Iterable[_Union[Detection, _Mapping]]] = ...) -> None: ...

class Detection(_message.Message):
    __slots__ = ("label", "confidence", "x0", "y0", "x1", "y1")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    label: str
    confidence: float
    x0: float
    y0: float
    x1: float
    y1: float
    def __init__(self, label: _Optional[str] = ..., confidence: _Optional[float] = ..., x0: _Optional[float] = ..., y0: _Optional[float] = ..., x1: _Optional[float] = ..., y1: _Optional[float] = ...) -> None: ...
