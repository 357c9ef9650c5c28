"""A real S3 on loopback: SeaweedFS from its wheel, started for the tests that need one."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

READY_S = 60.0
ACCESS, SECRET, BUCKET = "access", "secret", "logs"


@dataclass(frozen=True)
class S3:
    """Where it listens; ``environment`` is what a client needs to know."""

    process: subprocess.Popen[bytes]
    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def answers(self) -> bool:
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

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """A store that keeps its data in a folder; the bucket is there."""
    config = folder / "s3.json"
    keys = [{"accessKey": ACCESS, "secretKey": SECRET}]
    config.write_text(json.dumps({"identities": [{"name": "tests", "credentials": keys, "actions": ["Admin"]}]}))
    ports = free_ports(4)
    data = folder / "data"
    data.mkdir()
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "filer": "true",
        "s3": "true",
        "s3.config": config,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 8,
        "volume.preStopSeconds": 0,
        **{f"{part}.port": port for part, port in zip(("master", "volume", "filer", "s3"), ports, strict=True)},
        **{
            f"{part}.port.grpc": port + 1 for part, port in zip(("master", "volume", "filer", "s3"), ports, strict=True)
        },
    }
    weed = Path(sys.executable).with_name("weed")
    arguments = [str(weed), "server", *(f"-{name}={value}" for name, value in options.items())]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    store = S3(process, f"http://127.0.0.1:{ports[-1]}")
    try:
        deadline = time.monotonic() + READY_S
        while not store.answers():
            assert process.poll() is None, (folder / "weed.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the store did not come up"
        yield store
    finally:
        if process.poll() is None:
            store.stop()


def free_ports(number: int) -> list[int]:
    """Pairs of neighbouring ports that nobody uses: the first of each, and its gRPC port beside it."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        for base in range(20_000, 30_000, 2):
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
