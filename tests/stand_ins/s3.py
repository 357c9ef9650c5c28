"""A real S3 on loopback: SeaweedFS from its wheel, started for the tests that need one."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.stand_ins.ports import port_bases

READY_S = 60.0
ACCESS, SECRET, BUCKET = "access", "secret", "logs"
PARTS = ("master", "volume", "filer", "s3")


class S3:
    """One store over one folder; `kill` and `start` are an outage that loses nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(PARTS, free_ports(len(PARTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        keys = [{"accessKey": ACCESS, "secretKey": SECRET}]
        identity = {"name": "tests", "credentials": keys, "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to know."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Returns once the bucket takes objects."""
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "filer": "true",
            "s3": "true",
            "s3.config": self._folder / "s3.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 8,
            **{f"{part}.port": port for part, port in self._ports.items()},
            **{f"{part}.port.grpc": port + 1 for part, port in self._ports.items()},
        }
        weed = Path(sys.executable).with_name("weed")
        arguments = [str(weed), "server", *(f"-{name}={value}" for name, value in options.items())]
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder)
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "weed.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the store did not come up"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        store = S3Store(
            BUCKET,
            endpoint=self.endpoint,
            access_key_id=ACCESS,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.put(store, "ready", b"yes", use_multipart=False)
        except BaseError:
            return False
        return True


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """A store that is up; killed in the end, for nobody needs its data then."""
    store = S3(folder)
    try:
        store.start()
        yield store
    finally:
        store.kill()


def free_ports(number: int) -> list[int]:
    """Pairs of neighbouring ports that nobody uses: the first of each, and its gRPC port beside it."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        for base in port_bases(20_000, 30_000, 2):
            pair = [socket.socket(), socket.socket()]
            held += pair
            try:
                for offset, each in enumerate(pair):
                    each.bind(("127.0.0.1", base + offset))
            except OSError:
                continue
            found.append(base)
            if len(found) == number:
                return found
    finally:
        for each in held:
            each.close()
    raise AssertionError("no free ports")
