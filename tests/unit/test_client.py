"""RerankClient against a scripted Reranker: requests as sent, retries, deadlines, errors, trace context."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from ra_guard.client import CallFailed, Detail, ExperimentClient, RerankClient, rerank_request, split_addresses
from ra_guard.errors import RaGuardError
from ra_guard.v1.experiment_pb2 import GetRequest, GetResponse, ResumeRequest
from ra_guard.v1.rerank_pb2 import QueryEmbedding, RerankRequest, RerankResponse

Answer = Callable[[RerankRequest, grpc.ServicerContext], RerankResponse]


def echo(request: RerankRequest, _context: grpc.ServicerContext) -> RerankResponse:
    return RerankResponse(request_id=request.request_id, ranking=range(len(request.candidate_ids)))


class Reranker:
    """Answers as its script says and remembers what came."""

    def __init__(self) -> None:
        self.answer: Answer = echo
        self.requests: list[RerankRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.remaining_s: list[float] = []

    def rerank(self, request: RerankRequest, context: grpc.ServicerContext) -> RerankResponse:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining_s.append(context.time_remaining())
        return self.answer(request, context)

    def stream(self, requests: Iterator[RerankRequest], context: grpc.ServicerContext) -> Iterator[RerankResponse]:
        for request in requests:
            yield self.rerank(request, context)


@pytest.fixture
def reranker() -> Reranker:
    return Reranker()


@pytest.fixture
def address(reranker: Reranker) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    coding: dict[str, Any] = {
        "request_deserializer": RerankRequest.FromString,
        "response_serializer": RerankResponse.SerializeToString,
    }
    handlers = {
        "Rerank": grpc.unary_unary_rpc_method_handler(reranker.rerank, **coding),
        "RerankStream": grpc.stream_stream_rpc_method_handler(reranker.stream, **coding),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ra_guard.v1.Reranker", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def client(address: str) -> Iterator[RerankClient]:
    with RerankClient(address, timeout_s=30) as client:
        yield client


def failing(times: int, status: grpc.StatusCode) -> Answer:
    left = iter(range(times))

    def answer(request: RerankRequest, context: grpc.ServicerContext) -> RerankResponse:
        if next(left, None) is not None:
            context.abort(status, "found this, wanted that, do so")
        return echo(request, context)

    return answer


def test_every_field_arrives(client: RerankClient, reranker: Reranker) -> None:
    response = client.rerank(
        query="two dogs",
        user_id="u",
        request_id="r",
        domain="d",
        candidate_ids=["a", "b"],
        baseline_scores=[2.0, 1.0],
        top_k=1,
        required_labels=["dog"],
        forbidden_labels=["cat"],
        allowed_licences=["cc0"],
        detail=Detail.EXPLAINED,
    )
    assert list(response.ranking) == [0, 1]
    assert reranker.requests == [
        RerankRequest(
            request_id="r",
            user_id="u",
            text="two dogs",
            domain="d",
            candidate_ids=["a", "b"],
            baseline_scores=[2.0, 1.0],
            top_k=1,
            required_labels=["dog"],
            forbidden_labels=["cat"],
            allowed_licences=["cc0"],
            explain=True,
        )
    ]


def test_a_query_may_be_an_embedding(client: RerankClient, reranker: Reranker) -> None:
    embedding = QueryEmbedding(values=b"\0\0\x80?", space="0" * 32)
    client.rerank(query=embedding, user_id="u", pool_size=7)
    (request,) = reranker.requests
    assert request.WhichOneof("query") == "embedding"
    assert request.embedding == embedding
    assert request.pool_size == 7


def test_request_ids_are_unique_when_left_out() -> None:
    ids = {rerank_request(query="q", user_id="u").request_id for _ in range(100)}
    assert len(ids) == 100
    assert all(1 <= len(name.encode()) <= 64 for name in ids)


def test_a_killed_workers_call_is_answered_by_another(client: RerankClient, reranker: Reranker) -> None:
    reranker.answer = failing(4, grpc.StatusCode.UNAVAILABLE)
    assert client.rerank(query="q", user_id="u", request_id="r").request_id == "r"
    assert [request.request_id for request in reranker.requests] == ["r"] * 5


def test_nobody_there_is_unavailable_in_the_end(client: RerankClient, reranker: Reranker) -> None:
    reranker.answer = failing(100, grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(CallFailed) as failure:
        client.rerank(query="q", user_id="u")
    assert failure.value.status == "UNAVAILABLE"
    assert len(reranker.requests) == 5


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED"])
def test_other_failures_are_not_repeated(client: RerankClient, reranker: Reranker, status: str) -> None:
    reranker.answer = failing(100, grpc.StatusCode[status])
    with pytest.raises(CallFailed) as failure:
        client.rerank(query="q", user_id="u")
    assert failure.value.code() is grpc.StatusCode[status]
    assert failure.value.details() == "found this, wanted that, do so"
    assert isinstance(failure.value, RaGuardError)
    assert isinstance(failure.value, grpc.RpcError)
    assert len(reranker.requests) == 1


def test_the_deadline_reaches_the_server(address: str, reranker: Reranker) -> None:
    with RerankClient(address, timeout_s=30) as client:
        client.rerank(query="q", user_id="u")
        client.rerank(query="q", user_id="u", timeout_s=300)
    assert 0 < reranker.remaining_s[0] < 60 < reranker.remaining_s[1] < 600


def test_deadline_exceeded(client: RerankClient, reranker: Reranker) -> None:
    release = threading.Event()

    def answer(request: RerankRequest, context: grpc.ServicerContext) -> RerankResponse:
        release.wait(30)
        return echo(request, context)

    reranker.answer = answer
    with pytest.raises(CallFailed) as failure:
        client.rerank(query="q", user_id="u", timeout_s=0.05)
    release.set()
    assert failure.value.status == "DEADLINE_EXCEEDED"


def test_stream_answers_in_order(client: RerankClient) -> None:
    requests = [rerank_request(query="q", user_id="u", request_id=str(n)) for n in range(20)]
    assert [response.request_id for response in client.stream(requests)] == [str(n) for n in range(20)]


def test_a_mistake_ends_the_stream(client: RerankClient, reranker: Reranker) -> None:
    answers = client.stream([rerank_request(query="q", user_id="u", request_id=str(n)) for n in range(3)])
    reranker.answer = failing(1, grpc.StatusCode.INVALID_ARGUMENT)
    with pytest.raises(CallFailed) as failure:
        list(answers)
    assert failure.value.status == "INVALID_ARGUMENT"


def test_the_callers_trace_continues(client: RerankClient, reranker: Reranker) -> None:
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    with trace.use_span(span):
        client.rerank(query="q", user_id="u")
    client.rerank(query="q", user_id="u")
    inside, outside = reranker.metadata
    assert inside["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert "traceparent" not in outside


# The control plane's client; tests/unit/test_experiment_admin.py has it against the real server


@pytest.mark.parametrize(
    ("addresses", "found"),
    [("a:1", ["a:1"]), ("a:1,b:2", ["a:1", "b:2"]), (" a:1 , ,[::1]:2,", ["a:1", "[::1]:2"]), ("", [])],
)
def test_addresses_are_separated_by_commas(addresses: str, found: list[str]) -> None:
    assert split_addresses(addresses) == found


class Instance:
    """One instance of a control plane that answers with a status, or never (None), and remembers who asked."""

    def __init__(self, status: grpc.StatusCode | None) -> None:
        self.status = status
        self._stopped = threading.Event()
        self.authorization: list[object] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        answered: Any = grpc.unary_unary_rpc_method_handler(
            self._answer, GetRequest.FromString, GetResponse.SerializeToString
        )
        handlers = {"Get": answered, "Resume": answered}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("ra_guard.v1.ExperimentAdmin", handlers),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _answer(self, request: GetRequest, context: grpc.ServicerContext) -> GetResponse:
        self.authorization.append(dict(context.invocation_metadata()).get("authorization"))
        if self.status is None:
            self._stopped.wait()
        elif self.status is not grpc.StatusCode.OK:
            context.abort(self.status, f"found {self.status.name}, wanted OK; wait")
        return GetResponse()

    def stop(self) -> None:
        self._stopped.set()
        self._server.stop(None).wait()


Instances = Callable[..., list[Instance]]


@pytest.fixture
def instances() -> Iterator[Instances]:
    made: list[Instance] = []

    def start(*statuses: grpc.StatusCode | None) -> list[Instance]:
        made.extend(Instance(status) for status in statuses)
        return made

    yield start
    for each in made:
        each.stop()


def test_the_next_instance_is_asked_when_one_is_not_the_writer(instances: Instances) -> None:
    idle, writer = instances(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK)
    with ExperimentClient(f"{idle.address},{writer.address}", token="secret") as client:
        client.get(GetRequest())
    assert writer.authorization == ["Bearer secret"]
    assert set(idle.authorization) == {"Bearer secret"}


def test_a_refusal_is_not_taken_to_another_instance(instances: Instances) -> None:
    writer, idle = instances(grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OK)
    with ExperimentClient(f"{writer.address},{idle.address}") as client, pytest.raises(CallFailed) as failure:
        client.get(GetRequest())
    assert failure.value.status == "FAILED_PRECONDITION"
    assert (writer.authorization, idle.authorization) == ([None], [])


def test_an_instance_that_never_answers_is_passed_over_and_asked_last_from_then_on(instances: Instances) -> None:
    frozen, writer = instances(None, grpc.StatusCode.OK)
    with ExperimentClient(f"{frozen.address},{writer.address}", timeout_s=0.5) as client:
        for _ in range(3):
            client.get(GetRequest())
    assert (len(frozen.authorization), len(writer.authorization)) == (1, 3)


def test_what_may_not_be_said_twice_is_not_taken_to_another_that_answers(instances: Instances) -> None:
    frozen, writer = instances(None, grpc.StatusCode.OK)
    addresses = f"{frozen.address},{writer.address}"
    with ExperimentClient(addresses, timeout_s=0.5) as client, pytest.raises(CallFailed) as failure:
        client.resume(ResumeRequest())
    assert failure.value.status == "DEADLINE_EXCEEDED"
    assert (len(frozen.authorization), len(writer.authorization)) == (1, 0)
