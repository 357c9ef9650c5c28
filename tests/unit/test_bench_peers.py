"""The kernel's word on who holds a connection."""

import os
import socket
import subprocess
import sys

import pytest

from bench import peers


def test_the_holder_of_a_connection_is_who_accepted_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert peers.listening(port, [os.getpid(), os.getppid()]) == [os.getpid()]
        with socket.create_connection(("127.0.0.1", port)) as client:
            monkeypatch.setattr(peers, "PATIENCE_S", 0.0)
            with pytest.raises(peers.NobodyAcceptsError):
                peers.holder(client, [os.getpid()])
            monkeypatch.undo()
            accepted, _ = server.accept()
            with accepted:
                assert peers.holder(client, [os.getppid(), os.getpid()]) == os.getpid()
    assert peers.listening(port, [os.getpid()]) == []


def test_children_are_told_apart_by_their_module() -> None:
    waits = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", waits, peers.WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert peers.started_by(os.getpid(), peers.WORKER) == [child.pid]
        assert peers.started_by(os.getpid(), peers.CONTROL) == []
        assert child.stdin is not None
        child.stdin.close()
    assert peers.started_by(os.getpid(), peers.WORKER) == []
