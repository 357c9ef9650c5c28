"""A stand-in for a model hub: one repository from a folder, over the part of the hub's HTTP that a download needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(repository: str, folder: Path) -> Iterator[str]:
    """The address of a hub on the loopback address that has this repository and no other."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(None)

        def do_GET(self) -> None:
            self._answer(self.wfile.write)

        def _answer(self, write: object) -> None:
            body = self._body()
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
            self.end_headers()
            if callable(write):
                write(body or b"")

        def _body(self) -> bytes | None:
            path = self.path.partition("?")[0]
            if path.startswith(f"/api/models/{repository}/tree/"):
                entries = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
                return json.dumps(entries).encode()
            if path.startswith(f"/api/models/{repository}"):
                siblings = [{"rfilename": name} for name in files]
                return json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode()
            return files.get(path.removeprefix(f"/{repository}/resolve/{COMMIT}/"))

        def log_message(self, *_: object) -> None:
            """Silent: pytest shows what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
