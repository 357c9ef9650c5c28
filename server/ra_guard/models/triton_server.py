"""A Triton of our own: the server binary from its wheel, serving one space's repository on the loopback address.

Models are loaded explicitly, by name. The process is in a session of its own, writes to a log file, ends when asked
(`stop`) and cannot outlive the process that started it (`launch.py`). Nothing in site-packages is written: the backend
folder that Triton wants is made of symbolic links under the run folder.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ra_guard.errors import Code, RaGuardError
from ra_guard.models.environment import SINGLE_THREADED, TritonEnvironment

MODELS = ("clip_text", "clip_image", "detector")
_POLL_S = 0.05
_STOP_GRACE_S = 10.0


class TritonNotStarted(RaGuardError):
    """Triton ended, or was not ready in time; the message quotes the last error of its log."""

    status_code = Code.UNAVAILABLE


@dataclass(frozen=True)
class Ports:
    """Where Triton listens, on 127.0.0.1."""

    grpc: int = 8001
    http: int = 8000
    metrics: int = 8002

    @classmethod
    def free(cls) -> "Ports":
        """Three ports that nobody uses right now, for tests and demos."""
        sockets = [socket.socket() for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = cls(*(each.getsockname()[1] for each in sockets))
        for each in sockets:
            each.close()
        return ports


class TritonServer:
    """A running Triton. Use as a context manager, or call `stop`."""

    def __init__(self, process: subprocess.Popen[bytes], ports: Ports, log: Path) -> None:
        self._process = process
        self._ports = ports
        self.log = log

    @classmethod
    def start(
        cls,
        repository: Path,
        environment: TritonEnvironment,
        run_dir: Path,
        *,
        ports: Ports | None = None,
        ready_timeout_s: float = 60.0,
    ) -> "TritonServer":
        """Starts Triton on a space's repository and waits until every model in it is ready.

        Raises EnvironmentBroken, TritonNotStarted.
        """
        ports = ports or Ports()
        missing = [model for model in MODELS if not (repository / model / "config.pbtxt").exists()]
        if missing:
            message = f"found no {', '.join(missing)} in {repository}, wanted a space's repository"
            raise TritonNotStarted(f"{message}; run `ra-guard models build`")
        refuse_taken_ports(ports)
        run_dir.mkdir(parents=True, exist_ok=True)
        command = _command(repository.resolve(), environment, link_backends(environment, run_dir), ports)
        log = run_dir / "triton.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the binary of the environment that the operator names
                [sys.executable, str(Path(__file__).with_name("launch.py")), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environ(environment),
                # The stub's interpreter is isolated: it ignores PYTHONPATH, and searches its working folder first.
                cwd=environment.site_packages,
                # A Ctrl-C at the terminal is ours to handle; Triton is told to stop once calls are drained.
                start_new_session=True,
            )
        server = cls(process, ports, log)
        try:
            server._wait_until_ready(ready_timeout_s)
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        """Host and port of the gRPC service."""
        return f"127.0.0.1:{self._ports.grpc}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self._ports.metrics}/metrics"

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Lets Triton finish what it computes, ends it and its model processes. Idempotent."""
        if self.running():
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_GRACE_S)
        # Its model processes are in its session: none may stay, not even when Triton itself was killed.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self, timeout_s: float) -> None:
        give_up = time.monotonic() + timeout_s
        waiting = set(MODELS)
        while waiting:
            if not self.running():
                raise TritonNotStarted(f"Triton ended with {self._process.returncode}: {_last_error(self.log)}")
            if time.monotonic() > give_up:
                unready = ", ".join(sorted(waiting))
                raise TritonNotStarted(f"not ready after {timeout_s:g} s: {unready}; see {self.log}")
            waiting = {model for model in waiting if not self._answers(f"/v2/models/{model}/ready")}
            time.sleep(_POLL_S if waiting else 0)

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports.http}{path}", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def refuse_taken_ports(ports: Ports) -> None:
    """Triton reports a taken port after half a minute of loading models; this says so at once."""
    for port in (ports.grpc, ports.http, ports.metrics):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise TritonNotStarted(f"port {port} is taken; stop what listens there or choose another") from error


def link_backends(environment: TritonEnvironment, run_dir: Path) -> Path:
    """The backend folder that Triton wants: the wheel's Python backend with the stub of this Python beside it."""
    stub = environment.triton / "python_backend_stubs" / environment.version / "triton_python_backend_stub"
    if not stub.exists():
        offered = ", ".join(sorted(path.name for path in stub.parent.parent.iterdir()))
        raise TritonNotStarted(f"found Python {environment.version}, Triton's wheel has stubs for {offered}")
    backends = run_dir / "triton-backends"
    python = backends / "python"
    python.mkdir(parents=True, exist_ok=True)
    wheel = environment.triton / "backends" / "python"
    for target in (wheel / "libtriton_python.so", wheel / "triton_python_backend_utils.py", stub):
        link = python / target.name
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())
    return backends.resolve()


def _command(repository: Path, environment: TritonEnvironment, backends: Path, ports: Ports) -> list[str]:
    return [
        str(environment.triton / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in MODELS),
        "--grpc-address=127.0.0.1",
        f"--grpc-port={ports.grpc}",
        "--http-address=127.0.0.1",
        f"--http-port={ports.http}",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        f"--exit-timeout-secs={int(_STOP_GRACE_S) - 2}",
    ]


def _environ(environment: TritonEnvironment) -> dict[str, str]:
    libraries = [environment.triton.parent.parent / "nvidia_pytriton.libs", environment.library_folder]
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        **SINGLE_THREADED,
        # The stub embeds an interpreter, which finds its standard library from where its shared library is.
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
    }


def _last_error(log: Path) -> str:
    """The last line that Triton marked as an error, or its last line; then where to read on."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("E") or "error" in line.lower()]
    return f"{(errors or lines or ['no output'])[-1].strip()}; see {log}"
