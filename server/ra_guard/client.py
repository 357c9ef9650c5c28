"""Clients of a RA-Guard server: `RerankClient` for search tiers, `ExperimentClient` for operators.

A client is thread-safe and holds one channel, hence one connection to one worker. When that worker dies, calls in
flight fail with UNAVAILABLE and the channel's retry policy sends them again, to a worker that lives. Every error is
a `CallFailed`, which is a `grpc.RpcError` and a `RaGuardError` at once.
"""

import json
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Required, Self, TypedDict, TypeVar, Unpack

import grpc
from google.protobuf.message import Message

from ra_guard.errors import RaGuardError
from ra_guard.v1 import experiment_pb2, rerank_pb2

DEFAULT_TIMEOUT_S = 1.0
ADMIN_TIMEOUT_S = 10.0

# Five attempts within about 0.4 s: enough for a killed worker's callers to reach another one, too short to hide
# that nobody is there.
_RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.02s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Resume is left out: its repetition would be answered with "already live".
_IDEMPOTENT_ADMIN = ("Get", "List", "Ramp", "Kill", "Assign")
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": "ra_guard.v1.Reranker"},
                *({"service": "ra_guard.v1.ExperimentAdmin", "method": method} for method in _IDEMPOTENT_ADMIN),
            ],
            "retryPolicy": _RETRY,
        }
    ]
}
_CHANNEL_OPTIONS = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # Clients of one process otherwise share one connection, and with it one worker.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
)

_Response = TypeVar("_Response", bound=Message)


class CallFailed(RaGuardError, grpc.RpcError):
    """A call that the server refused, or that never reached it."""

    def __init__(self, code: grpc.StatusCode, details: str, address: str) -> None:
        if code is grpc.StatusCode.UNAVAILABLE:
            message = (
                f"found nobody at {address} ({details}), wanted a running server; start one or name the address it has"
            )
        else:
            message = f"{details or 'found no details'} ({code.name} from {address})"
        super().__init__(message)
        self._code = code
        self._details = details

    @property
    def status(self) -> str:
        """The gRPC status by name: ``INVALID_ARGUMENT``, ``UNAVAILABLE`` and so on."""
        return self._code.name

    def code(self) -> grpc.StatusCode:
        """The gRPC status."""
        return self._code

    def details(self) -> str:
        """What the server, or the channel, said."""
        return self._details


class Detail(Enum):
    """How much an answer says: `EXPLAINED` adds feature columns, the expectation and the detections."""

    RANKING = "ranking"
    EXPLAINED = "explained"


class RerankFields(TypedDict, total=False):
    """The fields of a request; bounds are those of ra_guard/v1/rerank.proto."""

    query: Required[str | rerank_pb2.QueryEmbedding]
    user_id: Required[str]
    request_id: str
    """The key under which feedback is joined; a random one when left out."""
    domain: str
    candidate_ids: Sequence[str]
    """In baseline order, best first; leave out and set ``pool_size`` to let the server draw them."""
    baseline_scores: Sequence[float]
    top_k: int
    required_labels: Sequence[str]
    forbidden_labels: Sequence[str]
    allowed_licences: Sequence[str]
    pool_size: int
    detail: Detail


def rerank_request(**fields: Unpack[RerankFields]) -> rerank_pb2.RerankRequest:
    """A request in wire form, for `RerankClient.send` and `RerankClient.stream`."""
    query = fields["query"]
    return rerank_pb2.RerankRequest(
        request_id=fields.get("request_id") or uuid.uuid4().hex,
        user_id=fields["user_id"],
        text=query if isinstance(query, str) else None,
        embedding=None if isinstance(query, str) else query,
        domain=fields.get("domain"),
        candidate_ids=fields.get("candidate_ids"),
        baseline_scores=fields.get("baseline_scores"),
        top_k=fields.get("top_k"),
        required_labels=fields.get("required_labels"),
        forbidden_labels=fields.get("forbidden_labels"),
        allowed_licences=fields.get("allowed_licences"),
        explain=fields.get("detail") is Detail.EXPLAINED,
        pool_size=fields.get("pool_size"),
    )


class Client:
    """A channel to one address, its deadlines and its errors. Usable as a context manager."""

    def __init__(self, address: str, *, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)

    def close(self) -> None:
        """Ends the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _unary(
        self, method: str, request: type[Message], response: type[_Response]
    ) -> Callable[[Message, float | None], _Response]:
        call = self._channel.unary_unary(
            method, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

        def invoke(message: Message, timeout_s: float | None) -> _Response:
            timeout = self.timeout_s if timeout_s is None else timeout_s
            try:
                return call(message, timeout=timeout, metadata=_trace_context())
            except grpc.RpcError as error:
                raise self._failed(error) from error

        return invoke

    def _failed(self, error: grpc.RpcError) -> CallFailed:
        # Every error that grpc raises from a call is also a grpc.Call, which its annotations do not say.
        call: Any = error
        return CallFailed(call.code(), call.details() or "", self.address)


class RerankClient(Client):
    """Orders candidates.

    >>> with RerankClient("127.0.0.1:50051") as client:  # doctest: +SKIP
    ...     response = client.rerank(query="two dogs on a beach", user_id="u1", candidate_ids=ids)
    ...     best_first = [ids[position] for position in response.ranking]
    """

    def __init__(self, address: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(address, timeout_s=timeout_s)
        request, response = rerank_pb2.RerankRequest, rerank_pb2.RerankResponse
        self._rerank = self._unary("/ra_guard.v1.Reranker/Rerank", request, response)
        self._rerank_stream = self._channel.stream_stream(
            "/ra_guard.v1.Reranker/RerankStream",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def rerank(self, *, timeout_s: float | None = None, **fields: Unpack[RerankFields]) -> rerank_pb2.RerankResponse:
        """One call. The server reads ``timeout_s`` as its deadline too. Raises CallFailed."""
        return self.send(rerank_request(**fields), timeout_s=timeout_s)

    def send(self, request: rerank_pb2.RerankRequest, *, timeout_s: float | None = None) -> rerank_pb2.RerankResponse:
        """Sends a request that is already built. Raises CallFailed."""
        return self._rerank(request, timeout_s)

    def stream(
        self, requests: Iterable[rerank_pb2.RerankRequest], *, timeout_s: float | None = None
    ) -> Iterator[rerank_pb2.RerankResponse]:
        """Answers in the order of the requests, over one stream: about half the latency of single calls.

        ``timeout_s`` bounds the whole stream; None leaves it open. Raises CallFailed: a caller's mistake ends the
        stream, and so does the death of its worker once an answer has come, since answers cannot be taken back.
        """
        try:
            yield from self._rerank_stream(iter(requests), timeout=timeout_s, metadata=_trace_context())
        except grpc.RpcError as error:
            raise self._failed(error) from error


class ExperimentClient(Client):
    """The control path over the wire: one method for each RPC that the server has. All raise CallFailed."""

    def __init__(self, address: str, *, timeout_s: float = ADMIN_TIMEOUT_S) -> None:
        super().__init__(address, timeout_s=timeout_s)
        wire = experiment_pb2
        service = "/ra_guard.v1.ExperimentAdmin"
        self._get = self._unary(f"{service}/Get", wire.GetRequest, wire.GetResponse)
        self._list = self._unary(f"{service}/List", wire.ListRequest, wire.ListResponse)
        self._ramp = self._unary(f"{service}/Ramp", wire.RampRequest, wire.RampResponse)
        self._kill = self._unary(f"{service}/Kill", wire.KillRequest, wire.KillResponse)
        self._resume = self._unary(f"{service}/Resume", wire.ResumeRequest, wire.ResumeResponse)
        self._assign = self._unary(f"{service}/Assign", wire.AssignRequest, wire.AssignResponse)

    def get(self, request: experiment_pb2.GetRequest) -> experiment_pb2.GetResponse:
        """One experiment with its plan, latest changes and replicas."""
        return self._get(request, None)

    def list(self, request: experiment_pb2.ListRequest) -> experiment_pb2.ListResponse:
        """Every stored experiment."""
        return self._list(request, None)

    def ramp(self, request: experiment_pb2.RampRequest) -> experiment_pb2.RampResponse:
        """Sets the share of users in each arm."""
        return self._ramp(request, None)

    def kill(self, request: experiment_pb2.KillRequest) -> experiment_pb2.KillResponse:
        """Serves the baseline to everyone; answered once the worker that took the call has swapped."""
        return self._kill(request, None)

    def resume(self, request: experiment_pb2.ResumeRequest) -> experiment_pb2.ResumeResponse:
        """Ends a kill, in a new epoch."""
        return self._resume(request, None)

    def assign(self, request: experiment_pb2.AssignRequest) -> experiment_pb2.AssignResponse:
        """Explains where one user stands."""
        return self._assign(request, None)


def _trace_context() -> tuple[tuple[str, str], ...] | None:
    """W3C trace context of the current span. A caller that never loaded OpenTelemetry pays one look-up."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items()) or None
