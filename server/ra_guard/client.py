"""Clients of a RA-Guard server: `RerankClient` and `FeedbackClient` for search tiers, `ExperimentClient` for operators.

A client is thread-safe and holds one channel, hence one connection to one worker. When that worker dies, calls in
flight fail with UNAVAILABLE and the channel's retry policy sends them again, to a worker that lives. Every error is
a `CallFailed`, which is a `grpc.RpcError` and a `RaGuardError` at once.
"""

import json
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from itertools import islice
from types import MappingProxyType, TracebackType
from typing import Any, Required, Self, TypedDict, TypeVar, Unpack

import grpc
from google.protobuf.message import Message

from ra_guard.errors import RaGuardError
from ra_guard.v1 import experiment_pb2, feedback_pb2, rerank_pb2

DEFAULT_TIMEOUT_S = 1.0
ADMIN_TIMEOUT_S = 3700.0
"""Longer than the longest lease."""
FEEDBACK_TIMEOUT_S = 30.0
FEEDBACK_BATCH = 1000
"""Events of one batch, as feedback.proto allows."""
EXPERIMENT_ADMIN = "ra_guard.v1.ExperimentAdmin"
ADMIN_ANSWER_BYTES = 64 << 20
"""Of one answer: room for 10,000 ledger lines of 6 KiB. gRPC by itself takes 4 MiB."""

# Five attempts within about 0.4 s: enough for a killed worker's callers to reach another one, too short to hide
# that nobody is there.
_RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.02s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Of the control path only what may be said twice: a repeated resume would be answered with "already live".
_IDEMPOTENT_ADMIN = ("Preview", "Get", "List", "Kill", "RollBack", "Assign", "GetPlan", "GetLedger", "Attest")
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
_Item = TypeVar("_Item")


class CallFailed(RaGuardError, grpc.RpcError):
    """A call that the server refused, or that never reached it."""

    def __init__(self, code: grpc.StatusCode, details: str, address: str) -> None:
        # Our servers word their own refusals like all others; gRPC's are those of a connection.
        if code is grpc.StatusCode.UNAVAILABLE and not details.startswith("found "):
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

    def __init__(
        self, address: str, *, timeout_s: float, token: str = "", options: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._token = token
        self._channel = grpc.insecure_channel(address, options=[*_CHANNEL_OPTIONS, *options])

    def close(self) -> None:
        """Ends the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def health(self, service: str = "") -> str:
        """What grpc.health.v1 says of a service, such as ``SERVING``; "" is the whole server. Raises CallFailed."""
        from grpc_health.v1 import health_pb2

        request, response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        found = self._unary("/grpc.health.v1.Health/Check", request, response)(request(service=service), None)
        return str(response.ServingStatus.Name(found.status))

    def _unary(
        self, method: str, request: type[Message], response: type[_Response]
    ) -> Callable[[Message, float | None], _Response]:
        call = self._channel.unary_unary(
            method, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

        def invoke(message: Message, timeout_s: float | None) -> _Response:
            timeout = self.timeout_s if timeout_s is None else timeout_s
            try:
                return call(message, timeout=timeout, metadata=self._metadata())
            except grpc.RpcError as error:
                raise self._failed(error) from error

        return invoke

    def _metadata(self) -> tuple[tuple[str, str], ...] | None:
        context = _trace_context()
        return (*(context or ()), ("authorization", f"Bearer {self._token}")) if self._token else context

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


class FeedbackClient(Client):
    """Tells what users did with rankings.

    >>> with FeedbackClient("127.0.0.1:50051") as client:  # doctest: +SKIP
    ...     summary = client.record([FeedbackEvent(event_id="1", request_id="r", occurred_at=now, click=click)])
    """

    def __init__(self, address: str, *, timeout_s: float = FEEDBACK_TIMEOUT_S) -> None:
        super().__init__(address, timeout_s=timeout_s)
        self._record = self._channel.stream_unary(
            "/ra_guard.v1.Feedback/Record",
            request_serializer=feedback_pb2.FeedbackBatch.SerializeToString,
            response_deserializer=feedback_pb2.FeedbackSummary.FromString,
        )

    def record(self, events: Iterable[feedback_pb2.FeedbackEvent]) -> feedback_pb2.FeedbackSummary:
        """Sends events in batches; what counts as accepted is on disk. Safe to repeat. Raises CallFailed."""
        batches = (feedback_pb2.FeedbackBatch(events=some) for some in _batched(events, FEEDBACK_BATCH))
        try:
            summary: feedback_pb2.FeedbackSummary = self._record(
                batches, timeout=self.timeout_s, metadata=self._metadata()
            )
        except grpc.RpcError as error:
            raise self._failed(error) from error
        return summary


class ExperimentClient:
    """The control plane over the wire: one method for each unary RPC, named after it. All raise CallFailed.

    ``addresses`` are instances of one control plane, separated by commas: calls go to the one that holds the writer
    lease. ``token`` is sent as bearer token. A change is answered when every replica has heard, which may take as long
    as a lease: hence the long ``timeout_s``.
    """

    def __init__(self, addresses: str, *, token: str = "", timeout_s: float = ADMIN_TIMEOUT_S) -> None:
        self._clients = [_AdminClient(address, token, timeout_s) for address in split_addresses(addresses)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every channel."""
        for client in self._clients:
            client.close()

    def preview(self, request: experiment_pb2.PreviewRequest) -> experiment_pb2.PreviewResponse:
        """What applying a definition would change."""
        return self._ask("Preview", request, experiment_pb2.PreviewResponse)

    def apply(self, request: experiment_pb2.ApplyRequest) -> experiment_pb2.ApplyResponse:
        """Stores a definition."""
        return self._ask("Apply", request, experiment_pb2.ApplyResponse)

    def get(self, request: experiment_pb2.GetRequest) -> experiment_pb2.GetResponse:
        """One experiment with its plan, latest changes and replicas."""
        return self._ask("Get", request, experiment_pb2.GetResponse)

    def list(self, request: experiment_pb2.ListRequest) -> experiment_pb2.ListResponse:
        """Every stored experiment."""
        return self._ask("List", request, experiment_pb2.ListResponse)

    def ramp(self, request: experiment_pb2.RampRequest) -> experiment_pb2.RampResponse:
        """Sets the share of users in each arm."""
        return self._ask("Ramp", request, experiment_pb2.RampResponse)

    def approve(self, request: experiment_pb2.ApproveRequest) -> experiment_pb2.ApproveResponse:
        """Allows the ramp to reach a stage."""
        return self._ask("Approve", request, experiment_pb2.ApproveResponse)

    def kill(self, request: experiment_pb2.KillRequest) -> experiment_pb2.KillResponse:
        """Serves the baseline to everyone; answered once no replica serves an older plan."""
        return self._ask("Kill", request, experiment_pb2.KillResponse)

    def resume(self, request: experiment_pb2.ResumeRequest) -> experiment_pb2.ResumeResponse:
        """Ends a kill, in a new epoch."""
        return self._ask("Resume", request, experiment_pb2.ResumeResponse)

    def roll_back(self, request: experiment_pb2.RollBackRequest) -> experiment_pb2.RollBackResponse:
        """A kill that also closes the epoch."""
        return self._ask("RollBack", request, experiment_pb2.RollBackResponse)

    def assign(self, request: experiment_pb2.AssignRequest) -> experiment_pb2.AssignResponse:
        """Explains where one user stands."""
        return self._ask("Assign", request, experiment_pb2.AssignResponse)

    def get_plan(self, request: experiment_pb2.GetPlanRequest) -> experiment_pb2.GetPlanResponse:
        """A plan by its revision."""
        return self._ask("GetPlan", request, experiment_pb2.GetPlanResponse)

    def get_ledger(self, request: experiment_pb2.GetLedgerRequest) -> experiment_pb2.GetLedgerResponse:
        """The latest lines of the ledger."""
        return self._ask("GetLedger", request, experiment_pb2.GetLedgerResponse)

    def note(
        self, key: str, *, what: str, who: str, why: str, numbers: Mapping[str, float] = MappingProxyType({})
    ) -> experiment_pb2.NoteResponse:
        """Adds a ledger line that changes nothing."""
        request = experiment_pb2.NoteRequest(key=key, what=what, who=who, why=why, numbers=numbers)
        return self._ask("Note", request, experiment_pb2.NoteResponse)

    def attest(self, key: str, evidence_at: datetime) -> experiment_pb2.AttestResponse:
        """Says up to when there is evidence."""
        request = experiment_pb2.AttestRequest(key=key)
        request.evidence_at.FromDatetime(evidence_at)
        return self._ask("Attest", request, experiment_pb2.AttestResponse)

    def _ask(self, method: str, request: Message, response: type[_Response]) -> _Response:
        """The first answer of an instance that is not merely waiting for the writer lease: asked first from then on.

        One that does not answer in time is passed over where a call may be said twice.
        """
        passed_over = {grpc.StatusCode.UNAVAILABLE}
        if method in _IDEMPOTENT_ADMIN:
            passed_over.add(grpc.StatusCode.DEADLINE_EXCEEDED)
        *others, last = clients = self._clients
        for client in others:
            try:
                answer = client.ask(method, request, response)
                break
            except CallFailed as error:
                if error.code() not in passed_over:
                    raise
        else:
            client, answer = last, last.ask(method, request, response)
        self._clients = [client, *(other for other in clients if other is not client)]
        return answer


class _AdminClient(Client):
    """One instance of the control plane."""

    def __init__(self, address: str, token: str, timeout_s: float) -> None:
        options = (("grpc.max_receive_message_length", ADMIN_ANSWER_BYTES),)
        super().__init__(address, timeout_s=timeout_s, token=token, options=options)

    def ask(self, method: str, request: Message, response: type[_Response]) -> _Response:
        """One unary call."""
        return self._unary(f"/{EXPERIMENT_ADMIN}/{method}", type(request), response)(request, None)


class ControlSource(Client):
    """One instance of the control plane as a replica's feed speaks to it; see `ra_guard.experiments.feed`."""

    def __init__(self, address: str, *, token: str, timeout_s: float) -> None:
        super().__init__(address, timeout_s=timeout_s, token=token)
        wire = experiment_pb2
        self._poll = self._unary(f"/{EXPERIMENT_ADMIN}/Poll", wire.PollRequest, wire.PollResponse)
        self._watch = self._channel.stream_stream(
            f"/{EXPERIMENT_ADMIN}/Watch",
            request_serializer=wire.WatchRequest.SerializeToString,
            response_deserializer=wire.WatchResponse.FromString,
        )

    def poll(self, word: experiment_pb2.WatchRequest, timeout_s: float) -> experiment_pb2.WatchResponse:
        """One exchange. Raises CallFailed."""
        return self._poll(experiment_pb2.PollRequest(word=word), timeout_s).answer

    def watch(self, words: Iterator[experiment_pb2.WatchRequest]) -> "WatchCall":
        """Opens a stream."""
        return WatchCall(self._watch(words, metadata=self._metadata()), self._failed)


class WatchCall:
    """An open Watch stream."""

    def __init__(self, call: Any, failed: Callable[[grpc.RpcError], CallFailed]) -> None:
        self._call = call
        self._failed = failed

    def answers(self) -> Iterator[experiment_pb2.WatchResponse]:
        """Until the stream ends. Raises CallFailed."""
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise self._failed(error) from error

    def cancel(self) -> None:
        """Ends it."""
        self._call.cancel()


def split_addresses(addresses: str) -> list[str]:
    """``a:1, b:2`` as a list."""
    return [address.strip() for address in addresses.split(",") if address.strip()]


def _batched(events: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    rest = iter(events)
    while batch := list(islice(rest, size)):
        yield batch


def _trace_context() -> tuple[tuple[str, str], ...] | None:
    """W3C trace context of the current span. A caller that never loaded OpenTelemetry pays one look-up."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items()) or None
