"""A worker is killed with a call in flight: its clients' calls are answered by the worker beside it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from ra_guard.client import RerankClient

WORKER = """
import os, sys, time
from concurrent import futures
import grpc
from ra_guard.v1.rerank_pb2 import RerankRequest, RerankResponse

def rerank(request, context):
    time.sleep(0.02)
    return RerankResponse(request_id=request.request_id, plan_revision=os.getpid())

handler = grpc.unary_unary_rpc_method_handler(
    rerank, request_deserializer=RerankRequest.FromString, response_serializer=RerankResponse.SerializeToString
)
server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 1)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ra_guard.v1.Reranker", {"Rerank": handler}),))
server.add_insecure_port(sys.argv[1])
server.start()
print("serving", flush=True)
server.wait_for_termination()
"""
CALLS = 40
KILL_AT = 10


@pytest.fixture
def shared() -> Iterator[SimpleNamespace]:
    """Two processes on one port, as workers of one server are."""
    with ExitStack() as stack:
        holder = stack.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        command = [sys.executable, "-c", WORKER, address]
        workers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(2)]
        for worker in workers:
            stack.callback(worker.kill)
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "serving\n"
        yield SimpleNamespace(address=address, pids={worker.pid for worker in workers})


def test_no_call_is_lost(shared: SimpleNamespace) -> None:
    served_by: list[int] = []
    with RerankClient(shared.address, timeout_s=30) as client:
        for call in range(CALLS):
            if call == KILL_AT:
                # Half-way through the next call, which takes its worker 20 ms.
                threading.Timer(0.01, os.kill, (served_by[-1], signal.SIGKILL)).start()
            response = client.rerank(query="q", user_id="u", request_id=str(call))
            assert response.request_id == str(call)
            served_by.append(response.plan_revision)
    assert set(served_by) == shared.pids
    assert served_by[-1] != served_by[0]
